"""Which normal images serve each query as its prompts (paper, sections 3.4 and 4.1)."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import overload
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from configs.errors import BadRequest, Failure
from model.images import Stretch, read_image, resize_image
from model.layouts import Category
from model.metauas import MetaUAS, PromptPool, pooled
from model.onenip import OneNIP

Prompts = tuple[Path, ...]  # the shots
TOP_LIST = "test-train-top*pair*.json"  # the published best matches, among the lists


def draw_prompts(category: Category, seed: int, repetition: int = 0, shots: int = 1) -> Prompts:
    """Draw the normal images that all queries of a category are compared with (paper, section 4.1).

    It depends on the seed, the repetition and the category's name alone, not on which other categories are there; more
    shots only add to fewer.

    Raises:
        BadRequest: the category has fewer normal images than `shots`.
    """
    if shots > len(category.normals):
        raise BadRequest(f"{category.name}: wanted {shots} prompts, but it has {len(category.normals)} normal images")
    rng = np.random.default_rng([seed, repetition, crc32(category.name.encode())])
    return tuple(category.normals[place] for place in rng.permutation(len(category.normals))[:shots])


def draw_each(category: Category, seed: int, repetition: int = 0, shots: int = 1) -> list[Prompts]:
    """Draw normal images for each query by itself, as OneNIP's evaluation does.

    Raises:
        BadRequest: the category has fewer normal images than `shots`.
    """
    draw_prompts(category, seed, repetition, shots)
    own = crc32(category.name.encode())
    rngs = (np.random.default_rng([seed, repetition, own, 1 + place]) for place in range(len(category.queries)))
    orders = (rng.permutation(len(category.normals))[:shots] for rng in rngs)
    return [tuple(category.normals[place] for place in order) for order in orders]


def read_prompts(path: Path, categories: Sequence[Category]) -> Mapping[str, Prompts]:
    """Read a published oneprompt_seed*.json, {category: {"filename": ..}}: one prompt for each category.

    Raises:
        BadRequest: no such file, or not such a file, or a category is not in it.
        Failure: the image that it names is not there.
    """
    try:
        said = json.loads(path.read_text())
        named = {category.name: category.root / said[category.name]["filename"] for category in categories}
    except OSError as error:
        raise BadRequest(
            f"{path}: cannot be read ({error.strerror}); wanted a file such as oneprompt_seed1.json"
        ) from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"{path}: not JSON: {error}") from None
    except (KeyError, TypeError) as error:
        raise BadRequest(f'{path}: found no {error}; wanted {{category: {{"filename": path}}}} for each one') from None
    for name, image in named.items():
        if not image.is_file():
            raise Failure(f"{path}: the prompt of {name} is not there: {image}")
    return {name: (image,) for name, image in named.items()}


def read_top_list(folder: Path, category: Category, shots: int = 1) -> list[Prompts] | None:
    """The best matches of each query in the published list in `folder` (MetaUAS*); None if there is no such list.

    Raises:
        BadRequest: a query is not in the list, or has fewer matches than `shots`.
    """
    path = next(iter(sorted(folder.glob(TOP_LIST))), None)
    if path is None:
        return None
    said: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            found = json.loads(line) if line.strip() else {}
        except json.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            wanted = "{query: [normal image, ..]}"
            raise BadRequest(f"{path}, line {number}: wanted {wanted}, found {line[:60]!r}")
        said |= found
    choice = []
    for query in category.queries:
        name = category.name_of(query.path)
        if len(said.get(name, ())) < shots:
            raise BadRequest(
                f"{path}: {len(said.get(name, ()))} matches of {name}; wanted {shots}; leave the lists out"
            )
        choice.append(tuple(category.root / normal for normal in said[name][:shots]))
    return choice


def by_prompts(choice: Sequence[Prompts]) -> list[list[int]]:
    """The places of the queries that have the same prompts."""
    order = sorted(range(len(choice)), key=lambda place: choice[place])
    return [list(places) for _, places in groupby(order, key=lambda place: choice[place])]


class Matcher:
    """Finds each query's most similar images by the cosine of their pooled features (paper, sections 3.4 and 4.1).

    Args:
        network: in evaluation mode.
        size: height and width in pixels at which images are encoded.
        how: they reach it.
        batch_size: images encoded together.
    """

    def __init__(self, network: MetaUAS | OneNIP, size: tuple[int, int], how: Stretch, batch_size: int) -> None:
        self.network = network
        self.size = size
        self.how = how
        self.batch_size = batch_size

    def pool(self, paths: Sequence[Path]) -> PromptPool:
        """Encode a pool of normal images."""
        return PromptPool.build(self.network, self._images(paths), batch_size=self.batch_size, keep_features=False)

    @torch.no_grad()
    def match(self, pool: PromptPool, paths: Sequence[Path], category: Category, shots: int = 1) -> list[Prompts]:
        """The best `shots` of `paths`, which `pool` was made of, for each query of a category."""
        queries = self._images([query.path for query in category.queries])
        device = pool.descriptors.device
        choice: list[Prompts] = []
        for start in range(0, len(queries), self.batch_size):
            batch = torch.stack(list(queries[start : start + self.batch_size])).to(device)
            best = pool.best(pooled(self.network.encode(batch)), shots)
            choice += [tuple(paths[place] for place in places) for places in best.tolist()]
        return choice

    def _images(self, paths: Sequence[Path]) -> "_Images":
        return _Images(paths, self.size, self.how)


class _Images(Sequence[Tensor]):
    """Images float32 (3, H, W) in [0, 1], read each time they are asked for."""

    def __init__(self, paths: Sequence[Path], size: tuple[int, int], how: Stretch) -> None:
        self._paths = paths
        self._size = size
        self._how = how

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, place: int) -> Tensor: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, place: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(place, slice):
            return _Images(self._paths[place], self._size, self._how)
        image = resize_image(read_image(self._paths[place]), self._size, self._how)
        return torch.from_numpy(image).permute(2, 0, 1)
