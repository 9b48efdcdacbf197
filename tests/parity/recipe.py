"""The weights and images that the published programs and hdrlab's nets are both given: seeded random numbers.

A variable's values depend on its name and shape alone, so any program that knows TensorFlow's names can draw
the same ones with NumPy; no trained weights are needed, nor any file.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hdrlab.nets.layers import Net
from hdrlab.weights import variable_shapes

Values = NDArray[np.float32]

SCALES = {
    "Dequantization_Net/conv2d_18/kernel": 0.05,
    "Refinement_Net/conv2d_18/kernel": 0.2,
    "crf_feature_net/res3b_branch2c/weights": 0.5,
}
"""Kernels made smaller, so that a net's output stays near its input."""

TF2_FIRST_KERNEL = "crf_feature_net/conv1/weights"
"""The kernel whose shape differs in SingleHDR-tf2, which draws it under a name of its own."""


def variables(net: Net) -> dict[str, Values]:
    """Draw all variables of a net, in TensorFlow's layout and by the authors' names."""
    draw = iqatm_variable if net.name.startswith("tmo_") else singlehdr_variable
    drawn = {name: draw(name, shape) for name, shape in variable_shapes(net).items()}
    if net.preset == "tf2" and TF2_FIRST_KERNEL in drawn:
        shape = drawn[TF2_FIRST_KERNEL].shape
        drawn[TF2_FIRST_KERNEL] = singlehdr_variable("tf2/crf_feature_net/conv1/kernel", shape)
    return drawn


def singlehdr_variable(name: str, shape: Sequence[int]) -> Values:
    """Draw a variable of SingleHDR.

    z is standard normal from NumPy's default generator, seeded with the CRC-32 of "open-d:NAME". Kernels are
    z · √(2 / inputs), dense ones 0.003 z / √inputs, biases 0.05 z (that of the dense layer 0.003 z); of batch
    norms, gamma is 1 + 0.2 z, beta 0.1 z, the moving mean 0.2 s z, the moving variance s² exp(0.5 z), where s
    is 60 at the bottom of the hallucination net, else 1.
    """
    z = np.random.default_rng(crc32(f"open-d:{name}".encode())).standard_normal(tuple(shape))
    s = 60.0 if "encoder/h6/batch_norm" in name else 1.0
    leaf = name.rpartition("/")[2]
    if leaf in ("kernel", "weights", "W_conv2d"):
        if len(shape) == 2:
            z *= 0.003 / np.sqrt(shape[0])
        else:
            z *= np.sqrt(2.0 / np.prod(shape[:3])) * SCALES.get(name, 1.0)
    elif leaf in ("bias", "biases", "b_conv2d"):
        z *= 0.003 if "/dense/" in name else 0.05
    elif leaf == "gamma":
        z = 1.0 + 0.2 * z
    elif leaf == "beta":
        z *= 0.1
    elif leaf == "moving_mean":
        z *= 0.2 * s
    else:
        assert leaf == "moving_variance", name
        z = s * s * np.exp(0.5 * z)
    return z.astype(np.float32)


def iqatm_variable(name: str, shape: Sequence[int]) -> Values:
    """Draw a variable of IQATM.

    z is standard normal from NumPy's `RandomState`, seeded with the CRC-32 of "open-1|NAME"; kernels are
    0.1 z with z cut at ±2, biases 0.005 + 0.05 z.
    """
    z = np.random.RandomState(crc32(f"open-1|{name}".encode())).standard_normal(tuple(shape))
    values = 0.1 * z.clip(-2, 2) if len(shape) == 4 else 0.005 + 0.05 * z
    return values.astype(np.float32)


def image(name: str, batch: int, height: int, width: int) -> Values:
    """Draw images [batch, height, width, 3] in [0, 1]: three waves a channel and noise, 15 % of the values 1.

    The generator is NumPy's default, seeded with the CRC-32 of "open-d:img:NAME".
    """
    rng = np.random.default_rng(crc32(f"open-d:img:{name}".encode()))
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    waves = np.zeros((batch, height, width, 3))
    for i in range(batch):
        for channel in range(3):
            f = rng.uniform(-1, 1, 6) * np.array([6, 6, 11, 11, 3.1, 3.1])
            phase = rng.uniform(0, 6.28, 3)
            waves[i, :, :, channel] = 0.5 + sum(
                strength * np.sin(f[2 * k] * x + f[2 * k + 1] * y + phase[k])
                for k, strength in enumerate((0.28, 0.16, 0.3))
            )
    waves += 0.02 * rng.standard_normal(waves.shape)
    return (waves / np.quantile(waves, 0.85)).clip(0, 1).astype(np.float32)


def photograph(name: str, batch: int, height: int, width: int) -> Values:
    """Draw images as `image`, rounded to 8 bits."""
    return (np.round(image(name, batch, height, width) * np.float32(255)) / np.float32(255)).astype(
        np.float32
    )


def refinement_input() -> Values:
    """Return A, B and C [2, 64, 96, 9]: B is C squared, A adds up to 4 where B is above 0.8."""
    gain, c = image("refA", 2, 64, 96), image("refC", 2, 64, 96)
    b = c * c
    return np.concatenate([b + 4 * gain * (b > 0.8), b, c], axis=-1)
