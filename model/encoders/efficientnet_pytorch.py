"""An EfficientNet as efficientnet_pytorch names its tensors, which both published networks do, where ours is timm's."""

from collections.abc import Sequence

B4 = (2, 4, 4, 6, 6, 8, 2)  # blocks by stage

# timm's name of a module: the other. The first stage does not expand, so its names are shifted.
FIRST_STAGE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
OTHER_STAGES = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
EXCITATION = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
OUTSIDE = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}


def efficientnet_pytorch_key(key: str, blocks: Sequence[int] = B4) -> str:
    """The name in efficientnet_pytorch of an entry of the state dict of timm's EfficientNet.

    `blocks` is how many each stage has: timm numbers them in their stage, efficientnet_pytorch through all.
    """
    module, _, leaf = key.rpartition(".")
    if not module.startswith("blocks."):
        return f"{OUTSIDE[module]}.{leaf}"
    _, stage, block, name = module.split(".", 3)
    names = EXCITATION | (OTHER_STAGES if int(stage) else FIRST_STAGE)
    return f"_blocks.{sum(blocks[: int(stage)]) + int(block)}.{names[name]}.{leaf}"
