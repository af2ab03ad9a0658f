"""The same pairs whatever the processor can do: records to the digit, pixels too with one build of OpenCV."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.changes.defects import DEFECTS
from tests.conftest import ROOT

MAKE = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from configs.synth import Ground as GroundConfig
from pipeline.changes.ground import draw_ground, show_ground
from pipeline.shards.format import shard_names
from pipeline.shards.opened import open_shard
from tests.pipeline.conftest import make_source

made = make_source(Path(sys.argv[1]), size_px=96, synth__pairs_per_image=24, inpaint__variants_per_image=3,
    synth__defect_prob=0.5, synth__cutpaste_prob=0.1, synth__ground_prob=0.5, synth__variation_prob=0.5)
made.make_inpainted()
made.make_pairs(made.pairs)
shards = [open_shard(made.pairs, name) for name in shard_names(made.pairs)]
records = [record for shard in shards for record in shard.attributes["records"]]
digest = hashlib.sha256()
for shard in shards:
    for array in (shard.pair, shard.mask, shard.extra["prompt"]):
        digest.update(np.asarray(array[:]).tobytes())
config = GroundConfig(drawn_share=0.5, piece_share=1.0)
for seed in range(150):
    picture = np.full((256, 256, 3), 99, np.uint8)
    ground = draw_ground(np.random.default_rng([seed]), picture, config)
    digest.update(show_ground(ground, picture, picture.shape[:2], place=seed).tobytes())
print(json.dumps({"records": records, "pixels": digest.hexdigest()}))
"""


def made(folder, **environment):
    command = [sys.executable, "-c", MAKE, str(folder)]
    shown = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, text=True, capture_output=True, check=True
    )
    return json.loads(shown.stdout.splitlines()[-1])


def test_without_avx512_the_records_and_the_pixels_are_the_same(tmp_path):
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    wide = [feature for feature in found if feature.startswith("AVX512")]
    if not wide:
        pytest.skip("this processor has no AVX-512 to be switched off")

    with_it = made(tmp_path / "with")
    without = made(tmp_path / "without", NPY_DISABLE_CPU_FEATURES=" ".join(wide))

    assert with_it["records"] == without["records"]
    assert with_it["pixels"] == without["pixels"]
    assert {record["change"]["kind"] for record in with_it["records"]} == {"inpaint", "paste", "local", *DEFECTS}
    for part in ("ground", "variation"):
        assert {record[part] is None for record in with_it["records"]} == {True, False}
