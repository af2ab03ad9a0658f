"""Time and memory of the seven scores at the size of MVTec AD, and AUPRO beside the plain way.

python -m benchmarks.scores                          # 1,725 maps at 256 px, AUPRO against 200 relabellings
python -m benchmarks.scores --size 512               # 452 million pixels
python -m benchmarks.scores --images 100 --plain 20  # a quick look
"""

import argparse
import resource
import time

import cv2
import numpy as np
from scipy import ndimage

from model.scores.metrics import NAMES, STEPS, Tally, score

IMAGES = 1725  # in the test set of MVTec AD, 1,258 of them anomalous
ANOMALOUS = 1258 / 1725
BATCH = 16


def draw(rng, images, size):
    """Maps like a network's: smooth, saturating at 0 and 1, higher on the blobs of the mask; 3 % anomalous pixels."""
    maps, masks = np.empty((images, size, size), np.float32), np.zeros((images, size, size), np.bool_)
    for place in range(images):
        noise = cv2.resize(rng.normal(size=(size // 8, size // 8)).astype(np.float32), (size, size))
        noise += 0.3 * rng.normal(size=(size, size)).astype(np.float32)
        if rng.random() < ANOMALOUS:
            blob = np.zeros((size, size), np.uint8)
            for _ in range(rng.integers(1, 4)):
                centre, axes = rng.integers(0, size, 2), rng.integers(size // 40, size // 8, 2)
                cv2.ellipse(blob, centre.tolist(), axes.tolist(), int(rng.integers(180)), 0, 360, 1, -1)
            masks[place] = blob > 0
            noise += 4 * cv2.GaussianBlur(blob.astype(np.float32), (0, 0), size / 60)
        maps[place] = 1 / (1 + np.exp(-(2 * noise - 5)))
    return maps, masks


def plain_aupro(maps, masks):
    """Every region is found again at each of 200 thresholds, as the published evaluator does."""
    low, high = float(maps.min()), float(maps.max())
    fprs, overlaps = [], []
    for step in range(STEPS):
        flagged = maps > low + step * (high - low) / STEPS
        recalls = []
        for mask, found in zip(masks, flagged, strict=True):
            regions, count = ndimage.label(mask, np.ones((3, 3)))
            recalls += [found[regions == region].mean() for region in range(1, count + 1)]
        fprs.append(flagged[~masks].mean())
        overlaps.append(np.mean(recalls))
    fpr, overlap = np.array(fprs), np.array(overlaps)
    fpr, overlap = fpr[fpr < 0.3], overlap[fpr < 0.3]
    fpr = (fpr - fpr.min()) / np.ptp(fpr)
    return float(np.sum((fpr[:-1] - fpr[1:]) * (overlap[:-1] + overlap[1:])) / 2)


def timed(work, *args, **options):
    start, busy = time.perf_counter(), time.process_time()
    result = work(*args, **options)
    return result, time.perf_counter() - start, time.process_time() - busy


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help="maps to score together, as one class")
    parser.add_argument("--size", type=int, default=256, help="side of a map in pixels")
    parser.add_argument("--plain", type=int, default=40, help="maps for the plain way; 0: leave it out")
    args = parser.parse_args()
    before = peak_mib()
    print(f"{args.images} maps of {args.size} px, {args.images * args.size**2 / 1e6:.0f} million pixels as one class")
    tally, wall, busy = Tally(), 0.0, 0.0
    for start in range(0, args.images, BATCH):
        maps, masks = draw(np.random.default_rng([0, start]), min(BATCH, args.images - start), args.size)
        _, more_wall, more_busy = timed(tally.add, maps, masks)
        wall, busy = wall + more_wall, busy + more_busy
    rows = [("seven scores: adding the maps", wall, busy)]
    for aupro in ("exact", "200 thresholds"):
        scores, more_wall, more_busy = timed(tally.scores, aupro)
        rows.append((f"seven scores: AUPRO {aupro}", more_wall, more_busy))
        print("  ".join(f"{name} {100 * scores.by_name()[name]:.2f}" for name in NAMES), f"(AUPRO {aupro})")
    print(f"peak memory {peak_mib():.0f} MiB, {before:.0f} MiB of them before the first map")
    if args.plain:
        maps, masks = draw(np.random.default_rng(1), args.plain, args.size)
        plain, slow, slow_busy = timed(plain_aupro, maps, masks)
        ours, fast, fast_busy = timed(score, maps, masks, aupro="200 thresholds")
        rows += [
            (f"{args.plain} maps: AUPRO, {STEPS} relabellings", slow, slow_busy),
            (f"{args.plain} maps: all seven scores", fast, fast_busy),
        ]
    print(f"\n{'':44}{'seconds':>10}{'CPU seconds':>14}")
    for name, seconds, cpu in rows:
        print(f"{name:44}{seconds:10.2f}{cpu:14.2f}")
    if args.plain:
        print(f"AUPRO {plain:.6f} the plain way, {ours.aupro:.6f} here: {slow_busy / fast_busy:.0f} times faster")


if __name__ == "__main__":
    main()
