import torch

from tests.conftest import readme_code
from tests.model.published_file import filled, published_shapes


def test_the_readme_s_way_to_use_a_published_checkpoint_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(filled(published_shapes()), "metauas-256.ckpt")
    used = {"prompt": torch.rand(1, 3, 64, 64), "queries": torch.rand(2, 3, 64, 64)}

    exec(readme_code("from_checkpoint"), used)  # noqa: S102  # our own README

    assert used["logits"].shape == (2, 1, 64, 64)
