import os

import torch

# Nets this small only make two threads wait for each other, and forty times longer beside another process.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start
