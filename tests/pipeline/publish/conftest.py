"""Pairs of every role and kind, and what an export of them must hold."""

import pytest

from pipeline.records import write_records
from tests.pipeline.conftest import Workspace, make_source

ALL_KINDS = {
    "ground_prob": 0.3,
    "variation_prob": 0.5,
    "unchanged_prob": 0.15,
    "defect_prob": 0.2,
    "defects": {"stain": 1.0, "dent": 1.0},
}


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> Workspace:
    """Finished pairs, some with prompts of their own, and the table of their records; do not change them."""
    made = make_source(tmp_path_factory.mktemp("given"))
    made.make_inpainted()
    write_records(made.pairs, made.make_pairs(made.pairs, **ALL_KINDS))
    return made
