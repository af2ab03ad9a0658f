"""What the tests of training train with: a tiny network and recipe."""

import torch
import yaml

from configs.train import TrainParams
from tests.conftest import ROOT


def params(**recipe) -> TrainParams:
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    values["model"] |= {"encoder": "test_resnet", "weights": "none", "freeze_encoder": False}
    values["model"]["decoder_channels"] = [16, 16, 8, 8]
    values["train"] |= {"epochs": 3, "batch_size": 3, "loader_workers": 0, "lr": 1.0e-3}
    values["train"] |= {"sheet_epochs": None, **recipe}
    return TrainParams.model_validate(values)


def fixed_norms(monkeypatch):
    """Batch normalisation that uses its running statistics: what a pair gives does not depend on its neighbours."""
    monkeypatch.setattr(torch.nn.BatchNorm2d, "train", lambda self, _=True: torch.nn.Module.train(self, mode=False))
