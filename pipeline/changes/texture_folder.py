"""Textures for local changes from a folder of images, such as DTD's, instead of from other images of the split."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from configs.errors import BadRequest, Failure
from pipeline.arrays import Image
from pipeline.source import SUFFIXES, UnreadableImageError, content_hash, decode, read_bytes, resize

TEXTURES_KEPT = 16  # decoded: a folder has thousands


class TextureFolder:
    """The images below a folder, by their names in it.

    Raises:
        BadRequest: there is none.
    """

    def __init__(self, root: Path, size: tuple[int, int]) -> None:
        self.root = root
        self.size = size  # height and width in pixels, to which they are stretched
        paths = root.rglob("*") if root.is_dir() else ()
        self.names = sorted(path.relative_to(root).as_posix() for path in paths if path.suffix.lower() in SUFFIXES)
        if not self.names:
            raise BadRequest(
                f"synth.local.texture_folder = {str(root)!r}: no images there; wanted a folder such as DTD's"
            )
        self.read: Callable[[str], Image] = lru_cache(TEXTURES_KEPT)(self._read)

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of all names and contents."""
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(f"{name} {content_hash((self.root / name).read_bytes())}\n".encode())
        return digest.hexdigest()

    def draw(self, rng: np.random.Generator, count: int) -> tuple[str, ...]:
        """Draw the names of `count` textures, with replacement."""
        return tuple(self.names[int(place)] for place in rng.integers(len(self.names), size=count))

    def _read(self, name: str) -> Image:
        """A texture, uint8 (H, W, 3)."""
        try:
            return resize(decode(read_bytes(self.root / name)), self.size)
        except UnreadableImageError as error:
            raise Failure(f"{self.root / name}: {error}; take it out of synth.local.texture_folder") from None
