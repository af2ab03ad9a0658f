import torch

from benchmarks.network import build, steps


def test_every_way_that_is_timed_computes_the_same():
    with torch.inference_mode():
        maps = {name: step() for name, step in steps(build(), 32, []).items()}
    assert len(maps) == 4
    expected = maps.pop("plain")
    assert expected.std() > 0.01
    for name, found in maps.items():
        assert (found - expected).abs().max() < 1e-4, name
