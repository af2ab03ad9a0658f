import os

import torch

import model  # noqa: F401  # before a test imports timm by itself

# Nets this small only make two threads wait for each other, and forty times longer beside another process.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start
