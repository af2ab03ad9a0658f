import numpy as np
import open_clip
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.encoders.clip import read_clip
from model.metacan.text import ABNORMAL_STATES, NORMAL_STATES, mean_direction, prompts, text_rows
from tests.model.clip_file import SMALL, save_clip, small_clip


def test_the_prompts_are_the_papers():
    normal, abnormal = prompts(NORMAL_STATES), prompts(ABNORMAL_STATES)
    assert (len(normal), len(abnormal)) == (154, 88)
    assert len({*normal, *abnormal}) == 242
    assert normal[0] == "a cropped photo of the object."
    assert "a close-up photo of a unblemished object." in normal
    assert normal[-1] == "a photo of the object without damage for anomaly detection."
    assert abnormal[0] == "a cropped photo of the damaged object."
    assert "a jpeg corrupted photo of a object with flaw." in abnormal
    for prompt in (*normal, *abnormal):
        assert "{" not in prompt
        assert prompt.endswith(".")
        assert prompt.count("object") == 1


def test_rows_are_raw_and_those_of_open_clip(tmp_path):
    tower = read_clip(save_clip(tmp_path / "clip.pt"), "MetaCAN", "clip").text_tower(SMALL)
    normal, abnormal = text_rows(tower)
    assert normal.shape == (154, SMALL.embedding)
    assert abnormal.shape == (88, SMALL.embedding)
    with torch.no_grad():
        wanted = small_clip().encode_text(open_clip.tokenize(prompts(ABNORMAL_STATES)))
    torch.testing.assert_close(abnormal, wanted)
    assert not normal.requires_grad


@given(count=st.integers(1, 6), seed=st.integers(0, 9))
def test_a_mean_direction_has_length_one_and_hears_every_row_alike(count, seed):
    rng = np.random.default_rng([seed, count])
    rows = torch.from_numpy(rng.standard_normal((count, 8)))
    lengths = torch.from_numpy(rng.uniform(0.1, 10, (count, 1)))
    found = mean_direction(rows)
    torch.testing.assert_close(found.norm(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(mean_direction(rows * lengths), found)
