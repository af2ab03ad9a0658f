"""Declaring an operator twice ends the process, so these run in processes of their own."""

import subprocess
import sys

from tests.conftest import ROOT

SHOWN = "print([hasattr(torch.ops.torchvision, name) for name in ('nms', 'qnms')])"
# What a build of torchvision that fits its torch does when its library is loaded, here and later by its own import.
FITS = """
import torch
loaded = []
def load(path):
    if not loaded:  # of a library that is loaded already nothing is run again
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
    loaded.append(path)
torch.ops.load_library = load
import model
torch.ops.load_library("_C.so")
"""
FITS_NOT = """
import torch
def load(path):
    raise OSError("libcudart.so.13: cannot open shared object file")
torch.ops.load_library = load
import model
import timm
"""


def run(program):
    return subprocess.run(
        [sys.executable, "-c", f"{program}\n{SHOWN}"], cwd=ROOT, text=True, capture_output=True, check=False
    )


def test_a_library_that_fits_declares_its_operators_itself():
    found = run(FITS)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "[True, True]\n"


def test_beside_one_that_does_not_fit_timm_can_be_imported():
    found = run(FITS_NOT)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "[True, True]\n"
