"""What makes the frames of a shot go together: one response curve, and masks and gains that move slowly.

Noise makes pixels near white cross the mask's threshold to and fro, and a net that sees each frame anew gives
each another gain; multiplied by ten, both show. Here the mask is judged on a mean of frames, and the gains
are a mean themselves, both taken recursively along the motion. Where a pixel was hidden before, or the scene
has changed, the means begin anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.inference.video.motion import matched, motion, unseen, warp
from hdrlab.nets.compact import CompactHallucinationNet
from hdrlab.ops.colour import luminance
from hdrlab.ops.heap import kept_pages
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response import apply_response
from hdrlab.pipeline.resizing import Procedure
from hdrlab.pipeline.singlehdr import brighten
from hdrlab.pipeline.tiling import dequantize_tiled
from hdrlab.tonemapping import OPERATORS
from hdrlab.tonemapping.display import into_gamut
from hdrlab.tonemapping.scene import Scene

if TYPE_CHECKING:
    from hdrlab.inference.hdr_files import Developed
    from hdrlab.inference.reconstructor import Reconstructor
    from hdrlab.inference.tone_mapper import ToneMapper

GUIDE_SECONDS, GAIN_SECONDS, SCENE_SECONDS = 0.5, 2.0, 1.0
"""Time constants of the means: of frames, of gains, and of what an operator knows of the scene."""

MOVING_GAIN_SECONDS = 0.2
"""That of gains where the scene moves, and shows other things. The mean frame is the frame itself there:
fetching between pixels, over and over, would blur it."""

CHANGED = 6 / 255
"""Difference from the mean, of the mean about a pixel, with which it begins anew."""

CAMERA_MOVES = 0.25
"""Share of the blocks that move from which all do: in a sky without texture nothing says so."""

BRIGHT = 0.88
"""Light, 1 = the clipping point, from which highlights are masked."""

LIT = 0.3
"""Difference of a block's mask that noise makes."""

_ABOUT = 5
_BLOCK = 16
State = dict[str, Tensor]


class Maker(Protocol):
    """Makes one frame after another of a shot."""

    @property
    def curve(self) -> Tensor | None:
        """The shot's inverse response [1, 1024]; None: there is none."""
        ...

    def begin(self, frames: Iterable[Tensor]) -> None:
        """Begin a shot, of which some frames spread over it are given."""
        ...

    def __call__(self, frame: Tensor) -> Tensor:
        """Make the next frame, [1, 3, H, W] to [1, 3, H, W]."""
        ...

    def state(self) -> State:
        """Return what the next frame depends on."""
        ...

    def resume(self, state: State) -> None:
        """Go on from what `state` returned."""
        ...


class EachAlone:
    """Frames as photographs, each for itself.

    Args:
        make: From a frame [1, 3, H, W] to what it becomes, likewise.
    """

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self._make = make
        self.curve: Tensor | None = None

    def begin(self, frames: Iterable[Tensor]) -> None:
        """Nothing is common to the frames."""

    def __call__(self, frame: Tensor) -> Tensor:
        """As `Maker` says."""
        return self._make(frame)

    def state(self) -> State:
        """As `Maker` says."""
        return {}

    def resume(self, state: State) -> None:
        """As `Maker` says."""


def developed_alone(develop: Callable[..., Developed]) -> EachAlone:
    """Make each frame by what develops photographs, `hdrlab.Reconstructor.develop` or an `Expander`'s."""
    return EachAlone(lambda frame: frame_tensor(develop(frame_pixels(frame)).hdr))


class Scaled:
    """Finds one factor for all frames of a shot beside what another makes of them.

    Args:
        maker: The other.
        factor_of: Finds a frame's, from linear pixels [H, W, 3].
    """

    def __init__(self, maker: Maker, factor_of: Callable[[np.ndarray], float]) -> None:
        self._maker, self._factor_of, self.factor = maker, factor_of, 1.0

    @property
    def curve(self) -> Tensor | None:
        """As `Maker` says."""
        return self._maker.curve

    def begin(self, frames: Iterable[Tensor]) -> None:
        """Take the median of the factors of some frames."""
        frames = list(frames)
        self._maker.begin(frames)
        self.factor = float(
            np.median([self._factor_of(frame_pixels(self._maker(frame))) for frame in frames])
        )
        self._maker.begin(frames)

    def __call__(self, frame: Tensor) -> Tensor:
        """As `Maker` says; the factor is not applied."""
        return self._maker(frame)

    def state(self) -> State:
        """As `Maker` says."""
        return {**self._maker.state(), "factor": torch.tensor(self.factor, dtype=torch.float64)}

    def resume(self, state: State) -> None:
        """As `Maker` says."""
        state = dict(state)
        self.factor = float(state.pop("factor"))
        self._maker.resume(state)


class SteadyReconstructor:
    """Makes HDR frames by the compact nets.

    Args:
        reconstructor: The nets.
        rate: Frames a second.
    """

    def __init__(self, reconstructor: Reconstructor, rate: float) -> None:
        self._nets: Mapping[str, nn.Module] = reconstructor.nets
        self._memory, self._procedure = reconstructor.memory, reconstructor.procedure
        self._device = next(self._nets["linearization"].parameters()).device
        self._guide_share = _share(GUIDE_SECONDS, rate)
        self._gain_shares = _share(GAIN_SECONDS, rate), _share(MOVING_GAIN_SECONDS, rate)
        self.curve: Tensor | None = None
        self._state: State = {}

    @staticmethod
    def serves(reconstructor: Reconstructor) -> bool:
        """Say whether these nets give gains that can be made steady."""
        return isinstance(reconstructor.nets["hallucination"], CompactHallucinationNet)

    @torch.no_grad()
    def begin(self, frames: Iterable[Tensor]) -> None:
        """Estimate the shot's curve: at each level the median of what the frames say."""
        curves = [self._nets["linearization"](self._dequantized(frame)).cpu() for frame in frames]
        self.curve = torch.cat(curves).median(dim=0, keepdim=True).values
        self._state = {}

    @torch.no_grad()
    def __call__(self, frame: Tensor) -> Tensor:
        """Make the next frame: linear, 1 = the clipping point."""
        assert self.curve is not None, "a shot begins first"
        with kept_pages():
            sizes = Procedure(self._procedure, *frame.shape[-2:])
            fresh = self._dequantized(frame)
            curve = self.curve.to(self._device)
            judged, gain = self._carried(fresh, curve)
            linear = apply_response(fresh, curve)
            net = cast("CompactHallucinationNet", self._nets["hallucination"])
            alpha = highlight_mask(judged, net.mask_width)
            # What is clipped says nothing of its own: its codes' noise, times the gain, would only flicker.
            linear = torch.lerp(linear, judged, 1 - (1 - alpha) ** 3)
            gain = F.interpolate(gain, fresh.shape[-2:], mode="bilinear", align_corners=False)
            return sizes.undo(brighten(linear, alpha, gain, guide=judged)).clamp(min=0).cpu()

    def _carried(self, fresh: Tensor, curve: Tensor) -> tuple[Tensor, Tensor]:
        """Bring the means to the present frame; return the linear mean frame and the gains' logarithms."""
        small, lit = matched(fresh.mean(dim=1, keepdim=True)), _lit(fresh, curve)
        before = self._state
        if not before:
            guide, judged = fresh, apply_response(fresh, curve)
            gain = self._field(judged)
        else:
            flow = motion(before["small"], small)
            carried = warp(before["guide"], flow)
            anew = torch.maximum(changed(carried, fresh), unseen(flow, fresh.shape[-2:]))
            moving = (flow.abs().amax(dim=1, keepdim=True) > 0).to(flow.dtype)
            again = torch.maximum(anew, F.interpolate(moving, fresh.shape[-2:], mode="nearest"))
            guide = torch.lerp(carried, fresh, again.clamp(min=self._guide_share))
            judged = apply_response(guide, curve)
            gain = self._field(judged)
            size = (gain.shape[-2], gain.shape[-1])
            slow, quick = self._gain_shares
            if moving.mean() > CAMERA_MOVES:
                moving = torch.ones_like(moving)
            share = slow + (quick - slow) * F.adaptive_avg_pool2d(moving, size)
            share = torch.maximum(share, F.adaptive_avg_pool2d(anew, size))
            share = torch.maximum(share, _lit_otherwise(before["lit"], lit, flow))
            gain = torch.lerp(warp(before["gain"], flow), gain, share)
        self._state = {"small": small, "guide": guide, "gain": gain, "lit": lit}
        return judged, gain

    def _field(self, judged: Tensor) -> Tensor:
        """Return the logarithms of gains; below 0, which counts as 0, their mean would take long to rise."""
        net = cast("CompactHallucinationNet", self._nets["hallucination"])
        return net.field(judged).float().clamp(min=0)

    def _dequantized(self, frame: Tensor) -> Tensor:
        fitted = Procedure(self._procedure, *frame.shape[-2:]).fit(frame)
        return dequantize_tiled(self._nets["dequantization"], fitted, self._memory).to(self._device)

    def state(self) -> State:
        """As `Maker` says."""
        assert self.curve is not None
        return {name: value.cpu() for name, value in self._state.items()} | {"curve": self.curve}

    def resume(self, state: State) -> None:
        """As `Maker` says."""
        state = dict(state)
        self.curve = state.pop("curve")
        self._state = {name: value.to(self._device) for name, value in state.items()}


class SteadyToneMapper:
    """Makes SDR frames of light, what an operator knows of the scene moving slowly.

    A global operator gets the mean of the last frames' averages and peaks. Of local and learned ones the gain
    is held: the mean logarithm by which they change the luminance of a block of 16 pixels moves slowly along
    the motion.

    Args:
        mapper: The operator.
        rate: Frames a second.
    """

    def __init__(self, mapper: ToneMapper, rate: float) -> None:
        self._mapper, self._share = mapper, _share(SCENE_SECONDS, rate)
        self._is_global = mapper.name in OPERATORS and OPERATORS[mapper.name].is_global
        self.curve: Tensor | None = None
        self._state: State = {}

    def begin(self, frames: Iterable[Tensor]) -> None:
        """Begin a shot; nothing of the one before counts."""
        self._state = {}

    @torch.no_grad()
    def __call__(self, frame: Tensor) -> Tensor:
        """Make the next frame: display-encoded sRGB in [0, 1]."""
        light = frame.clamp(min=0)
        pixels = frame_pixels(light)
        scene = self._scene(pixels)
        if self._is_global:
            return frame_tensor(self._mapper.apply(pixels, scene=scene))
        return self._held(light, frame_tensor(self._mapper.apply(pixels)), scene)

    def _scene(self, pixels: np.ndarray) -> Scene:
        """Bring the mean of what is known of the scene to the present frame."""
        now = Scene.of(pixels)
        logarithms = (
            torch.tensor((now.average, now.brightest, now.peak), dtype=torch.float64).clamp(min=1e-30).log()
        )
        mean = torch.lerp(self._state.get("scene", logarithms), logarithms, self._share)
        self._state["scene"] = mean
        return Scene(*mean.exp().tolist())

    def _held(self, light: Tensor, shown: Tensor, scene: Scene) -> Tensor:
        """Let an operator's local gain move slowly; ``shown`` is what it made of the frame."""
        from hdrlab.ops.colour import srgb_decode, srgb_encode

        bright, display = luminance(light), srgb_decode(shown)
        seen = (bright / (bright + scene.average)).sqrt()
        gain = (luminance(display) + 1e-4).log() - (bright / scene.average + 1e-4).log()
        size = (max(1, light.shape[-2] // _BLOCK), max(1, light.shape[-1] // _BLOCK))
        gain, small = F.adaptive_avg_pool2d(gain, size), matched(seen)
        held = gain
        if "gain" in self._state:
            flow = motion(self._state["small"], small)
            anew = changed(warp(self._state["small"], flow), small)
            anew = torch.maximum(anew, unseen(flow, small.shape[-2:]))
            share = F.adaptive_avg_pool2d(anew, size).clamp(min=self._share)
            held = torch.lerp(warp(self._state["gain"], flow), gain, share)
        self._state |= {"small": small, "gain": held}
        factor = F.interpolate(held - gain, light.shape[-2:], mode="bilinear", align_corners=False).exp()
        return srgb_encode(frame_tensor(into_gamut(frame_pixels(display * factor))))

    def state(self) -> State:
        """As `Maker` says."""
        return dict(self._state)

    def resume(self, state: State) -> None:
        """As `Maker` says."""
        self._state = dict(state)


def changed(carried: Tensor, fresh: Tensor) -> Tensor:
    """Say where a frame is not what was carried to it: hidden before, or lit differently.

    Args:
        carried: Display-encoded [1, C, H, W].
        fresh: Likewise.

    Returns:
        [1, 1, H, W] from 0 to 1, which noise, alike on both sides of the mean, hardly raises.
    """
    difference = F.avg_pool2d(fresh - carried, _ABOUT, 1, _ABOUT // 2, count_include_pad=False)
    return (difference.abs().amax(dim=1, keepdim=True) / CHANGED).square().clamp(max=1)


def _lit(fresh: Tensor, curve: Tensor) -> Tensor:
    """Return how much of a highlight each block of a frame holds, from 0 to 1, [1, 1, h, w]."""
    bright = float((curve[0] < BRIGHT).sum() / curve.shape[1])  # the encoded value from which they count
    mask = (fresh.amax(dim=1, keepdim=True) - bright).clamp(min=0) / (1.001 - bright)
    return F.max_pool2d(mask, _BLOCK, ceil_mode=True).clamp(max=1)


def _lit_otherwise(before: Tensor, now: Tensor, flow: Tensor) -> Tensor:
    """Say which share of the highlights came or went: what a net makes of all of them depends on it."""
    came = (now - warp(before, flow)).abs()
    return ((came - LIT).clamp(min=0).mean() / now.mean().clamp(min=1e-3)).clamp(max=1)


def _share(seconds: float, rate: float) -> float:
    """Return what the present frame counts in a recursive mean with this time constant."""
    return 1 - math.exp(-1 / max(seconds * rate, 1e-6))


def frame_pixels(frame: Tensor) -> np.ndarray:
    """Return a frame [1, 3, H, W] as pixels [H, W, 3]."""
    pixels: np.ndarray = np.ascontiguousarray(frame[0].permute(1, 2, 0).numpy())
    return pixels


def frame_tensor(pixels: np.ndarray) -> Tensor:
    """Return pixels [H, W, 3] as a frame [1, 3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None].contiguous()
