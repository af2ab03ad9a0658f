r"""MetaUAS as a few-shot model of anomalib, for its Engine and its commands.

    anomalib test --model model.anomalib.MetaUas --model.checkpoint metauas-256.ckpt \
        --data Folder --data.name nut --data.root data/parts/nut \
        --data.normal_dir train/good --data.normal_test_dir test/good --data.abnormal_dir test/bent ...

anomalib is no dependency of this project, nor an extra: `make test-anomalib` installs it beside what uses a network.
The prompts' features are buffers of the torch model, so they follow it to a device.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.tv_tensors import Mask

from configs.errors import BadRequest
from model.images import read_image, resize_image
from model.inference import find_images, own_size
from model.metauas import MetaUAS, compare_many


class Corners(v2.Resize):
    """Images (.., 3, h, w) to a size as the published protocol has it: corners on corners; masks by traces."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(list(size))
        self.sides = size

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Stretch images float32 or masks, (.., h, w), to (.., H, W)."""
        del params
        flat = inpt.float().reshape(-1, 1, *inpt.shape[-2:])
        stretched = F.interpolate(flat, self.sides, mode="bilinear", align_corners=True)
        stretched = stretched.reshape(*inpt.shape[:-2], *self.sides)
        return Mask((stretched > 0).to(inpt.dtype)) if isinstance(inpt, Mask) else stretched


class CornersPreProcessor(PreProcessor):
    """Anomalib's, by `Corners`, which a checkpoint of anomalib keeps."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(transform=Corners(size))

    def checkpoint_config(self) -> dict[str, Any]:
        """The size; anomalib itself could keep its own transforms alone."""
        return {"sides": list(self.transform.sides)}

    def load_checkpoint_config(self, config: dict[str, Any]) -> None:
        """The transform of a size."""
        height, width = config["sides"]
        self.transform = Corners((height, width))


class MetaUasModel(nn.Module):
    """The network with its prompts: images float32 (B, 3, H, W) in [0, 1] to maps (B, 1, H, W) and scores (B,)."""

    def __init__(self, network: MetaUAS) -> None:
        super().__init__()
        self.network = network
        self.shots = 0

    @torch.no_grad()
    def keep(self, prompts: Tensor) -> None:
        """Encode normal images float32 (K, 3, H, W) in [0, 1], in place of earlier ones; their maps are averaged."""
        for name in [name for name, _ in self.named_buffers(recurse=False)]:
            delattr(self, name)
        self.shots = len(prompts)
        for shot, prompt in enumerate(prompts):
            for level, features in enumerate(self.network.encode(prompt.unsqueeze(0))[self.network.unaligned :]):
                self.register_buffer(f"prompt_{shot}_{level}", features, persistent=False)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Compare images with the prompts.

        Raises:
            BadRequest: `keep` was not called.
        """
        if not self.shots:
            raise BadRequest("MetaUas has no prompt; pass prompt, or test it by anomalib's Engine with a datamodule")
        buffers = dict(self.named_buffers(recurse=False))
        shots = [
            [buffers[name] for name in sorted(buffers) if name.startswith(f"prompt_{shot}_")]
            for shot in range(self.shots)
        ]
        maps = compare_many(self.network, shots, self.network.encode(images))
        return InferenceBatch(pred_score=maps.amax(dim=(1, 2, 3)), anomaly_map=maps)


class MetaUas(AnomalibModule):
    """MetaUAS judges by normal images and learns nothing of a category.

    Args:
        checkpoint: of this project's training, or published.
        prompt: normal images: files, folders or globs; None: the first `k_shot` training images by name.
        k_shot: how many, where `prompt` is None.
        size: side of a square in pixels; None: as trained, or 256.
        pre_processor: must be True: images are stretched as the published protocol does.
        post_processor: see anomalib.
        evaluator: see anomalib.
        visualizer: see anomalib.

    Raises:
        BadRequest: the checkpoint is none of a MetaUAS, a prompt gives no image, or another pre-processor is passed.
        Failure: a prompt cannot be read.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        prompt: Sequence[str] | str | None = None,
        k_shot: int = 1,
        size: int | None = None,
        pre_processor: nn.Module | bool = True,  # noqa: FBT001, FBT002  # as all of anomalib's models, to the next four
        post_processor: nn.Module | bool = True,  # noqa: FBT001, FBT002
        evaluator: Evaluator | bool = True,  # noqa: FBT001, FBT002
        visualizer: Visualizer | bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        network = MetaUAS.from_checkpoint(checkpoint)
        sides = (size, size) if size else own_size(network)
        if pre_processor is not True:
            raise BadRequest("pre_processor: MetaUas looks at prompts and queries alike, by its own; pass size instead")
        super().__init__(CornersPreProcessor(sides), post_processor, evaluator, visualizer)
        self.model = MetaUasModel(network)
        self.k_shot, self.sides = k_shot, sides
        self.told = prompt is not None
        if prompt is not None:
            self._keep(find_images([prompt] if isinstance(prompt, str) else prompt))

    def setup(self, stage: str) -> None:
        """Encode the first training images by name, where no prompt was given, before the model goes to its device.

        Raises:
            BadRequest: there are not that many.
            Failure: one cannot be read.
        """
        del stage
        if self.told:
            return
        if self.trainer.datamodule is None:
            raise BadRequest("MetaUas has no prompt; pass prompt, or a datamodule whose training images are normal")
        known = sorted(map(Path, self.trainer.datamodule.train_data.samples["image_path"]))
        if not 1 <= self.k_shot <= len(known):
            raise BadRequest(f"k_shot is {self.k_shot}; wanted 1 to {len(known)}, the training images there are")
        self._keep(known[: self.k_shot])

    def _keep(self, paths: Sequence[Path]) -> None:
        images = [torch.from_numpy(resize_image(read_image(path), self.sides, "corners")) for path in paths]
        self.model.keep(torch.stack(images).permute(0, 3, 1, 2).to(self.device))

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """The published protocol's stretch to `image_size`, by default 256 x 256."""
        return CornersPreProcessor(image_size or (256, 256))

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> Batch:
        """Maps and scores of a batch."""
        del args, kwargs
        return batch.update(**self.model(batch.image)._asdict())

    @staticmethod
    def configure_optimizers() -> None:
        """Nothing is learned."""

    @staticmethod
    def configure_post_processor() -> PostProcessor:
        """Anomalib's own, without its normalisation: maps are probabilities, and it would make all low ones equal."""
        return PostProcessor(enable_normalization=False)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Nothing beyond what anomalib passes."""
        return {}

    @property
    def learning_type(self) -> LearningType:
        """Few shots, so that the Engine does not fit it."""
        return LearningType.FEW_SHOT
