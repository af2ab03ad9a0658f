"""The checkpoints that OneNIP's authors publish, and UniAD's of the same code: their names for what is ours.

A file holds {"state_dict": ..}: what learns as `module.reconstruction.*`, and as `module.backbone.*` the frozen
EfficientNet-b4 with parts that nothing needs. Nothing in it tells whether it is of before or after the decoder's fix.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor, nn

from configs.errors import BadRequest
from model.encoders import Encoder, Preprocessing, check_keys, efficientnet_pytorch_key
from model.metauas import is_published
from model.onenip.reconstruction import STRIDE

ENCODER = "tf_efficientnet_b4"
PREPROCESSING = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), pad_type="")
LEARNED, FROZEN = "reconstruction.", "backbone."
UNUSED = ("_conv_head.", "_bn1.", "_fc.", *(f"_blocks.{number}." for number in range(22, 32)))  # of the backbone

Published = Literal["OneNIP", "UniAD"]
# How to build what a file fills, and a tensor of the one that the other has not.
SWITCHES: dict[Published, dict[str, Any]] = {
    "OneNIP": {"prompt": "dynamic", "refiner": True},
    "UniAD": {"prompt": "none", "refiner": False},
}
TOLD_BY: dict[Published, str] = {
    "OneNIP": f"{LEARNED}transformer.decoder.layers.0.cross_attn_prompt_to_image.in_proj_weight",
    "UniAD": f"{LEARNED}transformer.decoder.layers.0.learned_embed.weight",
}


def published_kind(content: Mapping[str, Any]) -> Published | None:
    """Whose published names a file's `content` has, whole or not."""
    state = _plain(content)
    return next((kind for kind, key in TOLD_BY.items() if key in state), None)


def has_encoder(content: Mapping[str, Any]) -> bool:
    """Whether a published file's `content` has tensors of the encoder."""
    return any(key.startswith(FROZEN) for key in _plain(content))


def want_encoder(content: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a published file without its encoder.

    Raises:
        BadRequest: it has none.
    """
    if not has_encoder(content):
        raise BadRequest(
            f"{path}: a published {published_kind(content)} without its encoder, {FROZEN}*; wanted the whole file, or"
            " `load_published` into a OneNIP with weights"
        )


def arguments_of(content: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The arguments of the `OneNIP` that a published file fills.

    Raises:
        BadRequest: it is none, or has no position tables.
    """
    kind = published_kind(content)
    if kind is None:
        state = _plain(content)
        found = "it is a published MetaUAS" if is_published(state) else f"it begins with {next(iter(state), 'nothing')}"
        raise BadRequest(f"{path}: no published OneNIP or UniAD; {found}")
    tables = [_plain(content).get(f"{LEARNED}pos_embed.{side}_embed.weight") for side in ("row", "col")]
    if not all(isinstance(table, Tensor) and table.ndim == 2 for table in tables):
        raise BadRequest(f"{path}: a published {kind} without its position tables, {LEARNED}pos_embed.*")
    return SWITCHES[kind] | {"size": [STRIDE * len(cast(Tensor, table)) for table in tables]}


def load_published(network: nn.Module, content: Mapping[str, Any], path: str | Path) -> None:
    """Load published tensors, read from `path`, into a `OneNIP` of the same kind and size.

    A file need not hold the encoder's; then the network keeps its own.

    Raises:
        BadRequest: another network's, another size's, or keys missing, unexpected or of another shape.
    """
    wanted, own = arguments_of(content, path), cast(dict[str, Any], network.arguments)
    if any(own[name] != value for name, value in wanted.items()):
        how = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        raise BadRequest(
            f"{path}: a published {published_kind(content)}; it goes into OneNIP({how}), and this one has"
            f" {', '.join(f'{name}={own[name]!r}' for name in wanted)}"
        )
    if not own["encoder"].startswith(ENCODER):
        raise BadRequest(f"{path}: it learned on features of {ENCODER}, and this network's are of {own['encoder']}")
    state = _plain(content)
    learned = {key: value for key, value in network.state_dict().items() if key.startswith(LEARNED)}
    frozen = {key: value for key, value in state.items() if key.startswith(FROZEN)}
    rest = {key: value for key, value in state.items() if key not in frozen}
    check_keys(learned, rest, path, f"the published {published_kind(content)}")
    if frozen:
        _load_encoder(cast(Encoder, network.encoder), frozen, path)
    network.load_state_dict(rest, strict=False)  # the encoder and c apart, which are no published names


def pad_as_released(encoder: Encoder) -> None:
    """Pad as the released b4, whose padding is that of 380 px at every size.

    For multiples of 16 px that is another one in a single place, the convolution into stride 8: two pixels at all
    sides, which shifts its grid by one.
    """
    block = encoder.net.blocks[2][0]
    same: nn.Conv2d = block.conv_dw
    channels = same.out_channels
    block.conv_dw = nn.Conv2d(channels, channels, kernel_size=5, stride=2, padding=2, groups=channels, bias=False)
    block.conv_dw.weight = same.weight


def _load_encoder(encoder: Encoder, frozen: Mapping[str, Any], path: str | Path) -> None:
    wanted = encoder.net.state_dict()
    names = {key: f"{FROZEN}{efficientnet_pytorch_key(key)}" for key in wanted}
    unused = {key for key in frozen if key.removeprefix(FROZEN).startswith(UNUSED)}
    check_keys({names[key]: value for key, value in wanted.items()}, frozen, path, ENCODER, unused)
    encoder.net.load_state_dict({key: frozen[name] for key, name in names.items()})


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """A file's tensors, without `module.` before their names."""
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        return {}
    return {str(key).removeprefix("module."): value for key, value in state.items()}
