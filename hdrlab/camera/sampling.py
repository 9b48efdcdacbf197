"""Random camera parameters, drawn from counters.

The same seed and sample index give the same parameters, whatever the order, worker or process.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.camera.synthesis import CameraNoise

NoiseMode = Literal["independent", "authors", "none"]

_WORD = 2**64
_CAMERA_STREAM = 1


def camera_generator(seed: int, index: int, stream: int = _CAMERA_STREAM) -> np.random.Generator:
    """Makes the generator that belongs to a sample; it depends on the arguments and on nothing else.

    Args:
        seed: seed of the run.
        index: global index of the sample, counted over all epochs.
        stream: separates independent uses of one sample, such as the crop (not 1) and the camera (1).
    """
    key = np.array([seed % _WORD, index % _WORD], dtype=np.uint64)
    # The generator counts upwards in the first word, so that streams never meet.
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def sample_noise(
    generator: np.random.Generator, size: tuple[int, int], mode: NoiseMode = "independent"
) -> CameraNoise | None:
    """Draws the sensor noise of one image, as a batch of one.

    Args:
        generator: generator of the sample.
        size: height and width of the image.
        mode: "independent" draws both kinds of noise apart; "authors" uses the same draws for both, as the
            authors' code does by sharing a seed; "none" is no noise.

    Raises:
        ValueError: unknown mode.
    """
    if mode not in get_args(NoiseMode):
        raise ValueError(f"unknown noise mode {mode!r}: use one of {', '.join(get_args(NoiseMode))}")
    if mode == "none":
        return None
    u_signal, n_signal = _noise_draws(generator, size)
    u_constant, n_constant = (u_signal, n_signal) if mode == "authors" else _noise_draws(generator, size)
    return CameraNoise(u_signal, u_constant, n_signal, n_constant)


def exposure_list(num: int) -> NDArray[np.float32]:
    """Exposures [num] from 1/8 to 8, evenly spaced in stops: 600 for training, 7 for testing in SingleHDR."""
    return np.exp2(np.linspace(-3, 3, num)).astype(np.float32)


def positional_qualities(batch_size: int) -> list[int]:
    """JPEG qualities 90 … 100 by position in the batch, as in the authors' code; 90 for a batch of one."""
    return [round(quality) for quality in np.linspace(90, 100, batch_size).tolist()]


def _noise_draws(generator: np.random.Generator, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    uniform = generator.random((1, 3, 1, 1), dtype=np.float32)
    normal = generator.standard_normal((1, 3, *size), dtype=np.float32)
    return torch.from_numpy(uniform), torch.from_numpy(normal)
