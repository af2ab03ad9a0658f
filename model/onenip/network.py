"""OneNIP: what of a query image cannot be rebuilt from one normal image of its kind (Gao, ECCV 2024, section 3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.errors import BadRequest
from configs.model import Bidirectional, Prompt
from model.encoders import Encoder, Preprocessing, check_keys, find_pretrained, read_content, write_folder
from model.onenip import published, scoring
from model.onenip.checkpoint import CHECKPOINT, CHECKPOINT_VERSION, read_own
from model.onenip.learning import DICE_WEIGHT, Losses, dice_loss, draw_noise, jitter
from model.onenip.reconstruction import STRIDE, Reconstruction, neck, resize
from model.onenip.scoring import Comparison

LEVELS = 4  # of the encoder
STILL = 0.01  # of the mean deviation of channels, below which one is taken to have so much

Features = Sequence[Tensor]  # of B images, (B, C, h, w) a level, from stride 2 to 16


class OneNIP(nn.Module):
    """A frozen encoder, a transformer that rebuilds its features, and a refiner of what differs.

    `compare(encode(prompt), encode(query))`; images are float32 (B, 3, *size), RGB in [0, 1]. As published, 8,372,625
    parameters learn at 224 px.

    Args:
        encoder: a timm model with features at strides 2 to 16; see `model.encoders.Encoder`, as for `weights` and
            `preprocessing`. The paper's "imagenet" weights are those with the tag aa_in1k.
        weights: see `encoder`.
        size: of the images, in pixels: a square's side or (height, width). Rows and columns of tokens have learned
            positions, and decide how wide the neighbour mask is, so a network is of one size.
        prompt: "dynamic" (OneNIP), "static" (the paper's Eq. 2) or "none", which is UniAD.
        decoder: of the dynamic prompt: "v2", or "v1" as it was when the paper's tables were made.
        refiner: whether there is one.
        encoder_layers: of the transformer, as `decoder_layers`.
        decoder_layers: see `encoder_layers`.
        dropout: of the transformer in training, its attention included; a third of a CPU's step goes into drawing it.
        alpha: weight of the refined map beside the error in a score map, in [0, 1] (Eq. 10).
        preprocessing: see `encoder`.

    Raises:
        BadRequest: an argument is unknown, or cannot be had together with another.
        Failure: ImageNet weights cannot be downloaded.
    """

    unaligned = 0  # levels of a prompt that nothing looks at: see `model.metauas.PromptPool`
    normaliser: Tensor  # c of the score map, float32 (); see `calibrate`

    def __init__(
        self,
        encoder: str = "tf_efficientnet_b4.aa_in1k",
        weights: str = "none",
        *,
        size: int | Sequence[int] = 224,
        prompt: Prompt = "dynamic",
        decoder: Bidirectional = "v2",
        refiner: bool = True,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        dropout: float = 0.1,
        alpha: float = 0.5,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        if height % STRIDE or width % STRIDE or min(height, width) < 2 * STRIDE:  # one token has no others to look at
            raise BadRequest(f"model: size is {height} x {width}; wanted multiples of {STRIDE}, {2 * STRIDE} or more")
        _check("prompt", prompt, get_args(Prompt))
        decoders = get_args(Bidirectional) if prompt == "dynamic" else ("v2",)
        _check(f"decoder of prompt {prompt!r}", decoder, decoders)
        if min(encoder_layers, decoder_layers) < 1 or not (0 <= alpha <= 1 and 0 <= dropout < 1):
            raise BadRequest(
                f"model: {encoder_layers} + {decoder_layers} layers, alpha {alpha}, dropout"
                f" {dropout}; wanted 1 + 1 or more, 0 to 1 and below 1"
            )
        self.size = (height, width)
        self.grid = (height // STRIDE, width // STRIDE)  # of tokens
        self.encoder = Encoder(encoder, weights, frozen=True, preprocessing=preprocessing, levels=LEVELS, stem=False)
        if encoder.startswith(published.ENCODER):
            published.pad_as_released(self.encoder)
        transformer = {
            "decoder": decoder,
            "encoder_layers": encoder_layers,
            "decoder_layers": decoder_layers,
            "dropout": dropout,
        }
        switches: dict[str, Any] = {"prompt": prompt, "refiner": refiner, **transformer}
        self.reconstruction = Reconstruction(sum(self.encoder.channels), *self.grid, **switches)
        self.alpha = alpha
        self.register_buffer("normaliser", torch.tensor(scoring.UNCALIBRATED))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's overloads
        self.facts: dict[str, Any] = {}  # what its checkpoint says of its making
        self.arguments: dict[str, Any] = {
            "encoder": encoder,
            "size": list(self.size),
            **switches,
            "alpha": alpha,
            "recipe": asdict(self.encoder.preprocessing),
        }

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode float32 (B, 3, *size) in [0, 1] -> features (B, C_i, H / 2**i, W / 2**i) for i = 1..4, no gradient.

        Raises:
            BadRequest: images of another size.
        """
        if images.shape[1:] != (3, *self.size):
            raise BadRequest(
                f"images are {tuple(images.shape)}; wanted (B, 3, {self.size[0]}, {self.size[1]}), as positions are"
                " learned for one size; resize the images, or train a network of theirs"
            )
        return self.encoder(images.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def compare(self, prompt: Features | None, query: Features) -> Comparison:
        """Rebuild features that `encode` gave of B queries by those of one prompt for all, or of one for each.

        Where the network takes no prompt, what is given for it is not looked at.

        Raises:
            BadRequest: no prompt where one is needed, another number of them, or features of another size.
        """
        normal = self._take_prompt(prompt, query[0].shape[0])
        features = self._neck(query)
        rebuilt = self.reconstruction(features, normal)
        error = (rebuilt - features).norm(dim=1, keepdim=True)
        return Comparison(rebuilt, resize(error, self.size), self._refine(features, rebuilt))

    def losses(
        self,
        normal: Features,
        synthetic: Features | None,
        prompt: Features | None,
        mask: Tensor | None,
        noise: Tensor | None = None,
    ) -> Losses:
        """What B normal images and the same with anomalies lose; features are what `encode` gave.

        Args:
            normal: what both are to be rebuilt as.
            synthetic: of the images with anomalies; None: no restoration, for a network without a refiner.
            prompt: see `compare`.
            mask: (B, 1, H, W), 1 where `synthetic` is anomalous, else 0; for the refiner.
            noise: of `draw_noise`. In training mode what is rebuilt and the prompt are jittered by it; what they are
                held against is not.

        Raises:
            BadRequest: what does not go together, or is of another size.
        """
        wanted = (len(normal[0]), 1, *self.size)
        if self.reconstruction.seghead and (synthetic is None or mask is None or mask.shape != wanted):
            found = "no synthetic images" if synthetic is None else f"masks {None if mask is None else [*mask.shape]}"
            raise BadRequest(f"losses: {found}; a refiner learns from synthetic images with masks {[*wanted]}")
        clean = [self._neck(features) for features in (normal, synthetic) if features is not None]
        seen, guide = clean, self._take_prompt(prompt, len(normal[0]))
        if self.training and noise is not None:
            seen = [jitter(features, noise[:, place]) for place, features in enumerate(clean)]
            guide = None if guide is None else jitter(guide, noise[:, 2])
        rebuilt = self.reconstruction(torch.cat(seen), guide)
        mse = F.mse_loss(rebuilt, clean[0].repeat(len(clean), 1, 1, 1))
        refined = self._refine(torch.cat(clean), rebuilt)
        if refined is None or mask is None:
            return Losses(mse, torch.zeros_like(mse), mse)
        dice = dice_loss(refined, torch.cat([torch.zeros_like(mask), mask]).float()).mean()
        return Losses(mse, dice, mse + DICE_WEIGHT * dice)

    @torch.no_grad()
    def start_from(self, features: Tensor) -> None:
        """Before learning, let both projections begin from the channels' mean and deviation in `features`.

        What enters the transformer is then standardised, and what leaves it in the middle of the features' range. The
        released code starts at random, and learns the range in its first thousands of steps.

        Args:
            features: (B, C, h, w) at stride 16 of some normal images.
        """
        mean = features.mean(dim=(0, 2, 3))
        deviation = features.std(dim=(0, 2, 3))
        deviation = deviation.clamp(min=float(STILL * deviation.mean()))  # a channel may be silent in these images
        project, back = self.reconstruction.input_proj, self.reconstruction.output_proj
        project.weight.div_(deviation)
        project.bias.sub_(project.weight @ mean)
        back.weight.mul_(deviation.unsqueeze(1))
        back.bias.mul_(deviation).add_(mean)

    def draw_noise(self, rngs: Sequence[np.random.Generator]) -> Tensor:
        """Noise for `losses`, on the CPU: one generator a sample; see `model.onenip.learning.draw_noise`."""
        return draw_noise(rngs, (sum(self.encoder.channels), *self.grid))

    @torch.no_grad()
    def calibrate(self, errors: Iterable[Tensor]) -> None:
        """Set the c of score maps to the middle between the smallest and the largest value of all error maps.

        The released evaluation takes those of its whole test set.

        Raises:
            BadRequest: there are none.
        """
        self.normaliser.copy_(scoring.middle(errors))

    def score_map(self, found: Comparison) -> Tensor:
        """Scores float32 (B, 1, H, W); see `model.onenip.scoring`, as for `image_scores`.

        Raises:
            BadRequest: the refined map counts, and there is no c.
        """
        if found.refined is not None and self.alpha:
            self._want_scale()
        return scoring.score_map(found, self.alpha, self.normaliser)

    def relative_map(self, found: Comparison) -> Tensor:
        """The score map in units of 2 c, so that without a refiner 1 is about the highest error of a normal image.

        Raises:
            BadRequest: there is no c.
        """
        self._want_scale()
        return scoring.relative_map(found, self.alpha, self.normaliser)

    def image_scores(self, score_maps: Tensor) -> Tensor:
        """Scores float32 (B,) of images."""
        return scoring.image_scores(score_maps)

    def load_published(self, state: Mapping[str, Any], path: str | Path = "published state") -> None:
        """Load published tensors into a network of the same kind and size; `calibrate` it after.

        Names may begin with `module.`. Without tensors of the encoder the network keeps its own.

        Raises:
            BadRequest: they do not fit; `path` is named.
        """
        published.load_published(self, state, path)
        self.normaliser.fill_(scoring.UNCALIBRATED)

    @classmethod
    def from_published(cls, content: Mapping[str, Any], path: str | Path) -> Self:
        """The network of a published file's `content`, in evaluation mode; see `load_published`.

        Nothing in a file of before the decoder's fix says so: load it into OneNIP(decoder="v1").

        Raises:
            BadRequest: it is none, or not whole.
        """
        arguments = published.arguments_of(content, path)
        network = cls(published.ENCODER, preprocessing=published.PREPROCESSING, **arguments)
        network.load_published(content, path)
        return network.eval()

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> Self:
        """The network of a checkpoint, in evaluation mode: of this project's training, or published.

        Raises:
            BadRequest: no such file, neither kind of checkpoint, a damaged one, or one whose tensors do not fit.
        """
        path = Path(path)
        content = read_content(path)
        if published.published_kind(content):
            published.want_encoder(content, path)
            return cls.from_published(content, path)
        arguments, state = read_own(content, path)
        try:
            network = cls(**arguments)
        except (BadRequest, TypeError, ValueError) as error:
            raise BadRequest(f"{path}: {error}") from None
        check_keys(network.state_dict(), state, path, cls.__name__)
        network.load_state_dict(state)
        network.facts = dict(content[CHECKPOINT])
        return network.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and a short card; `python -m model.weights --save` writes a longer one.

        Raises:
            Failure: the folder cannot be written.
        """
        said = {**self.facts, "version": CHECKPOINT_VERSION, "network": self.arguments, "size": list(self.size)}
        write_folder(folder, CHECKPOINT, said, self.state_dict(), "# OneNIP\n\nOf metauas-pipeline.\n")

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """The network of a folder of `save_pretrained`, or of one on a model hub, `owner/name`, in evaluation mode.

        Raises:
            BadRequest: there is none, the hub cannot be reached, or it is another system's.
        """
        return cls.from_checkpoint(find_pretrained(name))

    def _want_scale(self) -> None:
        if self.normaliser == scoring.UNCALIBRATED:
            raise BadRequest("score map: the network has no scale c; `calibrate` it on error maps of normal images")

    def _take_prompt(self, prompt: Features | None, count: int) -> Tensor | None:
        """The features at stride 16 of one prompt or of `count`; None where the network takes none."""
        if self.arguments["prompt"] == "none":
            return None
        if prompt is None or prompt[0].shape[0] not in (1, count):
            found = "no" if prompt is None else prompt[0].shape[0]
            raise BadRequest(f"{found} prompts for {count} images; wanted one for all, or one for each")
        return self._neck(prompt)

    def _neck(self, features: Features) -> Tensor:
        return neck(features, self.grid)

    def _refine(self, features: Tensor, rebuilt: Tensor) -> Tensor | None:
        """Anomalies in [0, 1] at the images' size, where there is a refiner."""
        if self.reconstruction.seghead is None:
            return None
        logits: Tensor = self.reconstruction.seghead((rebuilt - features).abs())
        return resize(logits.float(), self.size).sigmoid()


def _check(name: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise BadRequest(f"model: {name} is {value!r}; wanted {', '.join(map(str, known))}")
