"""The supervised refiner, from reconstruction errors to a map of anomalies (paper, section 3.3); keys as published."""

from torch import Tensor, nn

WIDTH = 128


class Refiner(nn.Module):
    """Twice a convolution and a doubling of the resolution, then one 1x1 convolution.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upconv1 = _convolve_and_double(channels)
        self.upconv2 = _convolve_and_double(WIDTH)
        self.predictor = nn.Conv2d(WIDTH, 1, kernel_size=1)

    def forward(self, differences: Tensor) -> Tensor:
        """Element-wise |reconstruction - features| float32 (B, C, h, w) (Eq. 6) -> logits (B, 1, 4 h, 4 w)."""
        return self.predictor(self.upconv2(self.upconv1(differences)))  # type: ignore[no-any-return]


def _convolve_and_double(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(WIDTH, WIDTH, kernel_size=2, stride=2),
    )
