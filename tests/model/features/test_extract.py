import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from configs.features import FeaturesParams
from model.features.episodes import FeatureSet
from model.features.extract import _tower, extract_shard, plan_features
from model.features.items import of_benchmark, of_pairs
from model.images import read_image, resize_image
from model.layouts import labelled
from model.metacan import MetaCAN
from pipeline.shards import FEATURES, is_intact, open_features, shelf_name, write_manifest
from tests.model.clip_file import SMALL, save_clip
from tests.model.tiny_benchmark import make_category
from tests.model.tiny_pairs import write_square_shards

BLOCKS = [1, 2, 4]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip") / "clip.pt")


def params(clip, source, **changes):
    values = {
        "weights": str(clip),
        "layout": "mvtec",
        "tasks": "groups",
        "least_photographs": 1,
        "val_share": 0.25,
        "blocks": BLOCKS,
        "towers": asdict(SMALL),
        "images_per_shard": 5,
        "store": None,
    }
    cluster = {"workers": 1, "memory_limit": "1 GiB", "address": None}
    return FeaturesParams.model_validate(
        {"seed": 0, "features": {"source": str(source), "clip": values | changes}, "cluster": cluster}
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, clip):
    root = tmp_path_factory.mktemp("made")
    make_category(root / "nuts" / "nut", normals=5, good=3, bad=8)
    items = of_benchmark(labelled("mvtec", root / "nuts"), root / "nuts", 0.25)
    task, jobs = plan_features(params(clip, root / "nuts"), items, root / "shelf", root / "plans")
    return items, task, jobs, [extract_shard(job, task) for job in jobs]


def test_features_are_those_of_the_network_in_float16(made, clip):
    items, task, jobs, _ = made
    network = MetaCAN.from_clip(clip, blocks=BLOCKS, sizes=SMALL, hidden=20)
    by_name = {item.name: item for item in items}
    for job in jobs:
        shard = open_features(task.shelf, shelf_name(job.fingerprint))
        names = [
            record["image"]
            for record in json.loads((task.shelf / f"{shelf_name(job.fingerprint)}.zarr" / "zarr.json").read_text())[
                "attributes"
            ]["records"]
        ]
        for row, name in enumerate(names):
            image = resize_image(read_image(task.source / name), (SMALL.image_px, SMALL.image_px), "crop")
            wanted = network.encode(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
            torch.testing.assert_close(
                torch.from_numpy(np.asarray(shard.features[row])).float(), wanted, atol=4e-3, rtol=2e-3
            )
            assert shard.anomalous[row] == by_name[name].anomalous
            assert shard.image_id[row] == by_name[name].image_id


def test_every_image_is_kept_once_in_shards_that_prove_themselves(made):
    items, task, jobs, entries = made
    assert sum(entry.pairs for entry in entries) == len(items)
    assert {entry.name for entry in entries} == {job.name for job in jobs}
    assert all(entry.pairs <= 5 for entry in entries)
    for job, entry in zip(jobs, entries, strict=True):
        path = task.shelf / f"{shelf_name(job.fingerprint)}.zarr"
        assert is_intact(path, entry)
        next(file for file in (path / "features").rglob("*") if file.is_file() and file.suffix != ".json").write_bytes(
            b"other"
        )
        assert not is_intact(path, entry)


def test_a_worker_with_another_clip_file_or_another_image_says_so(tmp_path):
    clip = save_clip(tmp_path / "clip.pt")
    make_category(tmp_path / "set" / "nut")
    items = of_benchmark(labelled("mvtec", tmp_path / "set"), tmp_path / "set", 0.25)
    task, jobs = plan_features(params(clip, tmp_path / "set"), items, tmp_path / "shelf", tmp_path / "plans")
    extract_shard(jobs[0], task)
    save_clip(clip, seed=1)
    _tower.cache_clear()  # as another worker
    with pytest.raises(
        Failure, match=r"clip.pt: of sha256 \w+ on this worker, but the job is of \w+; put the same file"
    ):
        extract_shard(jobs[0], task)
    task, jobs = plan_features(params(clip, tmp_path / "set"), items, tmp_path / "shelf", tmp_path / "plans")
    extract_shard(jobs[0], task)  # another file is another tower, in a worker that stood since before, too
    Path(items[1].place).write_bytes(b"")
    with pytest.raises(Failure, match=r"png: changed since it was listed, or another file on this worker"):
        [extract_shard(job, task) for job in jobs]


def test_shards_go_to_a_store_and_are_read_from_there(tmp_path, clip):
    make_category(tmp_path / "set" / "nut", bad=8)
    items = of_benchmark(labelled("mvtec", tmp_path / "set"), tmp_path / "set", 0.25)
    wanted = params(clip, tmp_path / "set", store=f"file://{tmp_path}/store")
    task, jobs = plan_features(wanted, items, tmp_path / "shelf", tmp_path / "plans")
    entries = [extract_shard(job, task) for job in jobs]
    write_manifest(tmp_path, entries, f"file://{tmp_path}/store", form=FEATURES)
    assert not list((tmp_path / "shelf").glob("*.zarr"))
    images = FeatureSet(tmp_path, "train")
    assert len(images) == sum(item.split == "train" for item in items)
    assert images.read([0, len(images) - 1]).isfinite().all()


def test_another_image_changes_no_shard_but_its_own(made, clip):
    items, task, jobs, _ = made
    fewer = items[1:]
    _, others = plan_features(params(clip, task.source), fewer, task.shelf, task.plan.parent)
    kept = {job.fingerprint for job in jobs} & {job.fingerprint for job in others}
    assert len(jobs) - 2 <= len(kept) < len(jobs)


def test_pairs_give_both_their_sides(tmp_path, clip):
    write_square_shards(tmp_path / "pairs")
    items = of_pairs(tmp_path / "pairs", "kinds")
    wanted = params(clip, tmp_path / "pairs", layout="pairs", tasks="kinds", images_per_shard=64)
    task, jobs = plan_features(wanted, items, tmp_path / "shelf", tmp_path / "plans")
    entries = [extract_shard(job, task) for job in jobs]
    assert {entry.split: entry.pairs for entry in entries} == {"train": 16, "val": 6}
    assert entries[0].kinds == {"normal": 8, "anomalous": 8}


def test_features_beyond_float16_name_their_image(tmp_path):
    path = save_clip(tmp_path / "clip.pt")
    state = torch.load(path)
    state["visual.transformer.resblocks.0.mlp.c_proj.weight"] *= 1e8
    torch.save(state, path)
    make_category(tmp_path / "nut")
    items = of_benchmark(labelled("mvtec", tmp_path / "nut"), tmp_path, 0.25)
    task, jobs = plan_features(params(path, tmp_path), items, tmp_path / "shelf", tmp_path / "plans")
    with pytest.raises(Failure, match=r"features: those of nut/\S+png are not finite in float16"):
        extract_shard(jobs[0], task)


def test_a_file_that_is_missing_or_does_not_fit_is_told_before_any_job(tmp_path, clip):
    plan = partial(plan_features, items=[], shelf=tmp_path, plans=tmp_path)
    with pytest.raises(BadRequest, match=r"features: no CLIP weights \(features.clip.weights = nowhere.pt\)"):
        plan(params("nowhere.pt", tmp_path))
    towers = asdict(SMALL) | {"width": 64, "heads": 2}
    with pytest.raises(BadRequest, match="not weights of ViT-B-16-plus-240"):
        plan(params(clip, tmp_path, towers=towers))
