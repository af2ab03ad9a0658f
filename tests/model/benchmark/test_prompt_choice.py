import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest, Failure
from model.benchmark.prompt_choice import Matcher, by_prompts, draw_prompts, read_prompts, read_top_list
from model.layouts import Category, Query, read_benchmark
from tests.model.tiny_benchmark import SIZE, Network, make_category


def category(count, name="nut"):
    root = Path("root")
    normals = tuple(root / f"{number}.png" for number in range(count))
    return Category(name, normals, (Query(root / "q.png", None, "good"),), root)


@given(st.integers(0, 2**32), st.text(min_size=1), st.integers(1, 20), st.integers(0, 9))
def test_the_prompts_depend_on_seed_repetition_and_name_alone(seed, name, count, repetition):
    drawn = draw_prompts(category(count, name), seed, repetition)
    assert drawn == draw_prompts(category(count, name), seed, repetition)
    assert drawn[0] in category(count).normals


@given(st.integers(0, 2**32), st.integers(2, 20), st.data())
def test_more_shots_add_to_fewer(seed, count, data):
    shots = data.draw(st.integers(2, count))
    more, fewer = (draw_prompts(category(count), seed, 0, k) for k in (shots, shots - 1))
    assert more[:-1] == fewer
    assert len(set(more)) == shots


@pytest.mark.parametrize("which", ["seed", "repetition"])
def test_another_seed_or_repetition_draws_another_prompt(which):
    drawn = {draw_prompts(category(5), **{"seed": 0, which: number}) for number in range(40)}
    assert len(drawn) == 5


def test_more_shots_than_normal_images_are_a_wrong_request():
    with pytest.raises(BadRequest, match="nut: wanted 3 prompts, but it has 2 normal images"):
        draw_prompts(category(2), 0, shots=3)


def test_a_published_file_names_the_prompt_of_each_category(tmp_path):
    make_category(tmp_path / "nut")
    (nut,) = read_benchmark("mvtec", tmp_path)
    path = tmp_path / "oneprompt_seed1.json"
    path.write_text(json.dumps({"nut": {"filename": "nut/train/good/003.png"}, "other": {"filename": "x"}}))
    assert read_prompts(path, [nut]) == {"nut": (tmp_path / "nut/train/good/003.png",)}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, BadRequest, r"p\.json: cannot be read \(No such file"),
        ("{", BadRequest, r"p\.json: not JSON"),
        ("{}", BadRequest, r"p\.json: found no 'nut'; wanted \{category"),
        ('{"nut": {"filename": "gone.png"}}', Failure, r"p\.json: the prompt of nut is not there: .*gone\.png"),
    ],
)
def test_a_wrong_file_of_prompts_is_one_line(tmp_path, text, error, message):
    if text is not None:
        (tmp_path / "p.json").write_text(text)
    with pytest.raises(error, match=message):
        read_prompts(tmp_path / "p.json", [category(1)])


def test_the_published_best_matches_are_taken_by_name(tmp_path):
    lines = [{"q.png": ["2.png", "0.png"]}, {"other.png": ["1.png"]}]
    path = tmp_path / "test-train-top10pair-eb4.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_top_list(tmp_path, category(3), 2) == [(Path("root/2.png"), Path("root/0.png"))]
    with pytest.raises(BadRequest, match=r"2 matches of q\.png; wanted 3"):
        read_top_list(tmp_path, category(3), 3)


def test_without_a_published_list_there_are_no_matches(tmp_path):
    assert read_top_list(tmp_path, category(3)) is None


@pytest.mark.parametrize("line", ["{not json", "[1]", '["ab"]', "[]", '"ab"'])
def test_a_line_that_is_no_match_is_named(tmp_path, line):
    (tmp_path / "test-train-top10_pairs.json").write_text(f"\n{line}\n")
    with pytest.raises(BadRequest, match=r"pairs\.json, line 2: wanted \{query: \[normal image, \.\.\]\}, found"):
        read_top_list(tmp_path, category(3))


def test_every_query_of_mvtec_ad_has_a_published_match(shared):
    lists = shared / "data/metauas_protocol/MVTec-AD"
    names = [json.loads(line)["filename"] for line in (lists / "test.json").read_text().splitlines()]
    queries = tuple(Query(Path("root") / name, None, "good") for name in names)
    choice = read_top_list(lists, Category("all", (Path("root/x"),), queries, Path("root")), 10)
    assert len(choice) == 1725
    assert {len(prompts) for prompts in choice} == {10}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_most_similar_normal_image_is_the_prompt(tmp_path, batch_size):
    for name, grey in (("dark", 20), ("bright", 200)):
        make_category(tmp_path / name, grey)
    bright, dark = read_benchmark("mvtec", tmp_path)
    pool = [*dark.normals, *bright.normals]
    matcher = Matcher(Network(), SIZE, "areas", batch_size)
    for own in (dark, bright):
        chosen = matcher.match(matcher.pool(pool), pool, own, shots=2)
        assert len(chosen) == len(own.queries)
        for query, prompts in zip(own.queries, chosen, strict=True):
            assert len(set(prompts)) == 2
            assert query.is_anomalous or set(prompts) <= set(own.normals)


def test_queries_of_the_same_prompts_come_together():
    choice = [("b",), ("a",), ("b",), ("a", "c")]
    assert by_prompts(choice) == [[1], [3], [0, 2]]
