"""A tiny COCO-format source made of plain shapes, and the artifacts made from it without DVC."""

import json
from pathlib import Path

import cv2
import numpy as np
import yaml

from configs.everything import Everything
from pipeline.source.coco import read_annotations
from pipeline.source.index_build import build_index, choose_images, write_index

ROOT = Path(__file__).resolve().parents[2]


def params(**changes) -> Everything:
    """The demo's parameters at 64 px with small shards; `changes` are dotted keys with __ for the dot."""
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    small = {
        "size_px": 64,
        "inpaint__pairs_per_shard": 6,
        "inpaint__variants_per_image": 2,
        "synth__pairs_per_image": 4,
    }
    for key, value in {**small, "synth__pairs_per_shard": 8, "index__val_share": 0.25, **changes}.items():
        *sections, name = key.split("__")
        section = values
        for part in sections:
            section = section[part]
        section[name] = value
    return Everything.model_validate(values)


def draw_source(folder: Path, count: int = 12) -> None:
    """Write `count` noisy images with two or three coloured boxes each, and their instances JSON."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id in range(1, count + 1):
        rng = np.random.default_rng([7, image_id])
        height, width = 60 + image_id, 90 - image_id
        image = rng.integers(60, 110, (height, width, 3), dtype=np.uint8)
        name = f"{image_id:012d}.jpg"
        for _ in range(2 + image_id % 2):
            col, row = rng.integers(0, width - 30), rng.integers(0, height - 30)
            box_w, box_h = rng.integers(14, 28, 2)
            image[row : row + box_h, col : col + box_w] = rng.integers(0, 256, 3)
            corners = [col, row, col + box_w, row, col + box_w, row + box_h, col, row + box_h]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1 + (len(annotations) + 1) % 2,
                    "iscrowd": 0,
                    "area": int(box_w * box_h),
                    "bbox": [int(col), int(row), int(box_w), int(box_h)],
                    "segmentation": [[float(number) for number in corners]],
                }
            )
        cv2.imwrite(str(folder / "images" / name), image)
        rights = {"license": image_id % 2 + 1, "flickr_url": f"https://photographs.test/{image_id}"}
        images.append({"id": image_id, "file_name": name, "height": height, "width": width, **rights})
    content = {
        "licenses": [
            {"id": number, "name": f"terms {number}", "url": f"https://terms.test/{number}"} for number in (1, 2)
        ],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "box"}, {"id": 2, "name": "crate"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))


def index_source(folder: Path, root: Path, config: Everything) -> None:
    """Make data/index of a source, as the stage does."""
    annotations = read_annotations(folder / "instances.json")
    places = choose_images(annotations.groups, config.index.images, config.index.val_share, config.seed)
    write_index(root, build_index(annotations, folder / "images", places, config.index.max_unreadable_share))
