"""Plain PNG files: a folder for each role, a file of one name in each for a pair.

train/original/391895-3.png  train/changed/391895-3.png  train/mask/391895-3.png  [train/prompt/391895-3.png]
"""

from collections.abc import Iterable
from pathlib import Path

from pipeline.publish.given import PNG, GivenPair, encode


def write_pictures(folder: Path, pairs: Iterable[GivenPair]) -> None:
    """Write pairs as they come."""
    for pair in pairs:
        for name, picture in pair.pictures.items():
            path = folder / picture_path(pair, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(picture, PNG))


def picture_path(pair: GivenPair, name: str) -> str:
    """Where a picture of a pair lies in the folder."""
    return f"{pair.row['split']}/{name}/{pair.id}.png"
