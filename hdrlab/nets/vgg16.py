"""VGG-16: the encoder of Hallucination-Net, and the frozen features of the perceptual losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import Conv3x3, assign_tensors, convolve_leaky, require_choice, scaled

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of the five stages."""

DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of the five stages."""

CAFFE_MEANS = (123.68, 116.779, 103.939)
"""Mean R, G, B on a scale of 255 that Caffe's VGG-16 subtracts."""

PREPROCESSING = {
    "caffe": ((255.0, 255.0, 255.0), CAFFE_MEANS),
    "torchvision": (
        (1 / 0.229, 1 / 0.224, 1 / 0.225),
        (0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225),
    ),
    "raw": ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
}
"""What turns RGB in [0, 1] into the input a set of weights was trained with: the (R, G, B) scales to multiply
by and the offsets to subtract afterwards. `raw` is what IQATM's authors feed to Caffe's weights."""

POOLS = ("pool1", "pool2", "pool3")
"""The maps that SingleHDR compares."""

FIRST_CONVOLUTIONS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
"""The maps that IQATM compares."""


def conv_names(num_stages: int = 5) -> list[str]:
    """Name the convolutions, from conv1_1 on.

    Args:
        num_stages: How many of the five stages.

    Returns:
        Names in the order of computation.
    """
    return [f"conv{stage + 1}_{i + 1}" for stage in range(num_stages) for i in range(DEPTHS[stage])]


class VGG16(nn.Module):
    """The convolutions of VGG-16: 3×3, ReLU, a 2×2 maximum after each stage.

    Args:
        num_stages: How many of the five stages.
        width: Factor on the channel counts.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks", configuration D.
    """

    def __init__(self, num_stages: int = 5, width: float = 1.0) -> None:
        super().__init__()
        self.num_stages = num_stages
        self.channels = [scaled(channels, width) for channels in CHANNELS[:num_stages]]
        cin = 3
        for name in conv_names(num_stages):
            cout = self.channels[int(name[4]) - 1]
            # The maps behind the fourth stage are too small for what tiles need in memory.
            last = name.startswith("conv5")
            self.add_module(name, nn.Conv2d(cin, cout, 3, padding=1) if last else Conv3x3(cin, cout))
            cin = cout

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Compute each stage's maps before and after its pool.

        Args:
            x: Images [B, 3, H, W] in whatever form the weights take.

        Returns:
            For each stage, maps [B, C, h, w] and their maxima [B, C, ceil(h/2), ceil(w/2)], at least 0.
        """
        stages = []
        for number in range(self.num_stages):
            stages.append(self.stage(number, x))
            x = stages[-1][1]
        return stages

    def stage(self, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute a stage's maps before and after its pool.

        Args:
            number: Of the stage, from 0.
            x: What the stage before gave [B, C, h, w], at least 0, or the images [B, 3, H, W].

        Returns:
            Maps and their maxima, of shapes as in `forward`.
        """
        for i in range(DEPTHS[number]):
            x = self._conv(number, i, x)
        return x, _pool(x)

    def maps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Compute one map after the other, as far as they are asked for.

        Args:
            x: Images [B, 3, H, W] in whatever form the weights take.

        Returns:
            Names and maps [B, C, h, w], at least 0: conv1_1, conv1_2, pool1, conv2_1 and so on, the
            convolutions' after the ReLU.

        Yields:
            Names and maps: conv1_1, conv1_2, pool1, conv2_1 and so on, the convolutions' after the ReLU.
        """
        for number in range(self.num_stages):
            for i in range(DEPTHS[number]):
                x = self._conv(number, i, x)
                yield f"conv{number + 1}_{i + 1}", x
            x = _pool(x)
            yield f"pool{number + 1}", x

    def _conv(self, number: int, i: int, x: Tensor) -> Tensor:
        return convolve_leaky(self.get_submodule(f"conv{number + 1}_{i + 1}"), x)


def _pool(x: Tensor) -> Tensor:
    # An odd last row is kept, as TensorFlow's SAME pool does.
    return F.max_pool2d(x, 2, ceil_mode=True)


class VGG16Features(nn.Module):
    """Frozen feature maps of VGG-16.

    Args:
        weights: As `hdrlab.weights.load_vgg16` returns them: kernels for RGB, with the `scale` and `offset`
            of the input they were trained with. None draws He-normal weights from a fixed seed, the same in
            every run: good enough to exercise a loss, not to judge images.
        layers: Names of the maps, in the order of computation: pool1 to pool5 and `conv_names()`.

    Raises:
        ValueError: A layer is unknown.
        WeightsError: Weights are missing or have another shape.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, weights: Mapping[str, Tensor] | None = None, layers: Sequence[str] = POOLS) -> None:
        super().__init__()
        for layer in layers:
            require_choice("VGG-16 layer", layer, [*conv_names(), *(f"pool{i}" for i in range(1, 6))])
        self.layers = tuple(layers)
        self.trunk = VGG16(max(int(layer[4]) for layer in layers))
        self.register_buffer("scale", torch.empty(3))
        self.register_buffer("offset", torch.empty(3))
        targets = {**self.trunk.state_dict(), "scale": self.scale, "offset": self.offset}
        assign_tensors(targets, random_vgg16() if weights is None else weights, "VGG-16")
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not declared

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the maps.

        Args:
            x: RGB images [B, 3, H, W], nominally in [0, 1].

        Returns:
            One map a layer, at least 0: conv1_x [B, 64, H, W], pool1 [B, 64, H/2, W/2], conv2_x [B, 128, H/2,
            W/2], …; odd sizes round up.
        """
        x = x * self.scale.view(3, 1, 1) - self.offset.view(3, 1, 1)
        x = x.contiguous(memory_format=torch.channels_last)
        chosen = (maps for name, maps in self.trunk.maps(x) if name in self.layers)
        return list(islice(chosen, len(self.layers)))  # asks for nothing behind the last


def random_vgg16(seed: int = 0) -> dict[str, Tensor]:
    """Draw He-normal VGG-16 weights, the same for the same seed.

    Args:
        seed: Seed of the draw.

    Returns:
        Weights in the shapes of `hdrlab.weights.vgg16.load_vgg16`, with Caffe's preprocessing.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = preprocessing_tensors("caffe")
    for name, tensor in VGG16().state_dict().items():
        if tensor.ndim == 4:
            noise = torch.randn(tensor.shape, generator=generator)
            weights[name] = noise * (2 / tensor[0].numel()) ** 0.5
        else:
            weights[name] = torch.zeros_like(tensor)
    return weights


def preprocessing_tensors(preprocessing: str) -> dict[str, Tensor]:
    """Give the input transform as tensors.

    Args:
        preprocessing: `caffe`, `torchvision` or `raw`.

    Returns:
        `scale` and `offset`, [3] each.
    """
    scale, offset = PREPROCESSING[preprocessing]
    return {"scale": torch.tensor(scale), "offset": torch.tensor(offset)}
