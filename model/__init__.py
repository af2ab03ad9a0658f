"""The network, its training and its scores. Of `pipeline` it uses only the shard reader."""

import os

# Before torch loads OpenMP: threads that wait by spinning hold the core that the thread they wait for needs. Two
# trainings side by side on two cores then take up to twenty times as long a step; alone, a short spin costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from model.torchvision_ops import declare

declare()  # before any module here imports timm
