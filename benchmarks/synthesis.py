"""Index, inpaint and synth by their real stages, beside the plain way of making the same pairs, in one run.

python -m benchmarks.synthesis                                              # embedded photographs
python -m benchmarks.synthesis --images COCO/images --annotations COCO/instances.json --repeat 4000
python -m benchmarks.synthesis --scenes 60 --plain 20                       # a quick look

The plain way is what public generators do: the photograph read whole, every instance's mask decoded, `noise.pnoise2`
called point by point, and one PNG per picture: the inpainted ones first, then the pairs. Public sets keep the inpainted
ones at the photographs' own size; the plain way is timed so and, harder to beat, with these at the size of the pairs.

All ways fill with OpenCV and have the same number of processes. CPU time counts all of them; unlike the clock it does
not see other programs. With fewer than some thousand photographs ours is mostly the start of the worker processes; the
lines by step are without it.
"""

import argparse
import cProfile
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import noise
import numpy as np
import yaml

from configs.everything import Everything
from pipeline.arrays import height_width
from pipeline.changes import paste, perlin, sources, texture, visible
from pipeline.changes.inpaint import build_inpainted_shard, plan_inpainted
from pipeline.changes.synth import build_pair_shard, plan_pairs
from pipeline.embedded.scenes import write_scenes
from pipeline.shards import chunks
from pipeline.shards.format import read_manifest
from pipeline.source import images, run_lengths
from pipeline.source.index import Index
from pipeline.source.masks import coverage, resize_mask

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("index", "inpaint", "synth")
PROJECTED = 60_000  # pairs, of the paper
NEVER = (0, 0, 0.0, 0.0, {})  # what cProfile would say of a function that was not called
STEPS = {  # what the time of a worker goes into -> the functions it is spent in, which do not call each other
    "decode JPEG": [images.decode],
    "resize": [images.resize, coverage],
    "instance masks": [run_lengths.union, run_lengths.decode_mask],
    "fill": [cv2.inpaint],
    "read inpainted": [sources.Sources.read_ahead, sources.Sources._read_pair],  # noqa: SLF001
    "paste": [paste.apply_paste],
    "Perlin": [perlin.perlin_mask],
    "texture": [texture.apply_texture],
    "keep what is visible": [visible.keep_visible],
    "compress and write": [chunks.ChunkWriter.append],
}


def main():
    args = parse()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        project = Path(folder)
        photographs, annotations = source(args, project)
        params = write_params(args, project, photographs, annotations)
        ours = {stage: run_stage(stage, project) for stage in STAGES}
        pairs = sum(read_manifest(project / "data/pairs").kinds.values())
        print(f"{pairs} pairs at {args.size} px from {photographs}, {args.workers} workers")
        print(f"{'':28}{'pairs/s':>9}{'CPU ms a pair':>15}{'peak MB':>9}")
        for stage, (wall, cpu, peak) in ours.items():
            print(f"{stage:28}{pairs / wall:9.0f}{cpu / pairs * 1e3:15.2f}{peak:9.0f}")
        wall, cpu = (sum(values) for values in list(zip(*ours.values(), strict=True))[:2])
        print(f"{'all three':28}{pairs / wall:9.0f}{cpu / pairs * 1e3:15.2f}")

        for step, took in by_step(params, project).items():
            print(f"  {step:26}{'':9}{took * 1e3:15.2f}")

        own_bytes = sum(size_of(project / "data" / name) for name in ("inpainted", "pairs")) / pairs
        print(f"bytes a pair, inpainted included: {own_bytes:,.0f}")
        for at in ("native", "pair"):
            plain_wall, plain_cpu, plain_bytes = plain_way(args, params, project, at)
            print(f"\n{f'the plain way, {at} size':28}{1 / plain_wall:9.0f}{plain_cpu * 1e3:15.2f}")
            by_clock, by_cpu = plain_wall / wall * pairs, plain_cpu / cpu * pairs
            print(f"{'  ours is faster':26}{by_clock:9.1f}x{by_cpu:15.1f}x")
            print(f"  bytes a pair: {plain_bytes:,.0f}; ours are {own_bytes / plain_bytes:.2f} of them")
        if args.growth:
            print()
            for stage, rate in one_worker(params, project, pairs).items():
                growth = pairs / ours[stage][0] / rate
                print(f"{f'{stage}, 1 worker':28}{rate:9.0f}   {args.workers} workers are {growth:.2f} times as fast")
        minutes, disk = PROJECTED * wall / pairs / 60, PROJECTED * own_bytes / 1e9
        print()
        print(f"{PROJECTED:,} pairs at {args.size} px: {minutes:.0f} minutes, {disk:.1f} GB in both folders")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photographs; embedded ones are drawn without it")
    parser.add_argument("--annotations", type=Path, help="their COCO instances JSON")
    parser.add_argument("--scenes", type=int, default=240, help="embedded photographs to draw (default 240)")
    parser.add_argument("--repeat", type=int, default=0, help="take photographs again, under new ids, up to this many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=256, help="of the pairs in pixels")
    parser.add_argument("--plain", type=int, default=60, help="pairs made the plain way (default 60)")
    parser.add_argument("--growth", action="store_true", help="also let one worker make all shards again")
    parser.add_argument("--folder", type=Path, help="where the temporary folder goes")
    return parser.parse_args()


def source(args, project):
    """The folder of photographs and an instances JSON that has as many as wanted."""
    if args.images is None:
        write_scenes(project / "scenes", 0, args.scenes, args.workers)
        args.images, args.annotations = project / "scenes/images", project / "scenes/instances.json"
    content = json.loads(args.annotations.read_text())
    owned = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        owned[annotation["image_id"]].append(annotation)
    count = args.repeat or len(content["images"])
    images, annotations = [], []
    folder = project / "photographs"
    folder.mkdir()
    for number in range(count):
        image = content["images"][number % len(content["images"])]
        name = f"{number + 1}_{image['file_name']}"
        # Another file each time, by bytes behind the end mark: the same file twice would be taken once.
        (folder / name).write_bytes((args.images / image["file_name"]).read_bytes() + number.to_bytes(4, "big"))
        images.append({**image, "id": number + 1, "file_name": name})
        for annotation in owned[image["id"]]:
            annotations.append({**annotation, "id": len(annotations) + 1, "image_id": number + 1})
    path = project / "instances.json"
    path.write_text(json.dumps({**content, "images": images, "annotations": annotations}))
    return folder, path


def write_params(args, project, photographs, annotations):
    """params.yaml: the paper's mix, a pair per photograph, but OpenCV's filler."""
    values = yaml.safe_load((ROOT / "configs/coco60k.yaml").read_text())
    values["size_px"] = args.size
    values["data"] = {"images": str(photographs), "annotations": str(annotations)}
    values["index"]["max_unreadable_share"] = 0.0
    values["cluster"] |= {"workers": args.workers, "memory_limit": "1 GiB"}
    values["inpaint"] |= {"filler": "opencv_telea", "lama_weights": None, "fill_at": "pair", "dilate_px": 2}
    values["inpaint"] |= {"variants_per_image": 1, "max_instances": 3}
    values["synth"]["pairs_per_image"] = 1
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    return Everything.model_validate(values)


def run_stage(stage, project):
    """Seconds by the clock, seconds of CPU of all its processes, and the largest of these in MB."""
    program = (
        "import resource, runpy, sys; sys.argv = [sys.argv[1]]\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "finally: print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, f"stages.{stage}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(command, cwd=project, env=environment, check=False, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        sys.exit(ran.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, int(ran.stderr.split()[-1]) / 1e3


def one_worker(params, project, pairs):
    """Pairs a second of the stages that have workers, with a single one, start-up included."""
    values = params.model_dump() | {"cluster": {**params.cluster.model_dump(), "workers": 1}}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    rates = {}
    for stage, made in (("inpaint", "inpainted"), ("synth", "pairs")):
        shutil.rmtree(project / "data" / made)
        shutil.rmtree(project / ".work" / "shards" / stage)
        rates[stage] = pairs / run_stage(stage, project)[0]
    return rates


def by_step(params, project):
    """Seconds of CPU a pair by step, from one shard of each stage made again in this process, after another."""
    index, took = project / "data/index", dict.fromkeys([*STEPS, "the rest"], 0.0)
    for build, (task, jobs) in (
        (build_inpainted_shard, plan_inpainted(params, project / "again", index)),
        (build_pair_shard, plan_pairs(params, project / "again", index, project / "data/inpainted")),
    ):
        build(jobs[0], task)  # what a process does once is not a pair's
        profile = cProfile.Profile(time.process_time)
        job = jobs[1 % len(jobs)]
        count = profile.runcall(build, job, task).pairs
        profile.create_stats()
        for step, functions in STEPS.items():
            took[step] += sum(profile.stats.get(key_of(function), NEVER)[3] for function in functions) / count
        took["the rest"] += sum(row[2] for row in profile.stats.values()) / count
    took["the rest"] -= sum(took[step] for step in STEPS)
    return took


def key_of(function):
    """How cProfile names a function."""
    if not hasattr(function, "__code__"):
        return "~", 0, f"<{function.__name__}>"
    return function.__code__.co_filename, function.__code__.co_firstlineno, function.__name__


def plain_way(args, params, project, at):
    """Seconds by the clock, of CPU, and bytes in PNGs a pair; the work is shared by as many processes."""
    count = min(args.plain, len(Index(project / "data/index").rows("train")))
    shares = [(params, project, at, range(first, count, args.workers)) for first in range(args.workers)]
    with ProcessPoolExecutor(args.workers) as pool:
        list(pool.map(warm_up, range(args.workers)))
        start = time.perf_counter()
        made = list(pool.map(plain_share, shares))
        wall = time.perf_counter() - start
    cpu, size = (sum(values) for values in zip(*made, strict=True))
    return wall / count, cpu / count, size / count


def warm_up(_):
    cv2.setNumThreads(1)
    time.sleep(0.2)  # so that every process of the pool gets one


def plain_share(share):
    """CPU seconds for, and bytes in all PNGs of, some pairs made the plain way."""
    (params, project, at, numbers), start = share, time.process_time()
    index, folder, size = Index(project / "data/index"), project / "plain", height_width(params.size_px)
    folder.mkdir(exist_ok=True)
    written = 0
    for row in numbers:
        written += plain_inpainting(params, index, row, folder, size if at == "pair" else None)
    for row in numbers:
        written += plain_pair(params, index, row, folder, size)
    return time.process_time() - start, written


def plain_inpainting(params, index, row, folder, size):
    """Read the whole photograph and every mask; write it, what is left of it, and the mask as PNGs: their bytes."""
    photograph = read_photograph(params, index, row, size)
    size = photograph.shape[:2]
    masks = [
        cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) for mask in all_masks(index, row)
    ]
    rng = np.random.default_rng(row)
    chosen = [masks[number] for number in rng.permutation(len(masks))[: rng.integers(1, 4)]]
    hole = np.max([np.zeros(size, np.uint8), *chosen], axis=0)
    filled = cv2.inpaint(photograph, cv2.dilate(hole, np.ones((5, 5), np.uint8)), 3, cv2.INPAINT_TELEA)
    pictures = (("image", photograph), ("inpainted", filled), ("removed", hole * 255))
    return sum(write_png(folder / f"{row}_{name}.png", picture) for name, picture in pictures)


def plain_pair(params, index, row, folder, size):
    """One pair of the paper's mix, its pictures read from and written to PNGs; bytes written."""
    rng = np.random.default_rng([row, 1])
    original = fit(cv2.imread(str(folder / f"{row}_image.png")), size)
    other = (row + 1) % len(index.rows("train"))
    if rng.random() < params.synth.local_prob:
        mask = plain_perlin(rng, size, params.synth.local.threshold)
        donor = texture.apply_texture(read_photograph(params, index, other, size), texture.draw_texture(rng))
        weight = rng.uniform(0.2, 1.0)
        changed = np.where(mask[..., None], weight * donor + (1 - weight) * original, original).astype(np.uint8)
    elif rng.random() < params.synth.paste_prob:
        donor, masks = read_photograph(params, index, other, size), all_masks(index, other)
        mask = np.zeros(size, bool) if not masks else resize_mask(masks[rng.integers(len(masks))], size)
        changed = np.where(mask[..., None], donor, original)
    else:
        changed = fit(cv2.imread(str(folder / f"{row}_inpainted.png")), size)
        mask = fit(cv2.imread(str(folder / f"{row}_removed.png"), cv2.IMREAD_GRAYSCALE), size) > 0
    pictures = (("a", original), ("b", changed), ("mask", mask * np.uint8(255)))
    return sum(write_png(folder / f"{row}_pair_{name}.png", picture) for name, picture in pictures)


def write_png(path, picture):
    cv2.imwrite(str(path), picture)
    return path.stat().st_size


def plain_perlin(rng, size, threshold):
    cells = 2 ** rng.integers(0, 6, 2)
    field = np.array(
        [
            [noise.pnoise2(col * cells[1] / size[1], row * cells[0] / size[0]) for col in range(size[1])]
            for row in range(size[0])
        ],
        np.float32,
    )
    turn = cv2.getRotationMatrix2D((size[1] / 2, size[0] / 2), rng.uniform(-90, 90), 1.0)
    return cv2.warpAffine(field, turn, size[::-1]) > threshold


def read_photograph(params, index, row, size):
    path = Path(params.data.images) / index.image(row).file
    return fit(cv2.imread(str(path)), size)


def fit(picture, size):
    return picture if size is None else cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def all_masks(index, row):
    return index.masks(row, index.instances(row))


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
