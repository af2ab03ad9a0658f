import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from model.kept_memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
for _ in range(20):
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_memory_that_is_kept_is_not_asked_for_again():
    given_back, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
            ).stdout
        )
        for keep in (False, True)
    )
    assert given_back > 10_000  # 64 MiB are 16,384 pages
    assert kept < 0.5 * given_back  # the heap still grows now and then
