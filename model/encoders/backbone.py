"""The encoder: any timm model with features at strides 2, 4, 8, 16 and, where wanted, 32 (MetaUAS, section 3.2)."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import timm
import torch
from torch import Tensor, nn

from configs.errors import BadRequest, Failure
from configs.model import PIP_WEIGHTS
from model.encoders.pip_weights import read_pip_weights
from model.encoders.weight_files import fit, read_weights

STRIDES = [2, 4, 8, 16, 32]
# The EfficientNet of the published MetaUAS is tapped at its stem, not after its first stage as timm does, and keeps its
# head of 806,400 parameters that nothing runs: with them it has the 22.1 M parameters that the paper states. Of
# EfficientViT timm gives nothing at stride 2; its stem is, too. Stages whose outputs are at strides 4, 8, 16, 32:
EFFICIENTNET = re.compile(r"(tf_)?efficientnet_b\d")
TAPPED_AT_STEM = {EFFICIENTNET: (1, 2, 4, 6), re.compile(r"efficientvit_b\d"): (0, 1, 2, 3)}


@dataclass(frozen=True)
class Preprocessing:
    """How an encoder's weights saw images when they were trained, and so must again."""

    mean: tuple[float, ...]  # of R, G, B in [0, 1]
    std: tuple[float, ...]
    pad_type: str  # of timm's EfficientNet family: "same" as TensorFlow, "" as the model's name says

    @classmethod
    def of_model(cls, config: Mapping[str, Any]) -> Self:
        """The preprocessing in timm's configuration of a model."""
        return cls(tuple(config["mean"]), tuple(config["std"]), pad_type="")

    @classmethod
    def of_file(cls, name: str, path: str, said: Mapping[str, str]) -> Self | None:
        """As the metadata of a weights file says: `architecture`, `mean`, `std` ("0.5,0.5,0.5") and `pad_type`.

        Raises:
            BadRequest: the file says that it is for another model, or no three numbers for each of mean and std.
        """
        architecture = name.partition(".")[0]  # without the tag of timm's own weights
        if said.get("architecture", architecture) != architecture:
            raise BadRequest(f"{path}: weights of {said['architecture']}, but model.encoder = {name}; make them agree")
        if not {"mean", "std"} <= said.keys():
            return None
        try:
            mean, std = (_three_numbers(said[key]) for key in ("mean", "std"))
            if min(std) <= 0:
                raise ValueError
        except ValueError:
            raise BadRequest(
                f"{path}: its metadata says mean {said['mean']!r}, std {said['std']!r}; wanted three numbers each, such"
                " as 0.5,0.5,0.5, std above 0"
            ) from None
        return cls(mean, std, said.get("pad_type", ""))


class Encoder(nn.Module):
    """Levels of features: `forward` float32 (B, 3, H, W) in [0, 1] -> (B, C_i, H / 2**i, W / 2**i) for i = 1..levels.

    Args:
        name: of a timm model, with or without the tag of its weights.
        weights: "none" (random), "imagenet" (of timm's hub), one of `configs.model.PIP_WEIGHTS`, or a file's path.
            A safetensors file may state the preprocessing of its weights in its metadata; otherwise timm's for the
            model holds.
        frozen: no gradient, and evaluation mode whatever `train` is told: neither batch statistics nor drop-path move.
        preprocessing: overrides both; a checkpoint brings its own.
        levels: how many, from stride 2; of what lies deeper nothing is run.
        stem: whether an EfficientNet's level at stride 2 is its stem, as of the published MetaUAS, or its first stage.

    Raises:
        BadRequest: no such model, not these strides, or weights that do not fit.
        Failure: the hub cannot be reached.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        weights: str,
        *,
        frozen: bool,
        preprocessing: Preprocessing | None = None,
        levels: int = len(STRIDES),
        stem: bool = True,
    ) -> None:
        super().__init__()
        state, path = None, Path(weights)
        if weights in PIP_WEIGHTS:
            state, path = read_pip_weights(weights, name)
        elif weights not in ("none", "imagenet"):
            state, said = read_weights(weights)
            preprocessing = preprocessing or Preprocessing.of_file(name, weights, said)
        pad_type = preprocessing.pad_type if preprocessing else ""
        # Empty where timm taps all levels itself.
        tapped = (
            stages for names, stages in TAPPED_AT_STEM.items() if names.match(name) and (stem or names != EFFICIENTNET)
        )
        self.stages = next(tapped, ())[: levels - 1]
        self.net, self.channels = _build(name, pad_type, self.stages, levels, pretrained=weights == "imagenet")
        if state is not None:
            fit(self.net, state, path, optional=_all_keys(name))
        self.preprocessing = preprocessing or Preprocessing.of_model(self.net.pretrained_cfg)
        self.frozen = frozen
        self.requires_grad_(not frozen)
        for unused in ("conv_head", "bn2") if hasattr(self.net, "conv_head") else ():
            getattr(self.net, unused).requires_grad_(requires_grad=False)
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.preprocessing.std).view(1, 3, 1, 1), persistent=False)
        self.train()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features at strides 2, 4, 8, 16 and, of five levels, 32."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = (images - self.mean) / self.std
            return self._from_stem(x) if self.stages else tuple(self.net(x))

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  # torch's own signature
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def _from_stem(self, x: Tensor) -> tuple[Tensor, ...]:
        efficientnet = hasattr(self.net, "conv_stem")
        x = self.net.bn1(self.net.conv_stem(x)) if efficientnet else self.net.stem(x)  # bn1 includes the activation
        features = [x]
        for number, stage in enumerate(self.net.blocks if efficientnet else self.net.stages):
            x = stage(x)
            if number in self.stages:
                features.append(x)
        return tuple(features)


def _build(
    name: str, pad_type: str, stages: Sequence[int], levels: int, *, pretrained: bool
) -> tuple[Any, tuple[int, ...]]:
    """The timm model and its features' channels."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=3)
        raise BadRequest(f"model.encoder = {name}: no such timm model; near it: {', '.join(near) or 'none'}")
    options: dict[str, Any] = {"num_classes": 0} if stages else {"features_only": True}
    if not stages and levels < len(STRIDES):
        options["out_indices"] = tuple(range(levels))
    if pad_type:
        options["pad_type"] = pad_type
    try:
        net: Any = timm.create_model(name, pretrained=pretrained, **options)
    except OSError as error:  # of the hub's client: no network, no such file
        config = timm.get_pretrained_cfg(name)
        repository = config.hf_hub_id if config else name
        raise Failure(
            f"model.weights = imagenet: cannot get {repository} ({type(error).__name__}); fetch model.safetensors from"
            f" https://huggingface.co/{repository} where there is a network and pass its path as model.weights"
        ) from None
    except (RuntimeError, TypeError) as error:
        raise BadRequest(f"model.encoder = {name}: timm cannot build it ({error})") from None
    if stages:
        if hasattr(net, "head"):  # of EfficientViT: millions of parameters that nothing here runs
            net.head = nn.Identity()
        tapped = [info for info in net.feature_info if int(info["module"].rpartition(".")[2]) in stages]
        first = net.conv_stem.out_channels if hasattr(net, "conv_stem") else net.stem.in_conv.conv.out_channels
        channels = (first, *(info["num_chs"] for info in tapped))
        deepest = tapped[-1]["module"]
    else:
        strides, wanted = net.feature_info.reduction(), STRIDES[:levels]
        if strides != wanted:
            found, told = (", ".join(map(str, some)) for some in (strides, wanted))
            raise BadRequest(
                f"model.encoder = {name}: features at strides {found}; wanted {told}; take a model with such a pyramid,"
                " for example resnet50"
            )
        channels = tuple(net.feature_info.channels())
        deepest = net.feature_info.module_name()[-1]
    if levels < len(STRIDES):
        _cut(net, deepest)
    return net, channels


def _cut(net: Any, deepest: str) -> None:
    """Drop the stages after `deepest`, "blocks.4", of an EfficientNet and its kin; timm drops most others' itself."""
    stages, _, number = deepest.partition(".")
    if number.isdigit() and isinstance(getattr(net, stages, None), nn.Sequential):
        setattr(net, stages, getattr(net, stages)[: int(number) + 1])


def _three_numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(map(float, text.split(",")))
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(text)
    return numbers


def _all_keys(name: str) -> set[str]:
    """The keys of the whole timm model, classifier included; nothing is allocated."""
    with torch.device("meta"):
        return set(timm.create_model(name).state_dict())
