"""EfficientNet-b4 as efficientnet_pytorch names its tensors, which both published networks do, where ours is timm's."""

from itertools import accumulate

BLOCKS = (2, 4, 4, 6, 6, 8, 2)  # by stage; efficientnet_pytorch numbers them through
FIRST = (0, *accumulate(BLOCKS))  # the number of each stage's first block

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


def efficientnet_pytorch_key(key: str) -> str:
    """The name in efficientnet_pytorch of an entry of the state dict of timm's EfficientNet-b4."""
    module, _, leaf = key.rpartition(".")
    if not module.startswith("blocks."):
        return f"{OUTSIDE[module]}.{leaf}"
    _, stage, block, name = module.split(".", 3)
    names = EXCITATION | (OTHER_STAGES if int(stage) else FIRST_STAGE)
    return f"_blocks.{FIRST[int(stage)] + int(block)}.{names[name]}.{leaf}"
