"""Tone mapping: an operator chosen once, learned or classical, then any HDR image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.registry.tables import EVERY_OPERATOR, LEARNED
from hdrlab.config.schema.section import nearest
from hdrlab.errors import CheckpointError, OperatorError, WeightsError
from hdrlab.inference.arrays import to_hdr
from hdrlab.inference.load import (
    TONE_MAPPING,
    find_weights,
    free_memory,
    lacks_memory,
    pick_device,
    pick_precision,
)
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.heap import kept_pages
from hdrlab.ops.panorama import wrap_twice
from hdrlab.tonemapping import OPERATORS, check_settings, missing, tone_map_classically
from hdrlab.tonemapping.display import to_display

if TYPE_CHECKING:
    from hdrlab.inference.arrays import ImageLike
    from hdrlab.inference.load import Weights
    from hdrlab.nets import Net
    from hdrlab.pipeline.iqatm import Normalization, ToneInput
    from hdrlab.pipeline.resizing import ProcedureName

STRIPS = 50e6
"""Bytes that classical operators take for the strips that they work on."""
BLACKEST = 1 / 510  # rounds to 0 in 8 bits below
REMEDY = "and the nets see an image as a whole; take a classical operator or make it smaller"
IMAGE_BYTES, NET_BYTES = 70, 130
"""Peak need per pixel in float32 on a CPU: of the images, and of the nets at full width."""


class ToneMapper:
    """Makes images that a display shows of HDR images: ``ToneMapper.load("reinhard")(hdr)``.

    Args:
        name: What the operator is called.
        apply: From linear pixels [H, W, 3], at least 0, to display-encoded ones in [0, 1]; asked to with
            ``panorama=True`` it continues them round their edges.
        caption: What it is, in a few words.
        fingerprint: Digest of its nets, or of the plug-in that it is of; empty without.
    """

    def __init__(
        self,
        name: str,
        apply: Callable[..., NDArray[np.float32]],
        caption: str = "",
        fingerprint: str = "",
    ) -> None:
        self.name, self.apply, self.caption, self.fingerprint = name, apply, caption, fingerprint

    @classmethod
    def load(
        cls,
        operator: str = LEARNED,
        weights: Weights = None,
        *,
        procedure: str = "auto",
        normalize: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        runs: str | os.PathLike[str] = "runs",
        settings: Mapping[str, Any] | None = None,
        compress: bool = True,
        **more: Any,
    ) -> ToneMapper:
        """Make an operator ready.

        Args:
            operator: A key of `hdrlab.tonemapping.OPERATORS`; or ``iqatm``, the learned one, for which alone
                the following are.
            weights: A checkpoint of a training, a file of `hdrlab.import_weights`, a folder of such files, or
                several of these; ``compact``, which come with the package, as does None; or the name of a
                data set, whose published one is meant.
            procedure: ``default`` takes any size, ``official`` crops to multiples of 8; ``auto`` takes
                official for the authors' weights.
            normalize: How the output is stretched, a key of `hdrlab.pipeline.iqatm.NORMALIZATIONS`;
                ``auto``: as for the training.
            device: auto, cpu, cuda or mps.
            precision: What the nets compute in: ``32``, ``bf16``, or ``auto``, bf16 where the device has it.
            runs: The folder of run folders and published checkpoints.
            settings: Of the operator, by their names: ``{"exposure": 1, "key": 0.3}``; see
                `hdrlab.tonemapping.tone_map_classically`.
            compress: See `hdrlab.tonemapping.display.to_display`.
            **more: Further settings, as keywords: ``ToneMapper.load("drago", bias=0.9)``.

        Raises:
            OperatorError: There is no such operator or setting, an extra is missing, or weights are given for
                one without nets.
            WeightsError: A net is missing, a file cannot be used, or none is published.
            ResourceError: The device is not there.
        """
        settings = {**(settings or {}), **more}
        if operator == LEARNED:
            nets = ToneNets.load(weights, procedure, normalize, device, precision, runs)
            apply = partial(_learned, nets, check_settings(LEARNED, (), settings))
            return cls(LEARNED, apply, _caption("Guo 2021, learned", settings), nets.fingerprint)
        if not isinstance(operator, str):
            raise OperatorError(f"operator {operator!r}: must be one name; load a ToneMapper for each")
        if operator not in OPERATORS:
            near = nearest(operator, EVERY_OPERATOR)
            raise OperatorError(f"operator {operator!r}: must be {' | '.join(EVERY_OPERATOR)}{near}")
        if reason := missing(operator):
            raise OperatorError(reason)
        if weights is not None:
            raise OperatorError(f"{operator} has no nets; leave the weights out, or take {LEARNED}")
        row = OPERATORS[operator]
        check_settings(operator, [*row.defaults], settings)
        apply = partial(tone_map_classically, operator, settings=settings, compress=compress)
        return cls(operator, apply, _caption(row.summary, settings), OPERATORS.version(operator))

    def __call__(self, hdr: ImageLike, *, panorama: bool = False) -> NDArray[np.float32]:
        """Tone-map an HDR image.

        Args:
            hdr: A linear float array [H, W, 3] in any unit and of any size, values below 0 taken as 0; a
                tensor, an `hdrlab.io.Image`, or the path of a file, see `hdrlab.inference.arrays`.
            panorama: Whether its left and right edge are neighbours; nets take twice the memory.

        Returns:
            Display-encoded (sRGB) float32 [H, W, 3] in [0, 1].

        Raises:
            ImageError: It is no HDR image.
            OperatorError: The operator cannot show it.
        """
        pixels = to_hdr(hdr).pixels
        if self.name in OPERATORS:
            _require_memory(OPERATORS[self.name].memory, pixels)
        shown = self.apply(pixels, panorama=True) if panorama else self.apply(pixels)
        if pixels.any() and shown.max() < BLACKEST:
            raise OperatorError("comes out black; take another operator")
        return shown


def _learned(
    nets: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    settings: Mapping[str, Any],
    hdr: NDArray[np.float32],
    *,
    panorama: bool = False,
) -> NDArray[np.float32]:
    doubled, own = wrap_twice(hdr) if panorama else (hdr, slice(None))
    return adjusted(np.ascontiguousarray(nets(doubled)[:, own]), settings)


def _require_memory(bytes_a_pixel: int, pixels: NDArray[np.float32]) -> None:
    """Refuse what Linux would grant and then kill the program for."""
    need = bytes_a_pixel * pixels.shape[0] * pixels.shape[1] + STRIPS
    if need > (free := free_memory()):
        least = min(OPERATORS, key=lambda name: OPERATORS[name].memory)
        remedy = (
            f"take {least}, which needs least"
            if bytes_a_pixel > OPERATORS[least].memory
            else "make it smaller"
        )
        amounts = f"{need / 1e9:.1f} GB of memory beside the image, {free / 1e9:.1f} GB are free"
        raise OperatorError(f"needs {amounts}; {remedy}")


def adjusted(shown: NDArray[np.float32], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Adjust a display-encoded image [H, W, 3] by settings of `hdrlab.tonemapping.display.to_display`."""
    return to_display(srgb_decode(shown), **settings) if settings else shown


def _caption(summary: str, settings: Mapping[str, Any]) -> str:
    shown = {n: f"{value:g}" if isinstance(value, float) else value for n, value in settings.items()}
    return ", ".join((summary, *(f"{name} {value}" for name, value in shown.items())))


class ToneNets:
    """IQATM, ready to work: from linear pixels [H, W, 3] to display-encoded ones."""

    def __init__(
        self,
        nets: Mapping[str, Net],
        tone: ToneInput,
        procedure: str,
        normalize: str,
        device: str,
        precision: str = "auto",
    ) -> None:
        from hdrlab.nets import SYSTEMS
        from hdrlab.weights.net_file import fingerprint

        if lacking := [name for name in SYSTEMS["IQATM"] if name not in nets]:
            raise WeightsError(f"holds no {' and no '.join(lacking)} net")
        if procedure == "auto":
            procedure = "official" if nets["tmo_merge"].preset == "official" else "default"
        on = pick_device(device)
        normalize = tone.stretch if normalize == "auto" else normalize
        half = pick_precision(precision, on)
        self.nets = {name: nets[name].to(on) for name in SYSTEMS["IQATM"]}
        for net in self.nets.values():
            net.autocast = half
        self.tone = tone
        self.procedure, self.normalize = cast("ProcedureName", procedure), cast("Normalization", normalize)
        self.fingerprint = fingerprint(self.nets, asdict(tone), procedure, normalize, str(half))

    @classmethod
    def load(
        cls,
        weights: Weights,
        procedure: str,
        normalize: str,
        device: str,
        precision: str,
        runs: str | os.PathLike[str],
    ) -> ToneNets:
        """Load the nets, see `ToneMapper.load`."""
        from hdrlab.weights.net_file import load_nets

        files = find_weights(weights, TONE_MAPPING, runs)
        nets = load_nets(files)
        try:
            return cls(nets, _trained_with(files), procedure, normalize, device, precision)
        except WeightsError as error:
            raise WeightsError(f"{', '.join(map(str, files))}: {error}") from error

    def __call__(self, hdr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Tone-map an image.

        Raises:
            OperatorError: It does not fit into memory, or is too small for the procedure.
        """
        import torch

        from hdrlab.pipeline.iqatm import tone_map

        device = next(self.nets["tmo_bottom"].parameters()).device
        if device.type == "cpu":
            self._require_memory(hdr.shape[0] * hdr.shape[1])
        image = torch.from_numpy(np.ascontiguousarray(hdr)).to(device).permute(2, 0, 1)[None]
        options: dict[str, Any] = {"procedure": self.procedure, "normalize": self.normalize}
        try:
            with kept_pages():
                shown = tone_map(image, self.nets, tone=self.tone, **options)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            raise OperatorError(f"does not fit into memory, {REMEDY}") from error
        return cast("NDArray[np.float32]", shown[0].permute(1, 2, 0).contiguous().cpu().numpy())

    def _require_memory(self, num_pixels: int) -> None:
        """Refuse what Linux would grant and then kill the program for."""
        width = cast("float", self.nets["tmo_merge"].options.get("width", 1))
        need = num_pixels * (IMAGE_BYTES + NET_BYTES * width)
        if need > (free := free_memory()):
            raise OperatorError(
                f"needs {need / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free, {REMEDY}"
            )


def _trained_with(files: Sequence[Path]) -> ToneInput:
    """Read what the nets were trained to see from what their files say; imported nets say nothing.

    Raises:
        WeightsError: Checkpoints differ in it.
    """
    from hdrlab.pipeline.iqatm import ToneInput

    inside = [one for file in files for one in (sorted(file.iterdir()) if file.is_dir() else [file])]
    stated = {file: tone for file in inside if (tone := _tone_of(file))}
    if len(set(stated.values())) > 1:
        lines = "; ".join(f"{file}: {asdict(tone)}" for file, tone in stated.items())
        raise WeightsError(f"nets trained on differently encoded images do not work together: {lines}")
    return next(iter(stated.values()), ToneInput())


def _tone_of(file: Path) -> ToneInput | None:
    from hdrlab.pipeline.iqatm import ToneInput
    from hdrlab.training.checkpoints import read_checkpoint
    from hdrlab.weights.net_file import read_header

    stored: Mapping[str, Any]
    try:
        stored = read_header(file)["source"]["tone"]
    except (WeightsError, KeyError, TypeError):
        try:
            stored = read_checkpoint(file)["hyper_parameters"]["tone"]
        except (CheckpointError, KeyError):
            return None  # a file that says nothing, or of another system: the nets are loaded by now
    return ToneInput(**{one.name: stored[one.name] for one in fields(ToneInput) if one.name in stored})
