"""The image-image anomaly discriminator: how far a query's patches are from those of its references; nothing learns."""

import torch
import torch.nn.functional as F
from torch import Tensor


def anomaly_maps(references: Tensor, query: Tensor) -> Tensor:
    """Half the cosine distance of each patch to the k nearest of k references, their mean, level by level (Eq. 1-2).

    The k most similar patches of the paper are as many as there are references: that is what both k and n of Eq. 2 are.

    Args:
        references: float32 (k, levels, patches, width).
        query: float32 (B, levels, patches, width).

    Returns:
        float32 (B, levels, patches) in [0, 1].
    """
    maps = []
    for own, seen in zip(query.unbind(1), references.unbind(1), strict=True):
        memory = F.normalize(seen.flatten(0, 1), dim=1)  # (k patches, width)
        similarity = F.normalize(own, dim=2) @ memory.T  # (B, patches, k patches)
        nearest = similarity.topk(len(references), dim=2).values
        maps.append(0.5 * (1 - nearest.mean(dim=2)))
    return torch.stack(maps, dim=1)
