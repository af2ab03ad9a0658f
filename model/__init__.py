"""The networks, their training and their scores. Of `pipeline` it uses shards and what these stand on."""

import os

# Before torch loads OpenMP: threads that wait by spinning hold the core that the thread they wait for needs. Two
# trainings side by side on two cores then take up to twenty times as long a step; alone, a short spin costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from model.torchvision_ops import declare

declare()  # before any module here imports timm
