"""Small CLIPs with random weights, as open_clip builds and stores them."""

import torch

from model.encoders.clip import ClipSizes  # isort: skip  # which readies torch for what open_clip imports

from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

SMALL = ClipSizes(
    image_px=48, patch_px=16, width=32, blocks=4, heads=2, embedding=24, text_width=32, text_blocks=4, text_heads=2
)  # the towers' blocks have the same shapes: nothing but their names tells them apart


def small_clip(seed=0, sizes=SMALL):
    torch.manual_seed(seed)
    vision = CLIPVisionCfg(
        image_size=sizes.image_px,
        patch_size=sizes.patch_px,
        width=sizes.width,
        layers=sizes.blocks,
        head_width=sizes.width // sizes.heads,
    )
    text = CLIPTextCfg(width=sizes.text_width, heads=sizes.text_heads, layers=sizes.text_blocks)
    return CLIP(sizes.embedding, vision, text).eval()


def save_clip(path, seed=0, sizes=SMALL):
    torch.save(small_clip(seed, sizes).state_dict(), path)
    return path
