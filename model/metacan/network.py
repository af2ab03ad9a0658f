"""MetaCAN: few-shot anomaly scores from CLIP's features by what all categories' anomalies share (CIKM 2025)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from configs.errors import BadRequest
from model.encoders import (
    ClipFile,
    ClipSizes,
    build_image_tower,
    check_keys,
    find_pretrained,
    read_clip,
    write_folder,
)
from model.metacan.checkpoint import CHECKPOINT, CHECKPOINT_VERSION, plain_names, read_checkpoint
from model.metacan.comparison import TERMS, Comparison, Term, compare_features
from model.metacan.detector import Detector, difference
from model.metacan.meta import Task, meta_loss, own_statistics
from model.metacan.text import mean_direction, text_rows
from model.metacan.tokens import image_tokens

LEVELS = 3
TOWER = "tower."  # before the names of what no checkpoint holds


class MetaCAN(nn.Module):
    """CLIP's frozen image tower, the image-image discriminator and the image-text detector, which is all that learns.

    `encode` and `compare` are its halves, so that references are encoded once; `forward(references, query)` is both, on
    images. In training mode the detector's batch normalisation uses the batch's own statistics, in evaluation mode its
    running ones, which `remember` moves and `meta_loss` does not.

    The state dict, and so a checkpoint, holds the detector and the text embeddings, not the tower.

    Args:
        clip: the file that the tower is read from; None: random weights. See `from_clip`.
        blocks: of the tower, counted from 1, after which the tokens are the low, the mid and the high level.
        terms: what the score is the mean of. Table 4's "w/o discriminator" is `("text",)`, its "w/o detector"
            `("low", "mid", "high")`, which needs no text and has nothing to learn.
        hidden: width of the differentiator's hidden layer.
        sizes: of CLIP.

    Raises:
        BadRequest: an argument is out of range, or the file is of another model.
        Failure: the package open_clip is not installed.
    """

    def __init__(
        self,
        clip: ClipFile | None = None,
        *,
        blocks: Sequence[int] = (1, 7, 12),
        terms: Sequence[Term] = TERMS,
        hidden: int = 1024,
        sizes: ClipSizes | None = None,
    ) -> None:
        super().__init__()
        sizes = sizes or ClipSizes()
        if len(blocks) != LEVELS or not 1 <= blocks[0] < blocks[1] < blocks[2] <= sizes.blocks:
            raise BadRequest(f"MetaCAN: blocks are {list(blocks)}; wanted three of 1 to {sizes.blocks}, ascending")
        if not terms or len(set(terms)) < len(terms) or not set(terms) <= set(TERMS):
            raise BadRequest(f"MetaCAN: terms are {list(terms)}; wanted some of {', '.join(TERMS)}, each once")
        self.tower = clip.image_tower(sizes) if clip else build_image_tower(sizes)
        self.blocks, self.terms = list(blocks), list(terms)
        self.sizes = sizes
        self.size = (sizes.image_px, sizes.image_px)
        self.detector: Detector | None = None
        if "text" in terms:
            self.detector = Detector(sizes.patches, sizes.width, hidden, sizes.embedding)
        self.facts: dict[str, Any] = {}  # what its checkpoint says of its making
        self.arguments: dict[str, Any] = {
            "clip_sha256": clip.sha256 if clip else None,
            "blocks": self.blocks,
            "terms": self.terms,
            "hidden": hidden,
            "sizes": asdict(sizes),
        }
        self.register_state_dict_post_hook(_without_tower)  # type: ignore[no-untyped-call]  # torch's own
        self.register_load_state_dict_post_hook(_tower_is_not_missed)  # type: ignore[no-untyped-call]  # torch's own

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  # torch's own signature
        """Set the mode; the tower stays in evaluation mode."""
        super().train(mode)
        self.tower.eval()
        return self

    def forward(self, references: Tensor, query: Tensor) -> Comparison:
        """Compare images with normal ones; see `encode` and `compare`."""
        return self.compare(self.encode(references), self.encode(query))

    def encode(self, images: Tensor) -> Tensor:
        """Encode RGB images float32 (B, 3, H, W) in [0, 1] -> tokens (B, 3, patches, width); see `image_tokens`.

        Raises:
            BadRequest: images of another shape.
        """
        return image_tokens(self.tower, self.blocks, self.size[0], images)

    def compare(self, prompt: Tensor, query: Tensor) -> Comparison:
        """Compare what `encode` gave of B queries with what it gave of k normal references, the same for all queries.

        Args:
            prompt: float32 (k, 3, patches, width).
            query: float32 (B, 3, patches, width).

        Raises:
            BadRequest: shapes differ, or the text embeddings were never set.
        """
        return compare_features(prompt, query, self.detector, self.terms)

    def meta_loss(self, tasks: Sequence[Task], inner_lr: float, *, first_order: bool = False) -> Tensor:
        """The mean over tasks of the query set's loss after one step on the support set (Eq. 9-11): a scalar.

        It goes through the inner step of all learnable tensors, second derivatives included, unless `first_order`.
        Eq. 11 has the sum, the release divides by the number of tasks. Batch normalisation uses each set's own
        statistics, whatever the mode, and remembers none.

        Args:
            tasks: one for each category, tensors in the order of `Task`.
            inner_lr: β of Eq. 10.
            first_order: take the inner gradient for a constant.

        Raises:
            BadRequest: there is no task, a set has fewer than two images, or the network has nothing that learns.
        """
        return meta_loss(self._learnable(), self.terms, tasks, inner_lr, first_order=first_order)

    @torch.no_grad()
    def remember(self, task: Task) -> None:
        """Move the running statistics of batch normalisation towards those of all images of a task."""
        with own_statistics(self._learnable()) as detector:
            detector(difference(task.references, torch.cat([task.support, task.query])))

    @torch.no_grad()
    def set_text(self, normal_rows: Tensor, abnormal_rows: Tensor) -> None:
        """Set the text embeddings: of raw rows (n, embedding) each is the mean direction.

        Raises:
            BadRequest: rows of another width, or none, or a network without text.
        """
        text = self._learnable().text
        for rows in (normal_rows, abnormal_rows):
            if rows.ndim != 2 or rows.shape[1] != text.shape[1] or not len(rows):
                raise BadRequest(f"MetaCAN: text rows are {tuple(rows.shape)}; wanted (n, {text.shape[1]}), n > 0")
        text.copy_(torch.stack([mean_direction(normal_rows), mean_direction(abnormal_rows)]))

    def load_published(self, state: Mapping[str, Tensor], path: str | Path = "the published weights") -> None:
        """Load the 18 tensors of the release, with or without "module." before their names; `path` is for errors.

        The text embeddings are none of them: see `set_text`.

        Raises:
            BadRequest: keys are missing, unexpected or of another shape.
        """
        check_keys(self.published_tensors(), plain_names(state), path, "the published MetaCAN")
        self._learnable().load_state_dict({**self._learnable().state_dict(), **plain_names(state)})

    def published_tensors(self) -> dict[str, Tensor]:
        """The tensors that the release has, by its names."""
        return {key: value for key, value in self._learnable().state_dict().items() if key != "text"}

    @classmethod
    def from_clip(cls, path: str | Path | None, **arguments: Any) -> Self:
        """A network to train, on the towers of open_clip's file, with the paper's prompts embedded.

        Raises:
            BadRequest: no such file or one that does not fit; or see the constructor.
        """
        clip = read_clip(path, "MetaCAN", "clip")
        network = cls(clip, **arguments)
        if network.detector is not None:
            network.set_text(*text_rows(clip.text_tower(arguments.get("sizes"))))
        return network

    @classmethod
    def from_checkpoint(cls, path: str | Path, clip: str | Path | None = None) -> Self:
        """The network of a checkpoint, this project's or the released one, in evaluation mode.

        Args:
            path: of the checkpoint.
            clip: open_clip's file that it was trained with, which the image tower is read from.

        Raises:
            BadRequest: either file is missing or does not fit, or `clip` is not the file it was trained with.
        """
        path = Path(path)
        saved = read_checkpoint(path)
        if saved.published:
            network = cls.from_clip(clip)
            network.load_published(saved.state, path)
            return network.eval()
        file = read_clip(clip, f"{path}", "clip")
        file.check_is(saved.clip_sha256, f"{path}")
        try:
            network = cls(file, **saved.arguments)
        except TypeError as error:
            raise BadRequest(f"{path}: a damaged MetaCAN checkpoint ({error})") from None
        check_keys(network.state_dict(), saved.state, path, cls.__name__)
        network.load_state_dict(saved.state)
        network.facts = saved.facts
        return network.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and a short card; CLIP's tower is not in it.

        Raises:
            Failure: the folder cannot be written.
        """
        said = {**self.facts, "version": CHECKPOINT_VERSION, "network": self.arguments}
        write_folder(folder, CHECKPOINT, said, self.state_dict(), "# MetaCAN\n\nOf metauas-pipeline.\n")

    @classmethod
    def from_pretrained(cls, name: str | Path, clip: str | Path | None = None) -> Self:
        """The network of a folder of `save_pretrained`, or of one on a model hub; see `from_checkpoint`."""
        return cls.from_checkpoint(find_pretrained(name), clip)

    def _learnable(self) -> Detector:
        if self.detector is None:
            raise BadRequest(f"MetaCAN: terms are {', '.join(self.terms)}; without text nothing learns or is published")
        return self.detector


def _without_tower(_: nn.Module, state: dict[str, Any], prefix: str, __: object) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}{TOWER}")]:
        del state[key]


def _tower_is_not_missed(_: nn.Module, found: Any) -> None:
    found.missing_keys[:] = [key for key in found.missing_keys if TOWER not in key]
