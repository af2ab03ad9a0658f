"""Freed memory kept by the process instead of given back to the system.

glibc gives every large tensor back as it is freed, and asks for the next one page by page: on a CPU a fifth of the time
of a training step goes into that. Kept, memory stays at its peak until the process ends.
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have the C library's malloc keep what is freed; True if it does so, which on Linux with glibc alone it can."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT))
