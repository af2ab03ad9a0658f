"""One step of training and of validation, and what is remembered between epochs."""

import math
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from configs.errors import Failure
from configs.train import Train
from model.augment import Prepared, prepare
from model.metauas import CHECKPOINT, MetaUAS
from model.metrics import average_precision
from pipeline.shards import KINDS, UNCHANGED

VALIDATION_EPOCH = 0  # of the draws; training counts from 1
WARM_UP_SHARE = 0.05  # of the steps of the cosine schedule
SCORED_SIDE_PX = (
    64  # val pixel AP pools about this many rows and columns a map, so that thousands of maps fit in memory
)


class ChangeSegmentation(L.LightningModule):
    """MetaUAS learning to segment changes (paper, section 3.4 and appendix A).

    Args:
        network: what learns.
        recipe: section `train` of the parameters.
        seed: of the views.
        facts: plain values that every checkpoint carries beside the weights.

    `history` holds one point an epoch, from the first, also after a resume: the mean losses, and the pixel AP of the
    validation pairs under their fixed views, of all and by kind of change.
    """

    def __init__(self, network: MetaUAS, recipe: Train, seed: int, facts: dict[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.facts = facts
        self.history: list[dict[str, float]] = []
        self._scored: list[_Scored] = []

    def on_train_epoch_start(self) -> None:
        """Seed the network's own draws, if it has any (dropout), by epoch: a resumed run repeats them."""
        torch.manual_seed(int(np.random.SeedSequence([self.seed, self.current_epoch]).generate_state(1)[0]))

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Mean loss of a batch of `PairDataset`.

        Raises:
            Failure: it is not finite.
        """
        prepared = prepare(batch, self.recipe.augment, self.seed, self.current_epoch + 1)
        loss = masked_loss(self.network(prepared.prompt, prepared.query), prepared)
        if not torch.isfinite(loss):
            images = sorted(set(batch["image_id"].tolist()))
            raise Failure(
                f"train: the loss is {loss.item()} in epoch {self.current_epoch + 1}, on pairs of images {images};"
                " lower train.lr, or look at these pairs with python -m pipeline.inspect"
            )
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["index"]))
        return loss

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Keep scores and labels of a batch under its fixed views."""
        prepared = prepare(batch, self.recipe.augment, self.seed, VALIDATION_EPOCH)
        logits = self.network(prepared.prompt, prepared.query)
        self.log("val/loss", masked_loss(logits, prepared), batch_size=len(batch["index"]))
        self._scored.append(_Scored(logits, prepared, batch["kind"]))

    def on_validation_epoch_end(self) -> None:
        """Log the pixel AP of all pairs and of each kind of change."""
        every = pixel_ap(self._scored, list(range(len(KINDS))))
        if math.isnan(every):
            raise Failure("train: no changed pixel in the val pairs, so nothing to select by; raise index.val_share")
        self.log("val/pixel_ap/all", every)
        for kind, name in enumerate(KINDS):
            if kind != UNCHANGED and not math.isnan(score := pixel_ap(self._scored, [kind])):
                self.log(f"val/pixel_ap/{name}", score)
        self._scored.clear()

    def on_train_epoch_end(self) -> None:
        """Add the epoch's point to the history."""
        self.history.append({name: float(value) for name, value in sorted(self.trainer.callback_metrics.items())})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is not a tensor."""
        checkpoint[CHECKPOINT] = self.facts | {"history": self.history}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history up again."""
        self.history = checkpoint[CHECKPOINT]["history"]

    def configure_optimizers(self) -> Any:
        """AdamW on what learns, and the learning rate by step."""
        learnable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learnable, lr=self.recipe.lr, weight_decay=self.recipe.weight_decay)
        if self.recipe.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def masked_loss(logits: Tensor, prepared: Prepared) -> Tensor:
    """Binary cross-entropy of `logits` (B, 1, H, W), mean over the valid pixels (Eq. 7)."""
    each = F.binary_cross_entropy_with_logits(logits, prepared.mask.float(), reduction="none")
    return (each * prepared.valid).sum() / prepared.valid.sum().clamp(min=1)


def cosine(step: int, steps: int) -> float:
    """Share of the full learning rate at `step` of `steps`: up in a straight line, down to zero along a cosine."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


class _Scored:
    """A thinned batch of validation: `scores` float32, `labels` and `valid` bool (B, h, w), `kind` (B,)."""

    def __init__(self, logits: Tensor, prepared: Prepared, kind: Tensor) -> None:
        every = max(1, logits.shape[-1] // SCORED_SIDE_PX)
        thin = (slice(None), 0, slice(every // 2, None, every), slice(every // 2, None, every))
        self.scores = logits[thin].float().cpu().numpy()
        self.labels = prepared.mask[thin].cpu().numpy()
        self.valid = prepared.valid[thin].cpu().numpy()
        self.kind = kind.cpu().numpy()

    def of(self, kinds: list[int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Scores and labels of the valid pixels of pairs of these kinds."""
        kept = self.valid & np.isin(self.kind, kinds)[:, None, None]
        return self.scores[kept], self.labels[kept]


def pixel_ap(scored: list[_Scored], kinds: list[int]) -> float:
    """Average precision over the pixels of all pairs of these kinds; NaN where none of them is changed."""
    scores, labels = zip(*(batch.of(kinds) for batch in scored), strict=True)
    return average_precision(np.concatenate(scores), np.concatenate(labels))
