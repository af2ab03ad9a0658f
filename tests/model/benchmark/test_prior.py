import pytest
import torch

from model.benchmark.evaluation import Evaluation
from model.benchmark.prior import spread_windows, visual_prior
from model.encoders.clip import normalised
from model.encoders.visual_prior import WINDOWS, VisualPrior
from tests.model.tiny_benchmark import Network, make_category, settings

pytest.importorskip("open_clip", reason="extra `clip` is not installed")
from open_clip.model import CLIPVisionCfg, _build_vision_tower


def tower():
    torch.manual_seed(0)
    config = {"image_size": 64, "patch_size": 16, "layers": 2, "width": 64, "head_width": 32}
    return _build_vision_tower(16, CLIPVisionCfg(**config))


def images(seed, count=2):
    return torch.rand((count, 3, 32, 64), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def clip():
    return VisualPrior(tower())


def test_features_are_those_of_each_window_and_of_each_patch(clip):
    small, middle, whole = clip(images(0))
    assert small.shape == (2, 16, 3, 3)  # of 4 x 4 patches
    assert middle.shape == (2, 16, 2, 2)
    assert whole.shape == (2, 64, 4, 4)


def test_patches_are_the_tokens_after_all_blocks_before_the_last_norm(clip):
    batch, kept = images(0), []
    with torch.no_grad():
        hook = clip.tower.ln_post.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
        size = clip.tower.image_size
        resized = torch.nn.functional.interpolate(batch, size, mode="bicubic", antialias=True).clamp(0, 1)
        clip.tower(normalised(resized))  # open_clip's own way through its tower
        hook.remove()
    expected = kept[0][:, 1:].transpose(1, 2).reshape(2, 64, 4, 4)
    torch.testing.assert_close(clip(batch)[2], expected, atol=1e-5, rtol=1e-4)


def test_a_window_of_the_whole_image_is_what_clip_sees(clip):
    batch = images(0)
    size = clip.tower.image_size
    resized = torch.nn.functional.interpolate(batch, size, mode="bicubic", antialias=True).clamp(0, 1)
    normal = normalised(resized)
    found = clip._windows(clip.tower._embeds(normal), 4, 4, 4)
    torch.testing.assert_close(found[:, :, 0, 0], clip.tower(normal), atol=1e-5, rtol=1e-4)


def test_a_window_sees_nothing_outside_itself(clip):
    tokens = torch.rand((1, 17, 64), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, 1 + 15] += 1  # the last patch
    before, after = (clip._windows(t, 4, 4, 2) for t in (tokens, other))
    same = (before == after).all(dim=1)[0]
    assert same.tolist() == [[True] * 3, [True] * 3, [True, True, False]]


@torch.no_grad()
def test_a_query_like_one_of_its_prompts_is_normal_everywhere(clip):
    batch = images(1)
    maps = visual_prior(clip)(torch.stack([images(2), batch]))(batch)
    assert maps.shape == (2, 32, 64)
    torch.testing.assert_close(maps, torch.zeros_like(maps), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_prior_lies_between_0_and_1_and_falls_with_more_prompts(clip):
    prompts, query = torch.stack([images(3), images(4)]), images(5)
    both, one = (visual_prior(clip)(some)(query) for some in (prompts, prompts[:1]))
    assert both.min() > 0
    assert both.max() < 1
    assert (both <= one + 1e-6).all()


def test_a_report_says_what_the_paper_leaves_open_of_its_variant_with_the_prior(tmp_path, monkeypatch, clip):
    make_category(tmp_path / "plate")
    monkeypatch.setattr("model.benchmark.evaluation.read_visual_prior", lambda _: clip)
    wanted = settings(tmp_path, variants=["best+clip"], limit=2)
    outcome = Evaluation(Network(), wanted, 0, torch.device("cpu")).run()
    (note,) = (note for note in outcome.notes if note.startswith("metauas*+: "))
    for said in ("publishes no code for *+", "laion400m_e32 (e31 in", "bicubically from the size", "highest pixel"):
        assert said in note
    assert outcome.rows[0].method == "metauas*+"


def test_a_patch_has_the_harmonic_mean_of_its_windows():
    scores = torch.tensor([[[1.0, 0.5], [0.25, 0.2]]])
    spread = spread_windows(scores, 2)
    assert spread.shape == (1, 3, 3)
    assert spread[0, 0, 0] == 1
    assert spread[0, 0, 1] == pytest.approx(2 / (1 + 2))
    assert spread[0, 1, 1] == pytest.approx(4 / (1 + 2 + 4 + 5))


def test_windows_that_fit_exactly_stay_finite():
    assert spread_windows(torch.zeros(1, 2, 2), WINDOWS[0]).max() < 1e-5
