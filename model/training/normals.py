"""The normal images of a data set of pairs: which there are of each group, and their features, encoded once."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from configs.errors import BadRequest
from model.onenip import OneNIP, neck
from model.pairs import PairDataset, as_images
from pipeline.shards import THE_ORIGINAL


class Normals:
    """The originals of a split's pairs, each image once; images are named by their place among them.

    What the encoder makes of an image never changes, as nothing in it learns and no image is augmented. Kept features
    take 2 bytes a number, 107 KB an image of 224 px with b4's 272 channels; rounding to float16 moves them by at most a
    two-thousandth.

    Args:
        network: whose encoder and neck are used.
        dataset: the pairs.
        keep: whether features are kept once they are known.

    Raises:
        BadRequest: a pair shows something else than its image, or has another prompt than its original, and that is not
            what is to be rebuilt.
    """

    def __init__(self, network: OneNIP, dataset: PairDataset, *, keep: bool) -> None:
        grounds = dataset.parameters.get("synth", {}).get("ground_prob", 0)
        if grounds or (dataset.prompts_are() != THE_ORIGINAL).any():
            raise BadRequest(
                f"{dataset.root}: some pairs have prompts that are not their originals, or show surfaces instead of"
                " their images, and OneNIP rebuilds images; set synth.variation_prob and ground_prob to 0 and run"
                " `dvc repro`"
            )
        self.network = network
        self.dataset = dataset
        _, self.first_pairs, of_pairs = np.unique(dataset.image_ids(), return_index=True, return_inverse=True)
        self.of_pairs = np.asarray(of_pairs)  # the normal image of each pair
        groups = dataset.groups()[self.first_pairs]
        self.members = {name: np.flatnonzero(groups == place) for place, name in enumerate(dataset.group_names)}
        self.group_of_pairs = [dataset.group_names[group] for group in dataset.groups()]
        self._kept: Tensor | None = None
        self._known = np.zeros(len(self.first_pairs), np.bool_)
        self._keeps = keep

    def __len__(self) -> int:
        return len(self.first_pairs)

    def draw(self, rng: np.random.Generator, group: str, how: Literal["random", "fixed"]) -> int:
        """A normal image of `group`: any, or always its first.

        Raises:
            BadRequest: there is none.
        """
        own = self.members.get(group, ())
        if len(own) == 0:
            raise BadRequest(f"{self.dataset.root}: no normal image of category {group} to be its prompt")
        return int(own[rng.integers(len(own)) if how == "random" else 0])

    def images(self, places: Sequence[int]) -> Tensor:
        """Images float32 (B, 3, H, W) in [0, 1], on the CPU."""
        pairs = [int(self.first_pairs[place]) for place in places]
        pixels = torch.stack([self.dataset[pair]["pair"][0] for pair in pairs])
        return as_images(pixels)

    def features(self, places: Sequence[int], device: torch.device) -> Tensor:
        """Features float32 (B, C, h, w) at stride 16 of the images `places`."""
        if not self._keeps:
            return features_of(self.network, self.images(places).to(device))
        new = sorted({place for place in places if not self._known[place]})
        if new:
            found = features_of(self.network, self.images(new).to(device)).half().cpu()
            if self._kept is None:
                self._kept = torch.zeros(len(self), *found.shape[1:], dtype=torch.float16)
            self._kept[new] = found
            self._known[new] = True
        assert self._kept is not None
        return self._kept[list(places)].to(device).float()


@torch.no_grad()
def features_of(network: OneNIP, images: Tensor) -> Tensor:
    """All levels of images float32 (B, 3, H, W) at stride 16, one after another: float32 (B, C, h, w)."""
    return neck(network.encode(images), network.grid)
