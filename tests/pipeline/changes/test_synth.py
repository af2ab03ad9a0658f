"""The laws of a set of pairs, on a tiny source made without DVC or Dask (those are exercised in tests/stages)."""

import hashlib
import json
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadRequest
from configs.section import Range
from pipeline.changes.change import LOCAL, PASTE, Made, PairRecord, Unchanged, from_record, make_pair, to_record
from pipeline.changes.defects import DEFECTS
from pipeline.changes.removal import INPAINT, UNCHANGED
from pipeline.changes.synth import (
    FOR_MIX,
    area_fault,
    check_defects,
    draw_good_pair,
    draw_mix,
    kind_of,
    make_pairs,
    plan_pairs,
    turns_at_removals,
)
from pipeline.changes.visible import contrast
from pipeline.shards.format import (
    ALIGNED,
    ELSEWHERE,
    FACTS,
    NO_DONOR,
    PROMPT,
    THE_ORIGINAL,
    shard_names,
)
from pipeline.shards.opened import open_shard
from pipeline.source.index import Index
from tests.pipeline import tiny
from tests.pipeline.conftest import make_source


def all_pairs(root):
    """(image id, number of the pair among its image's) -> (kind, donor, pair, mask, record)."""
    found = {}
    seen = Counter()
    for name in shard_names(root):
        shard = open_shard(root, name)
        for place, record in enumerate(shard.attributes["records"]):
            image_id = record["image_id"]
            found[image_id, seen[image_id]] = (
                shard.kinds[int(np.asarray(shard.kind[place]))],
                int(np.asarray(shard.donor_id[place])),
                np.asarray(shard.pair[place]),
                np.asarray(shard.mask[place]) > 0,
                record,
            )
            seen[image_id] += 1
    return found


@pytest.fixture(scope="module")
def pairs(workspace):
    return all_pairs(workspace.pairs)


def test_every_image_gives_its_pairs(workspace, pairs):
    image_ids = Index(workspace.index).image_ids
    assert set(pairs) == {(int(image_id), number) for image_id in image_ids for number in range(4)}
    assert {kind for kind, *_ in pairs.values()} == {"inpaint", "paste", "local"}


def test_pixels_outside_the_mask_are_bit_identical_and_inside_every_region_holds_a_visible_change(workspace, pairs):
    visible = workspace.params.visible
    for _, _, (original, changed), mask, _ in pairs.values():
        difference = contrast(original, changed)
        assert not difference[~mask].any()
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for region in range(1, count):
            seen = difference[labels == region] >= visible.min_contrast
            assert seen.any()
            assert seen.mean() >= visible.min_share


def test_masks_have_an_allowed_area(workspace, pairs):
    share = workspace.params.synth.area_share
    assert all(share.low <= mask.mean() <= share.high for _, _, _, mask, _ in pairs.values())


def test_a_record_regenerates_its_pair_to_the_byte(workspace, pairs):
    sources = workspace.sources()
    for kind, donor_id, (original, changed), mask, record in pairs.values():
        known = from_record(json.loads(json.dumps(record)))
        made = make_pair(known, sources, workspace.params.visible)
        assert (made.original == original).all()
        assert (made.changed == changed).all()
        assert (made.mask == mask).all()
        assert kind == known.change.kind
        assert ((*known.donor_ids, NO_DONOR))[0] == donor_id
        assert to_record(known) == {key: said for key, said in record.items() if key != FACTS}


def test_what_a_record_says_beside_is_true_of_the_stored_pair(workspace, pairs):
    sources = workspace.sources()
    for (image_id, number), (_, _, (original, changed), mask, record) in pairs.items():
        facts = record[FACTS]
        assert facts["id"] == f"{image_id}-{number}"
        assert facts["area_share"] == round(float(mask.mean()), 6)
        assert (
            facts["sha256"] == hashlib.sha256(b"".join(map(np.ndarray.tobytes, (original, changed, mask)))).hexdigest()
        )
        assert facts["prompt_is"] == "original"
        own, *donors = facts["rights"]
        assert own == {
            "image_id": image_id,
            "file": f"{image_id:012d}.jpg",
            "licence": image_id % 2 + 1,
            "url": f"https://photographs.test/{image_id}",
        }
        assert [donor["image_id"] for donor in donors] == record["donor_ids"]
        assert facts["categories"] == _categories_of(record, sources)


def test_a_worker_that_stood_there_since_before_takes_the_rights_of_now(tmp_path):
    made = make_source(tmp_path)
    made.make_inpainted()
    made.make_pairs(tmp_path / "before")
    path = tmp_path / "source" / "instances.json"
    path.write_text(path.read_text().replace("photographs.test", "elsewhere.test"))
    tiny.index_source(tmp_path / "source", made.index, made.params)

    made.make_pairs(tmp_path / "now")

    urls = {record[FACTS]["rights"][0]["url"] for *_, record in all_pairs(tmp_path / "now").values()}
    assert all(url.startswith("https://elsewhere.test/") for url in urls)


def _categories_of(record, sources):
    """By another way than the program's: the instance ids of the source say which of its two categories they are."""
    if record["change"]["kind"] == PASTE:
        ids = [placement["instance_id"] for placement in record["change"]["placements"]]
    elif record["change"]["kind"] == INPAINT:
        ids = sources.removed(sources.row(record["image_id"]), record["change"]["variant"])
        assert ids
    else:
        ids = []
    return sorted({1 + instance_id % 2 for instance_id in ids})


def test_what_was_drawn_in_vain_for_each_pair_adds_up_to_the_shard_s(workspace, tmp_path):
    manifest = workspace.make_pairs(tmp_path / "pairs", area_share=Range(low=0.03, high=0.3))
    found = Counter()
    for *_, record in all_pairs(tmp_path / "pairs").values():
        found.update(record[FACTS]["in_vain"])
    assert sum(found.values()) > 0
    assert found <= Counter(manifest.outcomes)
    if "pair given up" not in manifest.outcomes:
        assert found == Counter({why: n for why, n in manifest.outcomes.items() if "left out" not in why})


def test_several_textures_and_feathered_pastes_on_oblong_pairs_keep_the_laws(tmp_path):
    made = make_source(tmp_path, size_px=[64, 96], synth__local__textures=3, synth__paste__feather_px=2)
    made.make_inpainted()
    made.make_pairs(made.pairs)
    sources, kinds = made.sources(), Counter()

    for kind, donor_id, pair, mask, record in all_pairs(made.pairs).values():
        kinds[kind] += 1
        assert not contrast(pair[0], pair[1])[~mask].any()
        again = make_pair(from_record(record), sources, made.params.visible)
        assert (again.original == pair[0]).all()
        assert (again.changed == pair[1]).all()
        assert (again.mask == mask).all()
        if kind == LOCAL:
            assert len(record["donor_ids"]) == 3
            assert record["donor_ids"][0] == donor_id
    assert set(kinds) == {INPAINT, PASTE, LOCAL}


def test_objects_cut_by_the_edge_of_their_image_are_pasted_at_an_edge_and_nowhere_else(workspace, tmp_path):
    paste = workspace.params.synth.paste.model_copy(update={"max_instances": 1})
    workspace.make_pairs(tmp_path / "pairs", paste=paste, local_prob=0.0, paste_prob=1.0)

    sources, cut = workspace.sources(), 0
    for kind, donor_id, _, mask, record in all_pairs(tmp_path / "pairs").values():
        if kind == PASTE:
            row, (placement,) = sources.row(donor_id), record["change"]["placements"]
            (instance,) = (
                found for found in sources.index.instances(row) if found.instance_id == placement["instance_id"]
            )
            (shape,) = sources.index.masks(row, [instance])
            if (shape.sum() - shape[3:-3, 3:-3].sum()) > 0:
                cut += 1
                assert placement["angle_deg"] == 0
                assert mask.sum() > mask[1:-1, 1:-1].sum()
    assert cut > 3


def test_a_donor_is_another_image_of_the_same_split(workspace, pairs):
    index = Index(workspace.index)
    split = {index.image(row).image_id: index.image(row).split for row in range(len(index))}
    for (image_id, _), (kind, donor_id, *_) in pairs.items():
        if kind in (PASTE, LOCAL):
            assert donor_id != image_id
            assert split[donor_id] == split[image_id]
    for name in shard_names(workspace.pairs):
        shard = open_shard(workspace.pairs, name)
        assert {split[int(image_id)] for image_id in np.asarray(shard.image_id[:])} == {shard.entry.split}


@pytest.mark.parametrize("per_shard", [3, 16, 64])
def test_pairs_do_not_depend_on_the_size_of_the_shards(workspace, pairs, tmp_path, per_shard):
    workspace.make_pairs(tmp_path / "pairs", pairs_per_shard=per_shard)

    other = all_pairs(tmp_path / "pairs")

    assert other.keys() == pairs.keys()
    for key, (kind, donor_id, pair, mask, record) in pairs.items():
        assert (kind, donor_id, record) == (other[key][0], other[key][1], other[key][4])
        assert (pair == other[key][2]).all()
        assert (mask == other[key][3]).all()


def test_making_them_again_gives_the_same_shards(workspace, tmp_path):
    again = workspace.make_pairs(tmp_path / "pairs")

    assert [entry.sha256 for entry in again.shards] == [
        open_shard(workspace.pairs, entry.name).entry.sha256 for entry in again.shards
    ]


def test_raising_local_prob_leaves_every_pair_that_is_not_newly_local_as_it_was(workspace, pairs, tmp_path):
    assert workspace.params.synth.local_prob == 0.3
    workspace.make_pairs(tmp_path / "pairs", local_prob=0.5)

    turned = 0
    for key, (kind, _, pair, mask, record) in all_pairs(tmp_path / "pairs").items():
        if kind == LOCAL and pairs[key][0] != LOCAL:
            turned += 1
            continue
        assert record == pairs[key][4]
        assert (pair == pairs[key][2]).all()
        assert (mask == pairs[key][3]).all()
    assert turned > 0


ALL_ON = {"defect_prob": 0.5, "cutpaste_prob": 0.1, "ground_prob": 0.5, "variation_prob": 0.5, "pairs_per_image": 16}


@pytest.fixture(scope="module")
def extended(workspace, tmp_path_factory):
    root = tmp_path_factory.mktemp("extended") / "pairs"
    workspace.make_pairs(root, **ALL_ON)
    return root


def test_defects_grounds_and_variations_keep_the_laws_and_their_records_make_them_again(workspace, extended):
    sources, found = workspace.sources(), all_pairs(extended).values()
    assert {kind for kind, *_ in found} == {INPAINT, PASTE, LOCAL, *DEFECTS}
    for kind, donor_id, pair, mask, record in found:
        assert not contrast(pair[0], pair[1])[~mask].any()
        limits = workspace.params.synth.defect_area_share if kind in DEFECTS else workspace.params.synth.area_share
        assert limits.low <= mask.mean() <= limits.high
        made = make_pair(from_record(json.loads(json.dumps(record))), sources, workspace.params.visible)
        assert (made.original == pair[0]).all()
        assert (made.changed == pair[1]).all()
        assert (made.mask == mask).all()
        assert (donor_id == NO_DONOR) == (not record["donor_ids"])


def test_a_prompt_is_stored_where_it_is_not_the_original_and_only_there(workspace, extended):
    seen = Counter()
    for name in shard_names(extended):
        shard = open_shard(extended, name)
        for place, record in enumerate(shard.attributes["records"]):
            made = make_pair(from_record(record), workspace.sources(), workspace.params.visible)
            what, stored = int(np.asarray(shard.prompt_is[place])), np.asarray(shard.extra[PROMPT][place])
            seen[what] += 1
            assert (what == THE_ORIGINAL) == (record["variation"] is None) == (made.prompt is None)
            if what == THE_ORIGINAL:
                assert not stored.any()
            else:
                assert (stored == made.prompt).all()
            assert what != ELSEWHERE or record["ground"] is not None
    assert set(seen) == {THE_ORIGINAL, ALIGNED, ELSEWHERE}


def test_a_prompt_differs_from_its_original_and_what_is_pasted_has_the_query_s_noise(workspace, extended):
    sources, noise = workspace.sources(), []
    for name in shard_names(extended):
        for record in open_shard(extended, name).attributes["records"]:
            made = make_pair(from_record(record), sources, workspace.params.visible)
            if made.prompt is not None:
                assert (made.prompt != made.original).any(), record["variation"]
            variation = record["variation"]
            if record["change"]["kind"] == PASTE and variation and variation["varied"] == "query":
                clean = make_pair(from_record({**record, "variation": None}), sources, workspace.params.visible)
                strength = max(variation["noise_levels"], 100 * (variation["gains"] != [1.0, 1.0, 1.0]))
                both = made.mask & clean.mask
                if strength > 3 and both.any():
                    noise.append((made.changed != clean.changed)[both].any())
    assert noise
    assert all(noise)


@pytest.mark.parametrize("chance", ["defect_prob", "ground_prob", "variation_prob"])
def test_raising_a_chance_leaves_the_pairs_that_it_does_not_turn_as_they_were(workspace, extended, tmp_path, chance):
    workspace.make_pairs(tmp_path / "pairs", **{**ALL_ON, chance: 0.7})

    before, after, turned = all_pairs(extended), all_pairs(tmp_path / "pairs"), 0
    assert before.keys() == after.keys()
    for (image_id, number), (_, _, pair, mask, record) in after.items():
        mix = draw_mix(np.random.default_rng([0, image_id, number, FOR_MIX, 0]))
        if 0.5 <= getattr(mix, chance.removesuffix("_prob")) < 0.7:
            turned += 1
            continue
        assert record == before[image_id, number][4]
        assert (pair == before[image_id, number][2]).all()
        assert (mask == before[image_id, number][3]).all()
    assert turned > 0


def test_the_weights_of_defects_are_their_shares_and_a_kind_left_out_is_not_made():
    weights = {"stain": 3.0, "gloss": 1.0, "dent": 0.0}
    config = tiny.params(synth__defect_prob=1.0, synth__defects=weights).synth
    rng = np.random.default_rng(0)
    kinds = Counter(kind_of(draw_mix(rng), config) for _ in range(4000))
    assert set(kinds) == {"stain", "gloss"}
    assert kinds["stain"] / 4000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("weights", "told"),
    [({"scratch": 1.0}, "scratch is no kind of defect; there are stroke, stain"), ({}, "no kind in synth.defects")],
)
def test_defects_that_are_none_are_refused(weights, told):
    with pytest.raises(BadRequest, match=told):
        check_defects(tiny.params(synth__defect_prob=1.0, synth__defects=weights).synth)


def test_unchanged_pairs_are_made_on_request_and_have_an_empty_mask(workspace, tmp_path):
    workspace.make_pairs(tmp_path / "pairs", unchanged_prob=0.5)

    unchanged = [made for made in all_pairs(tmp_path / "pairs").values() if made[0] == UNCHANGED]

    assert unchanged
    for _, _, (original, changed), mask, _ in unchanged:
        assert (original == changed).all()
        assert not mask.any()


@settings(max_examples=20)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_mix_of_kinds_follows_its_chances(unchanged_prob, local_prob, paste_prob):
    config = tiny.params(
        synth__unchanged_prob=unchanged_prob, synth__local_prob=local_prob, synth__paste_prob=paste_prob
    ).synth
    rng = np.random.default_rng(0)

    kinds = Counter(kind_of(draw_mix(rng), config) for _ in range(4000))

    changed, object_level = 1 - unchanged_prob, (1 - unchanged_prob) * (1 - local_prob)
    assert kinds[UNCHANGED] / 4000 == pytest.approx(unchanged_prob, abs=0.04)
    assert kinds[LOCAL] / 4000 == pytest.approx(changed * local_prob, abs=0.04)
    assert kinds[PASTE] / 4000 == pytest.approx(object_level * paste_prob, abs=0.04)
    assert kinds[INPAINT] / 4000 == pytest.approx(object_level * (1 - paste_prob), abs=0.04)


def test_a_kind_that_cannot_be_made_gives_way_to_another_and_is_counted(workspace):
    nothing_to_paste = workspace.params.model_copy(
        update={
            "synth": workspace.params.synth.model_copy(
                update={
                    "local_prob": 0.0,
                    "paste_prob": 1.0,
                    "paste": workspace.params.synth.paste.model_copy(
                        update={"area_share": workspace.params.synth.area_share.model_copy(update={"low": 0.59})}
                    ),
                }
            )
        }
    )
    outcomes = Counter()
    config, visible = nothing_to_paste.synth, nothing_to_paste.visible

    sources = workspace.sources()
    blank = PairRecord(int(sources.index.image_ids[0]), (), None, Unchanged(), None)

    made = draw_good_pair((PASTE, LOCAL), blank, 0, 0, sources, config, visible, outcomes)

    assert made.record.change.kind == "local"
    assert outcomes["paste drawn again: nothing visible"] == nothing_to_paste.synth.tries
    assert outcomes["paste given up for another kind"] == 1


@given(st.integers(0, 999), st.integers(1, 30), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_pairs_that_stay_inpainted_keep_their_turn_and_leave_no_gap(seed, count, local_prob, higher, paste_prob):
    rng = np.random.default_rng(seed)
    mixes = [draw_mix(rng) for _ in range(count)]
    low, high = sorted([local_prob, higher])
    few, many = (tiny.params(synth__local_prob=prob, synth__paste_prob=paste_prob).synth for prob in (high, low))

    turns = turns_at_removals(mixes, many)

    assert turns == turns_at_removals(mixes, few)
    for config in (few, many):
        inpainted = {number for number, mix in enumerate(mixes) if kind_of(mix, config) == INPAINT}
        assert set(turns[: len(inpainted)]) == inpainted


def test_no_removal_is_given_out_twice_and_the_rest_becomes_another_kind(workspace):
    config = workspace.params.synth.model_copy(update={"local_prob": 0.0, "paste_prob": 0.0, "pairs_per_image": 6})
    outcomes, sources = Counter(), workspace.sources()

    for row in range(len(sources.index)):
        drawn = list(make_pairs(row, 0, sources, config, workspace.params.visible, outcomes))
        made = [one.made for one in drawn]
        assert [one.number for one in drawn] == list(range(6))
        removals = [pair.record.change.variant for pair in made if pair.record.change.kind == "inpaint"]
        assert len(made) == 6
        assert 0 < len(removals) == len(set(removals)) <= sources.variants(row)
        assert len({pair.changed.tobytes() for pair in made}) == 6
    assert outcomes["inpaint given up for another kind: no other set of objects"] > 0


def test_the_manifest_counts_what_was_drawn_in_vain_over_all_shards_by_reason(workspace, tmp_path):
    manifest = workspace.make_pairs(tmp_path / "pairs", area_share=Range(low=0.05, high=0.08))

    of_shards = Counter()
    for name in shard_names(tmp_path / "pairs"):
        of_shards.update(open_shard(tmp_path / "pairs", name).entry.outcomes)
    assert manifest.outcomes == of_shards
    reasons = {outcome.partition(": ")[2] for outcome in manifest.outcomes}
    assert {"nothing visible", "mask too small", "mask too large"} <= reasons
    assert sum(manifest.kinds.values()) + manifest.outcomes.get("pair given up", 0) == 4 * len(
        workspace.sources().index
    )


@pytest.mark.parametrize(
    ("share", "fault"), [(0.0, "nothing visible"), (0.0005, "mask too small"), (0.3, None), (0.9, "mask too large")]
)
def test_the_area_of_a_mask_is_judged(share, fault):
    mask = np.zeros(10_000, bool)
    mask[: int(share * 10_000)] = True

    image = np.zeros((100, 100, 3), np.uint8)
    made = Made(PairRecord(1, (), None, Unchanged(), None), image, image, mask.reshape(100, 100), None)
    assert area_fault(made, tiny.params().synth) == fault


def test_a_split_of_one_image_is_refused_since_it_has_no_donor(tmp_path):
    workspace = make_source(tmp_path, index__images=4)  # a quarter for val: one image
    workspace.make_inpainted()

    with pytest.raises(BadRequest, match="each split needs two"):
        plan_pairs(workspace.params, workspace.pairs, workspace.index, workspace.inpainted)
