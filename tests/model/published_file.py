"""Stand-ins for the published checkpoint, made from what is known of its architecture and not from our network."""

import numpy as np
import torch

# Of EfficientNet-b4's seven stages: blocks, channels out, kernel, expansion.
STAGES = ((2, 24, 3, 1), (4, 32, 3, 6), (4, 56, 5, 6), (6, 112, 3, 6), (6, 160, 5, 6), (8, 272, 5, 6), (2, 448, 3, 6))
DECODER = ((1216, 256), (368, 128), (160, 64), (112, 64), (64, 48))  # of its blocks: channels in and out


def norm(name, width):
    leaves = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (width,))
    return {f"{name}.{leaf}": shape for leaf, shape in (leaves | {"num_batches_tracked": ()}).items()}


def conv(name, out, width, side, *, bias=False):
    return {f"{name}.weight": (out, width, side, side)} | ({f"{name}.bias": (out,)} if bias else {})


def encoder_shapes():
    shapes = conv("_conv_stem", 48, 3, 3) | norm("_bn0", 48)
    number, width = 0, 48
    for blocks, out, side, expansion in STAGES:
        for _ in range(blocks):
            block, middle, squeezed = f"_blocks.{number}", width * expansion, width // 4
            if expansion > 1:
                shapes |= conv(f"{block}._expand_conv", middle, width, 1) | norm(f"{block}._bn0", middle)
            shapes |= conv(f"{block}._depthwise_conv", middle, 1, side) | norm(f"{block}._bn1", middle)
            shapes |= conv(f"{block}._se_reduce", squeezed, middle, 1, bias=True)
            shapes |= conv(f"{block}._se_expand", middle, squeezed, 1, bias=True)
            shapes |= conv(f"{block}._project_conv", out, middle, 1) | norm(f"{block}._bn2", out)
            number, width = number + 1, out
    return shapes | conv("_conv_head", 1792, 448, 1) | norm("_bn1", 1792)


def published_shapes():
    """Key -> shape of all 820 entries."""
    shapes = {f"encoder.{key}": shape for key, shape in encoder_shapes().items()}
    for number, width in enumerate((448, 160, 56)):
        name = f"alignment.{number}.alignment_layer.dimensionality_reduction"
        shapes |= conv(name, width // 2, width, 1, bias=True)
    for number, (width, out) in enumerate(DECODER):
        block = f"decoder.blocks.{number}"
        shapes |= conv(f"{block}.conv1.0", out, width, 3) | norm(f"{block}.conv1.1", out)
        shapes |= conv(f"{block}.conv2.0", out, out, 3) | norm(f"{block}.conv2.1", out)
        for place, gated in (("attention1", width), ("attention2", out)) if number < 4 else ():
            gate = f"{block}.{place}.attention"
            shapes |= conv(f"{gate}.cSE.1", gated // 16, gated, 1, bias=True)
            shapes |= conv(f"{gate}.cSE.3", gated, gated // 16, 1, bias=True)
            shapes |= conv(f"{gate}.sSE.0", 1, gated, 1, bias=True)
    return shapes | conv("mask_head", 1, 48, 1, bias=True)


def filled(shapes, seed=0):
    """Shapes -> tensors that keep activations in range."""
    rng = np.random.default_rng([seed])
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
        elif key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
            state[key] = torch.from_numpy(rng.uniform(0.8, 1.2, shape).astype(np.float32))
        else:
            spread = 0.1 if len(shape) == 1 else (1.4 / np.prod(shape[1:])) ** 0.5
            state[key] = torch.from_numpy((spread * rng.standard_normal(shape)).astype(np.float32))
    return state
