"""Each form is opened by the library that it is for, and its pixels compared with the shards'."""

import gc
import hashlib
import io
import shutil
import warnings
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import PIL.Image
import pytest
from pycocotools.coco import COCO

from configs.errors import BadRequest, Failure
from pipeline.export import main, plan
from pipeline.inspect import main as inspect
from pipeline.publish import export_shard, finished
from pipeline.publish.given import PNG, WEBP, encode, read_pairs
from pipeline.shards import open_shard, read_manifest
from pipeline.source import SPLITS


def pairs_of(root):
    """The pairs of a folder of shards by their ids."""
    manifest = read_manifest(root)
    return {pair.id: pair for entry in manifest.shards for pair in read_pairs(root, entry.name, entry)}


@pytest.fixture(scope="module")
def wanted(given):
    found = pairs_of(given.pairs)
    assert {"prompt" in pair.pictures for pair in found.values()} == {True, False}
    return found


def export(given, out, form, pictures="webp", splits=SPLITS):
    jobs = plan(read_manifest(given.pairs), given.pairs, splits, form, pictures, out)
    return jobs, [export_shard(job) for job in jobs]


@pytest.mark.parametrize("form", [PNG, WEBP])
def test_a_picture_is_kept_to_the_bit(form):
    picture = np.random.default_rng(5).integers(0, 256, (33, 47, 3), np.uint8)
    assert (np.asarray(PIL.Image.open(io.BytesIO(encode(picture, form)))) == picture).all()
    mask = (picture[..., 0] > 99) * np.uint8(255)
    assert (np.asarray(PIL.Image.open(io.BytesIO(encode(mask, form)))) == mask).all()


@pytest.mark.parametrize("form", [PNG, WEBP])
def test_webdataset_reads_the_tar_files(given, wanted, tmp_path, form):
    import webdataset

    export(given, tmp_path, "webdataset", form)
    files = sorted(map(str, tmp_path.glob("data/*.tar")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the garbage collector
        found = list(webdataset.WebDataset(files, shardshuffle=False).decode("rgb8"))
        gc.collect()

    assert [one["__key__"] for one in found] == list(wanted)
    for one in found:
        pair = wanted[one["__key__"]]
        assert one["json"]["sha256"] == pair.row["sha256"]
        assert one["json"] == pair.row
        for name, picture in pair.pictures.items():
            read = one[f"{name}.png" if name == "mask" else f"{name}.{form}"]
            assert (read == (picture if picture.ndim == 3 else picture[..., None])).all()


def test_datasets_loads_the_parquet_files(given, wanted, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that are here to be asked, not judged
        from datasets import load_dataset

        export(given, tmp_path / "out", "parquet")
        files = {split: str(tmp_path / f"out/data/{split}-*.parquet") for split in SPLITS}
        found = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))

        rows = [row for split in SPLITS for row in found[split]]
    assert [row["id"] for row in rows] == list(wanted)
    for row in rows:
        pair = wanted[row["id"]]
        assert {name: row[name] for name in pair.row} == pair.row
        for name in ("original", "changed", "mask", "prompt"):
            if name in pair.pictures:
                assert (np.asarray(row[name]) == pair.pictures[name]).all()
            else:
                assert row[name] is None


def test_coco_s_own_library_reads_the_instances(given, wanted, tmp_path, capsys):
    assert main([str(tmp_path / "out"), "--to", "coco", "--root", str(given.pairs), "--name", "boxes"]) == 0
    shown = {}
    for split in SPLITS:
        coco = COCO(str(tmp_path / f"out/annotations/instances_{split}.json"))
        ids = [annotation["id"] for annotation in coco.dataset["annotations"]]
        assert ids == list(range(1, len(ids) + 1))
        names = {category["id"]: category["name"] for category in coco.dataset["categories"]}
        assert {licence["name"] for licence in coco.dataset["licenses"]} == {"terms 1", "terms 2"}
        for image in coco.dataset["images"]:
            pair = shown[image["pair"]] = wanted[image["pair"]]
            annotations = coco.loadAnns(coco.getAnnIds([image["id"]]))
            union = np.zeros(pair.pictures["mask"].shape, bool)
            for annotation in annotations:
                region = coco.annToMask(annotation) > 0
                assert not (region & union).any()
                assert annotation["area"] == region.sum()
                assert names[annotation["category_id"]] == pair.row["kind"]
                union |= region
            assert (union == (pair.pictures["mask"] > 0)).all()
            changed = cv2.imread(str(tmp_path / "out" / image["file_name"]), cv2.IMREAD_COLOR_RGB)
            prompt = cv2.imread(str(tmp_path / "out" / image["prompt"]), cv2.IMREAD_COLOR_RGB)
            assert (changed == pair.pictures["changed"]).all()
            assert (prompt == pair.pictures.get("prompt", pair.pictures["original"])).all()
            assert image["license"] == pair.row["licence"]
    assert shown.keys() == wanted.keys()
    assert len({one.row["id"] for one in shown.values()}) == len(wanted)


def test_xarray_opens_the_shards_as_they_are(given, wanted, tmp_path):
    import xarray

    export(given, tmp_path, "zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shard = xarray.open_zarr(tmp_path / "data" / "shard_0000.zarr")
    assert shard["pair"].dims == ("n", "side", "y", "x", "rgb")
    for place, record in enumerate(shard.attrs["records"]):
        pair = wanted[record["facts"]["id"]]
        assert (shard["pair"][place, 1].values == pair.pictures["changed"]).all()
        assert (shard["mask"][place].values * 255 == pair.pictures["mask"]).all()


def test_png_files_are_told_apart_by_folder(given, wanted, tmp_path):
    export(given, tmp_path, "png", splits=("val",))
    own = {pair_id: pair for pair_id, pair in wanted.items() if pair.row["split"] == "val"}
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert files == {f"val/{name}/{pair_id}.png" for pair_id, pair in own.items() for name in pair.pictures}


@pytest.mark.parametrize("form", ["zarr", "webdataset", "parquet", "coco", "png"])
def test_the_same_pairs_give_the_same_bytes(given, tmp_path, form):
    _, first = export(given, tmp_path / "a", form)
    _, second = export(given, tmp_path / "b", form)
    assert [one.files for one in first] == [one.files for one in second]
    assert all(one.files for one in first)


def test_what_is_finished_is_known_again_until_a_file_or_the_wish_changes(given, tmp_path):
    jobs, made = export(given, tmp_path, "webdataset")
    assert [finished(job) for job in jobs] == made
    (other, *_) = plan(read_manifest(given.pairs), given.pairs, SPLITS, "webdataset", "png", tmp_path)
    assert finished(other) is None
    lost = tmp_path / next(iter(made[0].files))
    lost.write_bytes(lost.read_bytes()[:-1])
    assert finished(jobs[0]) is None
    assert finished(jobs[1]) == made[1]


def test_what_a_file_holds_is_what_its_digest_says(given, tmp_path):
    _, made = export(given, tmp_path, "parquet")
    for one in made:
        for name, (size, digest) in one.files.items():
            data = (tmp_path / name).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


def test_a_plain_http_server_that_lists_no_folders_will_do(given, wanted):
    class Files(SimpleHTTPRequestHandler):
        def list_directory(self, path):
            self.send_error(404)

        def do_GET(self):
            """As nginx and object stores, and unlike Python's own server, it answers for a range of bytes."""
            asked, path = self.headers.get("Range"), Path(self.translate_path(self.path))
            if not asked or not path.is_file():
                return super().do_GET()
            data = path.read_bytes()
            first, last = asked.removeprefix("bytes=").split("-")
            start = int(first) if first else len(data) - int(last)
            part = data[start : int(last) + 1 if first and last else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            return self.wfile.write(part)

        def log_message(self, *_):
            pass

    handler = partial(Files, directory=str(given.pairs))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        shard = open_shard(url, "shard_0000")
        pair = wanted[shard.attributes["records"][1]["facts"]["id"]]
        assert (np.asarray(shard.pair[1])[1] == pair.pictures["changed"]).all()
        assert (np.asarray(shard.mask[1]) * 255 == pair.pictures["mask"]).all()
        with pytest.raises(BadRequest, match="no shard_9999 in http"):
            open_shard(url, "shard_9999")
        server.shutdown()


def test_a_shard_that_is_not_the_manifest_s_is_not_handed_on(given, tmp_path):
    pairs = tmp_path / "pairs"
    shutil.copytree(given.pairs, pairs)
    path = pairs / "shard_0001.zarr/mask/c/0/0/0"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    jobs = plan(read_manifest(pairs), pairs, SPLITS, "zarr", "webp", tmp_path / "out")
    with pytest.raises(Failure, match=r"shard_0001\.zarr: not the bytes that the manifest names"):
        export_shard(jobs[1])


def test_exported_shards_are_a_data_set_of_this_project(given, tmp_path):
    assert main([str(tmp_path / "out"), "--to", "zarr", "--root", str(given.pairs), "--name", "boxes"]) == 0
    again = read_manifest(tmp_path / "out" / "data")
    assert again.digest == read_manifest(given.pairs).digest
    assert inspect(["all", "--verify", "--root", str(tmp_path / "out" / "data")]) == 0


def test_a_part_of_the_instances_that_was_cut_short_is_made_again(given, tmp_path):
    jobs, _ = export(given, tmp_path, "coco")
    part = tmp_path / ".export" / "shard_0000.instances.jsonl"
    part.write_text(part.read_text()[:-9])
    assert finished(jobs[0]) is None
    assert finished(jobs[1]) is not None


def test_other_names_of_licences_are_other_content(given, tmp_path):
    (job, *_), _ = export(given, tmp_path, "parquet")
    renamed = replace(job, entry=replace(job.entry, fingerprint="0" * 64))
    assert finished(renamed) is None
