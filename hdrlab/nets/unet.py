"""Dequantization-Net and Refinement-Net, two uses of one U-Net."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import Conv3x3, Net, convolve_leaky, glorot_init, require_choice, require_maps, scaled
from hdrlab.ops.strips import in_strips
from hdrlab.ops.upsampling import upsample_bilinear, upsample_bilinear_legacy

UPSAMPLING = {"half_pixel": upsample_bilinear, "legacy": upsample_bilinear_legacy}


class UNet(Net):
    """U-Net of 19 convolutions, leaky ReLU 0.1 after all but the last, no normalisation.

    Args:
        in_channels: Channels of the input.
        bottleneck: Channels at 1/16 resolution, at width 1.
        upsampling: Kernel of the bilinear ×2: `half_pixel`, or `legacy` for weights from TensorFlow 1.
        width: Factor on the channel counts.

    Source: SingleHDR, supplementary material (architecture of Dequantization-Net).
    """

    def __init__(self, in_channels: int, bottleneck: int, upsampling: str, width: float) -> None:
        super().__init__()
        require_choice("upsampling", upsampling, UPSAMPLING)
        self.in_channels = in_channels
        self.upsample = UPSAMPLING[upsampling]
        levels = [scaled(channels, width) for channels in (16, 32, 64, 128, bottleneck)]
        pairs = list(zip([in_channels, *levels], levels, strict=False))
        kernels = (7, 5, 3, 3, 3)
        convs: list[nn.Module] = []
        for (cin, cout), kernel in zip(pairs, kernels, strict=True):
            convs += [_conv(cin, cout, kernel), _conv(cout, cout, kernel)]
        for deep, shallow in zip(levels[:0:-1], levels[-2::-1], strict=True):
            convs += [_conv(deep, shallow, 3), _conv(2 * shallow, shallow, 3)]
        # One flat list in the order of computation, since that is how TensorFlow numbered them.
        self.convs = nn.ModuleList([*convs, _conv(levels[0], 3, 3)])
        glorot_init(self)

    def body(self, x: Tensor) -> Tensor:
        """Run the U-Net, up to its last convolution.

        Args:
            x: Maps [B, in_channels, H, W] of any range, H and W multiples of 16.

        Returns:
            Maps [B, 3, H, W] of any range.

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(x, self.in_channels, multiple=16)
        skips = []
        for level in range(4):
            x = self._step(2 * level + 1, self._step(2 * level, x))
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        x = self._step(9, self._step(8, x))
        for index in (10, 12, 14):
            x = self._enlarge(index, skips.pop(), x)
        if torch.is_grad_enabled():
            return self._last_level(skips.pop(), x)[0]
        # Here are the widest maps: of the rows that are at work alone they need no memory to speak of.
        sources = [skips.pop(), x]
        (last,) = in_strips(self._last_level, sources, channels=x.shape[1], halo=4, multiple=2)
        return last

    def _step(self, index: int, x: Tensor) -> Tensor:
        return convolve_leaky(self.convs[index], x, 0.1)

    def _enlarge(self, index: int, skip: Tensor, x: Tensor) -> Tensor:
        x = self._step(index, self.upsample(x))
        return self._step(index + 1, torch.cat([x, skip], dim=1))

    def _last_level(self, skip: Tensor, x: Tensor) -> tuple[Tensor]:
        return (self.convs[18](self._enlarge(16, skip, x)),)


class DequantizationNet(UNet):
    """Restores what quantisation and compression took from an 8-bit image.

    Args:
        upsampling: `half_pixel` or `legacy`.
        width: Factor on the channel counts.

    Source: SingleHDR, section 3.1.
    """

    def __init__(self, upsampling: str = "half_pixel", width: float = 1.0) -> None:
        super().__init__(3, 256, upsampling, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add the predicted residual.

        Args:
            x: Display-encoded images [B, 3, H, W], nominally in [0, 1], H and W multiples of 16.

        Returns:
            x + residual in (x − 1, x + 1), before the clamp to [0, 1] that is the caller's.

        Raises:
            ValueError: The shape does not fit.
        """
        return x + torch.tanh(self.body(x))


class RefinementNet(UNet):
    """Corrects the reconstructed image, given every intermediate image of the chain.

    Args:
        upsampling: `half_pixel` or `legacy`.
        final_relu: Return the image after the ReLU instead of before it.
        identity_init: Start with a zero residual. From random weights the first images are noise behind
            a ReLU, and training was reported to collapse to black.
        width: Factor on the channel counts.

    Source: SingleHDR, section 3.4.
    """

    def __init__(
        self,
        upsampling: str = "half_pixel",
        final_relu: bool = False,
        identity_init: bool = True,
        width: float = 1.0,
    ) -> None:
        super().__init__(9, 128, upsampling, width)
        self.final_relu = final_relu
        if identity_init:
            nn.init.zeros_(self.convs[18].get_parameter("weight"))

    def forward(self, x: Tensor) -> Tensor:
        """Add the predicted residual to the first image.

        Args:
            x: [B, 9, H, W], RGB each: the HDR image A with hallucinated highlights, the linear image B,
                the dequantised image C. H and W are multiples of 16.

        Returns:
            A + residual [B, 3, H, W], scene-linear; before the ReLU unless `final_relu`.

        Raises:
            ValueError: The shape does not fit.
        """
        refined = self.body(x) + x[:, :3]
        return F.relu(refined) if self.final_relu else refined


def _conv(cin: int, cout: int, kernel: int) -> nn.Conv2d:
    return Conv3x3(cin, cout) if kernel == 3 else nn.Conv2d(cin, cout, kernel, padding=kernel // 2)
