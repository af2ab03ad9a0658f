"""How images are looked at: at which size, by which methods, at which scales; and what a network cannot do."""

from configs.errors import BadRequest
from configs.evaluate import Evaluate
from configs.model import System
from model.benchmark.baselines import PATCHCORE, WINCLIP, baselines, clip_baselines
from model.benchmark.methods import Encode, Method, Once, at_scale, averaged, doubled, network_method
from model.encoders import STRIDES
from model.images import shrink_by
from model.metacan import MetaCAN
from model.onenip import OneNIP
from model.systems import IMAGE_SCORES, Network, system_of
from pipeline.arrays import height_width


def variant_names(system: System) -> dict[str, str]:
    """What the variants of a system are called in tables."""
    return {
        "one": system,
        "one+patchcore": f"{system}+patchcore",
        "each": f"{system} each",
        "best": f"{system}*",
        "best+clip": f"{system}*+",
        "pool": f"{system} pool",
        "winclip+": WINCLIP,
    }


def size_of(network: Network, settings: Evaluate) -> tuple[int, int]:
    """Height and width in pixels at which images are looked at, before any aspect is kept.

    Raises:
        BadRequest: nothing says which, or the network cannot do what the settings ask for.
    """
    _check(network, settings)
    if settings.size_px is not None:
        return height_width(settings.size_px)
    if network.size is None:
        raise BadRequest("the checkpoint does not say at which size it was trained; set evaluate.size_px (--size)")
    return network.size


def methods_of(network: Network, settings: Evaluate) -> dict[str, Method]:
    """The baselines and the network, named as its system, in the order of tables, at the scales of the settings."""
    found: dict[str, list[Method]] = {}
    for scale in settings.scales:
        encode: Encode = Once(network.encode)
        if isinstance(network, MetaCAN):
            return clip_baselines(network, encode) | {system_of(network): network_method(network, encode)}
        at_one = baselines(encode)
        own = network_method(network, encode, settings.shots_mean)
        if "one+patchcore" in settings.variants:
            at_one[variant_names(system_of(network))["one+patchcore"]] = averaged([own, doubled(at_one[PATCHCORE])])
        at_one[system_of(network)] = own
        shrink = None if scale == 1 else Once(shrink_by(scale, STRIDES[-1]))
        for name, method in at_one.items():
            found.setdefault(name, []).append(at_scale(method, shrink) if shrink else method)
    return {name: averaged(methods) if len(methods) > 1 else methods[0] for name, methods in found.items()}


def _check(network: Network, settings: Evaluate) -> None:
    system = system_of(network)
    if settings.protocol == "paper" and settings.image_score != IMAGE_SCORES[system]:
        raise BadRequest(
            f"evaluate.image_score = {settings.image_score}, but protocol paper of {system} is {IMAGE_SCORES[system]}"
        )
    if not isinstance(network, MetaCAN):
        if WINCLIP in settings.variants:
            raise BadRequest("evaluate.variants: winclip+ is a baseline of MetaCAN's; see best+clip for MetaUAS*+")
        if settings.image_score == "own":
            raise BadRequest(f"evaluate.image_score = own, but a {system} has no score but of its maps; take max")
    if isinstance(network, MetaCAN):
        _check_metacan(settings)
    elif isinstance(network, OneNIP):
        _check_onenip(network, settings)


def _check_metacan(settings: Evaluate) -> None:
    if settings.size_px is not None or settings.keep_aspect or settings.scales != [1.0]:
        raise BadRequest(
            "a MetaCAN sees CLIP's size; set evaluate.size_px to null (leave --size out), keep_aspect to false and"
            " scales to [1.0]"
        )
    if settings.variants not in (["one"], ["one", WINCLIP]) or settings.shots_mean != "maps":
        raise BadRequest(
            "a MetaCAN compares all queries with the same references; set evaluate.variants to [one], or to [one,"
            " winclip+] for that baseline too, and shots_mean to maps"
        )


def _check_onenip(network: OneNIP, settings: Evaluate) -> None:
    if settings.size_px is not None and height_width(settings.size_px) != network.size:
        raise BadRequest(
            f"evaluate.size_px = {settings.size_px}, but a OneNIP is of one size, here {list(network.size)}; set it to"
            " null, or train one of another size_px"
        )
    if settings.keep_aspect or settings.scales != [1.0] or settings.shots_mean != "maps":
        raise BadRequest(
            "a OneNIP is of one size and compares with one prompt at a time; set evaluate.keep_aspect to false, scales"
            " to [1.0] and shots_mean to maps"
        )
    of_metauas = [variant for variant in ("best+clip", "one+patchcore") if variant in settings.variants]
    if of_metauas:
        raise BadRequest(f"evaluate.variants: {of_metauas[0]} is MetaUAS's; OneNIP has one, each, best and pool")
