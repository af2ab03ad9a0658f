"""The image-text anomaly detector, all that learns: is what a query has over its references rather like damage?"""

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.errors import BadRequest

SHARPNESS = 100.0  # of Eq. 6's softmax: CLIP's own scale of cosines. The paper shows none, the release has this one

Detect = Callable[[Tensor], tuple[Tensor, Tensor]]  # as `Detector.forward`


def difference(references: Tensor, query: Tensor) -> Tensor:
    """What queries (B, 3, patches, width) have in their high level over the mean of references (k, 3, patches, width).

    Patch by patch, by place: float32 (B, patches, width).
    """
    return query[:, -1] - references[:, -1].mean(dim=0)


class Detector(nn.Module):
    """Differentiator (Eq. 5) and head (Eq. 7), with activations and norms as released; the paper shows none of them.

    Modules are named as in the released checkpoint. The buffer `text`, float32 (2, embedding), is the normal and the
    abnormal text, each of length 1, and NaN until it is set.

    Args:
        patches: of an image.
        width: of a patch's features.
        hidden: width of the differentiator's hidden layer.
        embedding: numbers of an embedded text.
    """

    text: Tensor

    def __init__(self, patches: int, width: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            OrderedDict(
                linear1=nn.Linear(width, hidden, bias=False),
                relu1=nn.ReLU(),
                linear2=nn.Linear(hidden, embedding, bias=False),
                relu2=nn.ReLU(),
            )
        )
        self.diff_head = nn.Sequential(
            OrderedDict(
                projection1=nn.Linear(patches, 2 * patches),
                relu1=nn.ReLU(),
                bn1=nn.BatchNorm1d(2 * patches),
                projection2=nn.Linear(2 * patches, patches),
                relu2=nn.ReLU(),
                bn2=nn.BatchNorm1d(patches),
                projection3=nn.Linear(patches, 1),
                sigmoid=nn.Sigmoid(),
            )
        )
        self.register_buffer("text", torch.full((2, embedding), math.nan))

    def forward(self, difference: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score (B,) and the map (B, patches), float32 in [0, 1] (Eq. 5-7).

        A patch whose projected difference is 0, as of a query that is its only reference, is 0.5 in the map: the
        release has NaN there.

        Args:
            difference: float32 (B, patches, width), as the function of that name gives it.

        Raises:
            BadRequest: the text was never set.
        """
        if self.text.isnan().any():
            raise BadRequest("MetaCAN: its text embeddings were never set; call set_text, or begin with from_clip")
        similarity = F.normalize(self.projection(difference), dim=2) @ self.text.T  # (B, patches, 2)
        text_map = (SHARPNESS * similarity).softmax(dim=2)[..., 1]
        return self.diff_head(text_map).squeeze(1), text_map
