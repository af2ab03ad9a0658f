"""Several normal prompts for one query."""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from configs.errors import BadRequest
from model.metauas.network import Features, MetaUAS

How = Literal["maps", "features"]


def compare_many(network: MetaUAS, prompts: Sequence[Features], query: Features, how: How = "maps") -> Tensor:
    """Compare each query with k prompts -> probability of change float32 (B, 1, H, W) in [0, 1].

    "maps" averages the k probabilities, "features" the k aligned prompts, and then decodes once; both were proposed by
    the paper's author for few-shot use, and for one prompt both are the network itself. The prompts are aligned one
    after the other, so memory does not grow with k.

    Args:
        network: in evaluation mode.
        prompts: k times what `MetaUAS.encode` gave, of 1 (shared by all queries) or B images.
        query: what `MetaUAS.encode` gave of B images.
        how: what is averaged.

    Raises:
        BadRequest: no prompt, or an unknown `how`.
    """
    if not prompts or how not in get_args(How):
        raise BadRequest(
            f"few-shot: {len(prompts)} prompts by mean of {how!r}; wanted at least one, by mean of maps or features"
        )
    if how == "maps":
        return sum(network.compare(prompt, query).sigmoid() / len(prompts) for prompt in prompts)  # type: ignore[return-value]
    mean = [level / len(prompts) for level in network.align(prompts[0], query)]
    for prompt in prompts[1:]:
        mean = [total + level / len(prompts) for total, level in zip(mean, network.align(prompt, query), strict=True)]
    return network.decode(query, mean).sigmoid()
