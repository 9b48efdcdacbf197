"""What the samples of a file mean, by its ICC profile, code points or gamma, and their conversion to sRGB.

Profiles that are a matrix with a curve for each channel are applied here at every bit depth and without a
bound; those with tables go through Little CMS.

Source: ICC.1:2022 (profiles), ITU-T H.273 (code points).
"""

from __future__ import annotations

import functools
import importlib.util
import io
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import install
from hdrlab.io.image import Domain, Image, as_rgb
from hdrlab.ops.colour import srgb_decode, srgb_encode
from hdrlab.ops.colour_spaces import (
    ADOBE_RGB,
    CODED_CURVES,
    CODED_PRIMARIES,
    D65,
    HLG_CODE,
    PQ_CODE,
    REC709,
    SPACES,
    Curve,
    Matrix,
    Primaries,
    adaptation,
    conversion,
    convert,
    gamma_curve,
    hlg_curve,
    linear_curve,
    to_xyz,
    white_xyz,
)

_D50_XYZ = np.array([0.9642, 1.0, 0.8249])  # of the profile connection space
_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
_MODES = {1: ("L", "gray"), 3: ("RGB", "rgb"), 4: ("CMYK", "cmyk")}
_MOST_TAGS = 100
_HEADER = 128
_ROWS = 512
_SAME = 0.004  # one of 256 levels


class ProfileError(ValueError):
    """An ICC profile that cannot be applied to these samples; the text says why."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """What samples, scaled to [0, 1], mean.

    Attributes:
        name: What messages call it.
        curve: From samples [..., 3] to linear values of the file's primaries.
        matrix: From there to linear Rec. 709.
        hdr: "PQ" or "HLG", whose curves give light in cd/m²; "" for what is relative to a white.
        tables: The profile, where only Little CMS can apply it; `curve` and `matrix` are then void.
        by_channel: Whether the curve takes each channel by itself.
    """

    name: str
    curve: Curve
    matrix: Matrix
    hdr: Literal["", "PQ", "HLG"] = ""
    tables: bytes = b""
    by_channel: bool = True

    @functools.cached_property
    def is_srgb(self) -> bool:
        """Whether taking the samples as sRGB is right to within a level of 256."""
        if self.tables or self.hdr:
            return False
        axis = np.linspace(0, 1, 9)
        samples = np.stack(np.meshgrid(axis, axis, axis), axis=-1)
        light = convert(self.curve(samples), self.matrix)
        return bool(np.abs(srgb_encode(light.clip(0, None)) - samples).max() < _SAME)


SRGB = Encoding("sRGB", srgb_decode, np.eye(3))
LINEAR = Encoding("linear Rec. 709", linear_curve, np.eye(3))
_INK = Encoding("plain ink", linear_curve, np.eye(3))

Statement = Callable[[], Encoding | None]
"""Something that a file says of its colours: what it means, or None if nothing, or ProfileError."""


# ------------------------------------------------------------------------------------ what files say


def from_primaries(name: str, curve: Curve, primaries: Primaries) -> Encoding:
    """Build the encoding of an RGB space.

    Raises:
        ProfileError: The primaries make no space.
    """
    try:
        return Encoding(name, curve, conversion(primaries))
    except ValueError as error:
        raise ProfileError(str(error)) from error


def from_code_points(primaries: int, transfer: int) -> Encoding | None:
    """Build the encoding that code points of H.273 stand for; unspecified ones count as sRGB's.

    Returns:
        The encoding, or None if nothing is specified, or something by a number without a meaning.
    """
    if (primaries, transfer) == (2, 2):
        return None
    space = CODED_PRIMARIES.get(1 if primaries == 2 else primaries)
    transfer = 13 if transfer == 2 else transfer
    if space is None:
        return None
    curve = hlg_curve(space) if transfer == HLG_CODE else CODED_CURVES.get(transfer)
    if curve is None:
        return None
    hdr: Literal["", "PQ", "HLG"] = "PQ" if transfer == PQ_CODE else "HLG" if transfer == HLG_CODE else ""
    name = f"{hdr}, code points {primaries}/{transfer}".removeprefix(", ")
    return Encoding(name, curve, conversion(space), hdr, by_channel=not hdr)


def from_gamma(gamma: float | None, primaries: Primaries | None) -> Encoding:
    """Build the encoding of a gamma (2.2: light is the samples' power of 2.2) and primaries; None: sRGB's.

    A gamma of 2.2 with the primaries of Rec. 709 is how programs that know no better write sRGB.

    Raises:
        ProfileError: They make no space.
    """
    space = primaries or REC709
    plain = gamma is None or (space.is_near(REC709) and abs(gamma - 2.2) < 0.01)
    if gamma is not None and not 0.1 <= gamma <= 10:
        raise ProfileError(f"a gamma of {gamma:g}")
    curve = srgb_decode if plain or gamma is None else gamma_curve(gamma)
    name = "sRGB" if plain and space.is_near(REC709) else f"gamma {gamma or 2.2:.3g}"
    return from_primaries(name if space.is_near(REC709) else f"{name}, own primaries", curve, space)


def from_exif(
    colour_space: Any,
    interop_index: Any,
    chromaticities: tuple[Any, Any],
    gamma: Any,
    transfer: Any = None,
) -> Encoding | None:
    """Build the encoding that Exif or TIFF's own tags declare: Adobe RGB as cameras do (DCF 2.0), or in full.

    Args:
        colour_space: Tag ColorSpace: 1 is sRGB, 65535 something else, 2 Adobe RGB to some cameras.
        interop_index: R03 stands for Adobe RGB, R98 for sRGB.
        chromaticities: Tags PrimaryChromaticities and WhitePoint.
        gamma: Tag Gamma.
        transfer: Tag TransferFunction: light in 0..65535 for every level, of each channel or all.

    Returns:
        The encoding, or None where they say sRGB or nothing. What is no number there counts as nothing.

    Raises:
        ProfileError: The primaries make no space.
    """
    if colour_space == 1:
        return None
    curve = _transfer_curve(transfer)
    try:
        primaries = Primaries.of([float(value) for part in chromaticities for value in part])
        stated = from_gamma(float(gamma or 2.2), primaries)
        return replace(stated, name="primaries by Exif", curve=curve or stated.curve)
    except (TypeError, ValueError, ArithmeticError):
        pass
    if isinstance(interop_index, bytes):
        interop_index = interop_index.decode("ascii", "replace")
    if colour_space == 2 or str(interop_index).strip("\0 ") == "R03":
        return replace(from_gamma(563 / 256, ADOBE_RGB), name="Adobe RGB by Exif")
    return None if curve is None else from_primaries("transfer function of the header", curve, REC709)


def _transfer_curve(table: Any) -> Curve | None:
    """Make a curve of the tag TransferFunction; None where it is no table of rising values."""
    try:
        values = np.array(table, np.float64) / 65535
        channels = values.reshape(3 if values.size % 3 == 0 else 1, -1)
    except (TypeError, ValueError):
        return None
    levels = channels.shape[1]
    if levels < 16 or levels & (levels - 1) or np.any(np.diff(channels) < 0) or channels[:, -1].min() <= 0:
        return None
    curves = [functools.partial(_sampled, channel) for channel in channels]
    return curves[0] if len(curves) == 1 else functools.partial(_by_channel, curves)


def from_lab(curve: Curve) -> Encoding:
    """Build the encoding of CIELAB with white D50; the curve gives L* in 0..100, a* and b*."""
    return Encoding("CIELAB", lambda samples: _from_lab(curve(samples)), _from_d50(), by_channel=False)


def _from_lab(lab: NDArray[Any]) -> NDArray[Any]:
    """Turn L*, a* and b* [..., 3] into XYZ of which Y is 1 for white."""
    middle = (lab[..., 0] + 16) / 116
    roots = np.stack([middle + lab[..., 1] / 500, middle, middle - lab[..., 2] / 200], axis=-1)
    xyz = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * _D50_XYZ
    return np.asarray(xyz, lab.dtype)


def _from_d50() -> Matrix:
    """Return the matrix from XYZ under D50 to linear Rec. 709."""
    return np.linalg.inv(to_xyz(REC709)) @ adaptation(_D50_XYZ, white_xyz(D65))


def with_range(encoding: Encoding, bits: int) -> Encoding:
    """Return an encoding for samples of narrow range: black at 16 · 2^(n−8), white at 235 · 2^(n−8)."""
    unit = (1 << (bits - 8)) / ((1 << bits) - 1)
    curve = encoding.curve
    return replace(encoding, curve=lambda samples: curve((samples - 16 * unit) / (219 * unit)))


# ------------------------------------------------------------------------------------- ICC profiles


def from_icc(profile: bytes, num_channels: int) -> Encoding:
    """Read an ICC profile.

    Args:
        profile: As it is embedded.
        num_channels: Of the samples that it is to be applied to: 1, 3 or 4. Grey takes an RGB profile too.

    Raises:
        ProfileError: It is damaged, or of another kind than the samples.
    """
    tags = _tags(profile)
    space = profile[16:20]
    if space not in _CHANNELS or num_channels not in {_CHANNELS[space], 1 if space == b"RGB " else 0}:
        kind = space.decode("ascii", "replace").strip()
        raise ProfileError(f"a profile for {kind} on samples of {num_channels} channels")
    name = f"{_description(tags.get(b'desc', b'')) or 'nameless'} (ICC profile)"
    code_points = tags.get(b"cicp", b"")
    if code_points[:4] == b"cicp" and len(code_points) >= 10 and code_points[9] in (PQ_CODE, HLG_CODE):
        meant = from_code_points(code_points[8], code_points[9])
        if meant is not None:
            return meant
    if space == b"CMYK" or any(tag[:3] == b"A2B" for tag in tags):
        return Encoding(name, linear_curve, np.eye(3), tables=profile)
    if space == b"GRAY":
        return Encoding(name, _curve(tags, b"kTRC"), np.eye(3))
    curves = [_curve(tags, tag) for tag in (b"rTRC", b"gTRC", b"bTRC")]
    to_connection = np.stack([_xyz(tags, tag) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
    matrix = _from_d50() @ to_connection
    if np.allclose(matrix, np.eye(3), rtol=0, atol=1e-3):  # more than profiles of Rec. 709 differ by
        matrix = np.eye(3)
    same = len({tags[tag] for tag in (b"rTRC", b"gTRC", b"bTRC")}) == 1
    return Encoding(name, curves[0] if same else functools.partial(_by_channel, curves), matrix)


def _by_channel(curves: Sequence[Curve], samples: NDArray[Any]) -> NDArray[Any]:
    return np.stack([curve(samples[..., channel]) for channel, curve in enumerate(curves)], axis=-1)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    if len(profile) < _HEADER + 4 or profile[36:40] != b"acsp":
        raise ProfileError("a damaged profile")
    count = int.from_bytes(profile[_HEADER : _HEADER + 4])
    entries = profile[_HEADER + 4 : _HEADER + 4 + 12 * min(count, _MOST_TAGS)]
    if count > _MOST_TAGS or len(entries) < 12 * count:
        raise ProfileError("a damaged profile")
    tags = {}
    for tag, offset, size in struct.iter_unpack(">4sII", entries):
        tags[tag] = profile[offset : offset + size]
        if len(tags[tag]) < size:
            raise ProfileError("a damaged profile, cut short")
    return tags


def _xyz(tags: dict[bytes, bytes], name: bytes) -> NDArray[np.float64]:
    value = tags.get(name, b"")
    if value[:4] != b"XYZ " or len(value) < 20:
        raise ProfileError(f"a profile without {name.decode()}")
    return np.array(struct.unpack(">3i", value[8:20])) / 65536


def _curve(tags: dict[bytes, bytes], name: bytes) -> Curve:
    value = tags.get(name, b"")
    kind, body = value[:4], value[8:]
    try:
        if kind == b"curv":
            count = int.from_bytes(body[:4])
            table = np.frombuffer(body, ">u2", count, 4)
            if count <= 1:
                return gamma_curve(table[0] / 256 if count else 1.0)
            return functools.partial(_sampled, table / 65535)
        if kind == b"para":
            function = int.from_bytes(body[:2])
            numbers = np.frombuffer(body, ">i4", (1, 3, 4, 5, 7)[function], 4) / 65536
            return functools.partial(_parametric, function, numbers)
    except (ValueError, IndexError) as error:
        raise ProfileError("a damaged profile") from error
    raise ProfileError(f"a profile without a curve {name.decode()}")


def _sampled(table: NDArray[np.float64], samples: NDArray[Any]) -> NDArray[Any]:
    """Look up a sampled curve; beyond 1 it goes on as the power that it ends with, below 0 it is odd."""
    size = np.abs(samples)
    within = np.interp(size, np.linspace(0, 1, len(table)), table)
    step = 1 / (len(table) - 1)
    last, before = table[-1], max(table[-2], 1e-9)
    exponent = np.log(last / before) / -np.log1p(-step) if len(table) > 2 and last > before else 1.0
    beyond = last * np.maximum(size, 1.0) ** exponent
    light: NDArray[Any] = np.copysign(np.where(size > 1, beyond, within), samples).astype(samples.dtype)
    return light


def _parametric(function: int, numbers: NDArray[np.float64], samples: NDArray[Any]) -> NDArray[Any]:
    """Compute a parametric curve (ICC.1:2022, table 68), odd below 0."""
    g, a, b, c, d, e, f = np.pad(numbers, (0, 7 - len(numbers)))
    if function == 0:
        a, d = 1.0, -1.0
    elif function in (1, 2):  # constant, c, below −b / a
        d, e, c, f = -b / a if a else 0.0, c, 0.0, c
    size = np.abs(samples)
    power = np.maximum(a * size + b, 0) ** g + e
    light: NDArray[Any] = np.copysign(np.where(size >= d, power, c * size + f), samples).astype(samples.dtype)
    return light


def _description(value: bytes) -> str:
    """The profile's name: text of version 2, or the first of the names of version 4."""
    if value[:4] == b"mluc" and len(value) >= 28:
        size, offset = struct.unpack(">II", value[20:28])
        return value[offset : offset + size].decode("utf-16-be", "replace").strip("\0 ")
    size = int.from_bytes(value[8:12])
    return value[12 : 12 + size].decode("ascii", "replace").strip("\0 ")


# ------------------------------------------------------------------------------------- conversion


@dataclass(frozen=True, eq=False)
class Converted:
    """Samples of a file after their conversion; the fields are those of `hdrlab.io.image.Image`."""

    pixels: NDArray[Any]
    domain: Domain
    metadata: Mapping[str, Any]
    outside: NDArray[np.float16] | None = None
    notes: tuple[str, ...] = ()

    def image(self, path: Path, file_format: str, metadata: Mapping[str, Any]) -> Image:
        """Return the image; the entries of a header are added to its metadata."""
        entries = {**metadata, **self.metadata}
        return Image(self.pixels, self.domain, file_format, path, entries, self.outside, self.notes)


def convert_samples(
    samples: NDArray[Any], statements: Iterable[Statement], *, keep_outside: bool = False
) -> Converted:
    """Convert samples by the first statement that can be applied.

    Without one, floats count as linear Rec. 709, CMYK as plain ink and everything else as sRGB. Floats become
    light, and so does what is encoded as PQ or HLG, in cd/m² (metadata ``hdr``); the rest becomes sRGB.

    Args:
        samples: float32, uint8 or uint16 [H, W, 1, 3 or 4].
        statements: What the file says of its colours, what counts most first.
        keep_outside: Whether to keep the light that sRGB cannot hold.
    """
    notes: list[str] = []
    for state in statements:
        try:
            encoding = state()
            if encoding is not None:
                return _apply(samples, encoding, keep_outside, notes)
        except ProfileError as error:
            notes.append(f"holds {error}, which was not applied")
    if samples.shape[2] == 4:
        return Converted(_plain_ink(samples), "display", {"colour": _INK.name}, notes=tuple(notes))
    return _apply(samples, LINEAR if samples.dtype == np.float32 else SRGB, keep_outside, notes)


def domain_of(statements: Iterable[Statement], domain: Domain = "display") -> Domain:
    """Return the domain that `convert_samples` gives samples of a domain: light stays light."""
    for state in statements:
        try:
            encoding = state()
        except ProfileError:
            continue
        if encoding is not None:
            return "linear" if encoding.hdr else domain
    return domain


def _apply(samples: NDArray[Any], encoding: Encoding, keep_outside: bool, notes: list[str]) -> Converted:
    metadata: dict[str, Any] = {"colour": encoding.name}
    if samples.dtype == np.float32 or encoding.hdr:
        metadata["converted"] = not _is_identity(encoding.matrix)
        metadata |= {"hdr": encoding.hdr, "whiteLuminance": 1.0} if encoding.hdr else {}
        return Converted(to_light(samples, encoding), "linear", metadata, notes=tuple(notes))
    pixels, outside, note = to_display(samples, encoding, keep_outside=keep_outside)
    return Converted(pixels, "display", metadata, outside, tuple([*notes, note] if note else notes))


def to_display(
    samples: NDArray[Any], encoding: Encoding, *, keep_outside: bool = False
) -> tuple[NDArray[Any], NDArray[np.float16] | None, str]:
    """Convert whole-number samples to sRGB.

    Args:
        samples: uint8 or uint16 [H, W, 1, 3 or 4].
        encoding: What they mean.
        keep_outside: Whether to return the light that sRGB cannot hold.

    Returns:
        sRGB of the same type [H, W, 3]; what it cut as linear Rec. 709 [H, W, 3], or None where nothing was
        cut, or not asked for; and a note for the user or "".

    Raises:
        ProfileError: Little CMS cannot apply the profile.
    """
    if encoding.tables:
        pixels, note = _through_tables(samples, encoding.tables, "rec2020" if keep_outside else "rec709")
        if not keep_outside:
            return pixels, None, note
        meant = from_primaries(encoding.name, srgb_decode, SPACES["rec2020"])
        return (*to_display(pixels, meant, keep_outside=True)[:2], note)
    samples = as_rgb(samples)
    if encoding.is_srgb:
        return samples, None, ""
    most = np.iinfo(samples.dtype).max
    pixels = np.empty_like(samples)
    outside = np.zeros(samples.shape, np.float16) if keep_outside else None
    for rows, light in _strips(samples, encoding):
        inside = light.clip(0, 1)
        pixels[rows] = np.rint(srgb_encode(inside) * most)
        if outside is not None:
            outside[rows] = light - inside
    return pixels, outside if outside is not None and outside.any() else None, ""


def to_light(samples: NDArray[Any], encoding: Encoding) -> NDArray[np.float32]:
    """Convert samples [H, W, 1 or 3] to linear Rec. 709 [H, W, 3], not cut at either end.

    Raises:
        ProfileError: The profile has tables, which know nothing beyond their ends.
    """
    if encoding.tables:
        raise ProfileError("a profile with tables, which is unsupported for floats")
    samples = as_rgb(samples)
    if samples.dtype == np.float32 and encoding.curve is linear_curve and _is_identity(encoding.matrix):
        return samples
    light = np.empty(samples.shape, np.float32)
    for rows, part in _strips(samples, encoding):
        light[rows] = part
    return light


def _is_identity(matrix: Matrix) -> bool:
    return np.array_equal(matrix, np.eye(3))


def _strips(samples: NDArray[Any], encoding: Encoding) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield linear Rec. 709, some rows at a time."""
    table = None
    if samples.dtype.kind == "u" and encoding.by_channel:
        most = np.iinfo(samples.dtype).max
        levels = np.arange(most + 1, dtype=np.float64) / most
        table = encoding.curve(np.repeat(levels[:, None], 3, axis=1)).astype(np.float32)
    for top in range(0, len(samples), _ROWS):
        rows = slice(top, top + _ROWS)
        if table is not None:
            linear = np.stack([table[samples[rows, :, channel], channel] for channel in range(3)], axis=2)
        else:
            part = samples[rows].astype(np.float32)
            if samples.dtype.kind == "u":
                part /= np.iinfo(samples.dtype).max
            linear = encoding.curve(part).astype(np.float32, copy=False)
        yield rows, convert(linear, encoding.matrix)


def _plain_ink(samples: NDArray[Any]) -> NDArray[Any]:
    """From cyan, magenta, yellow and black [H, W, 4] to what they leave of white [H, W, 3]."""
    most = np.iinfo(samples.dtype).max
    left = (most - samples).astype(np.float32)
    return np.asarray(np.rint(left[..., :3] * left[..., 3:] / np.float32(most)), samples.dtype)


def _through_tables(samples: NDArray[Any], profile: bytes, space: str) -> tuple[NDArray[Any], str]:
    """Convert samples to a space of `SPACES` with sRGB's curve; what lies outside of it is cut."""
    from PIL import Image as PillowImage
    from PIL import ImageCms

    mode, kind = _MODES[samples.shape[2]]
    if profile[16:20] == b"RGB ":
        samples, mode, kind = as_rgb(samples), "RGB", "rgb"
    wide, target = samples.dtype == np.uint16, build_profile(space, "srgb")
    try:
        if wide and importlib.util.find_spec("imagecodecs"):
            import imagecodecs

            return imagecodecs.cms_transform(
                samples,
                profile,
                target,
                colorspace=kind,
                outcolorspace="rgb",
                outdtype="uint16",
                intent=int(ImageCms.Intent.RELATIVE_COLORIMETRIC),
                flags=int(ImageCms.Flags.BLACKPOINTCOMPENSATION),
            ), ""
        eight = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8) if wide else samples
        converted = ImageCms.profileToProfile(
            PillowImage.fromarray(eight.squeeze(2) if mode == "L" else eight, mode),
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(io.BytesIO(target)),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise ProfileError(f"a profile that Little CMS refuses ({error})") from error
    pixels = np.array(converted)
    if not wide:
        return pixels, ""
    note = f"its profile has tables and was applied at 8 bits; {install('codecs')} keeps 16"
    return pixels.astype(np.uint16) * 257, note


# ------------------------------------------------------------------------------- profiles to embed


_NAMES = {
    "rec709": "Rec. 709",
    "rec2020": "Rec. 2020",
    "p3": "P3 D65",
    "acescg": "ACEScg",
    "aces2065-1": "ACES2065-1",
}


@functools.cache
def build_profile(space: str, curve: Literal["srgb", "linear"]) -> bytes:
    """Build an ICC profile, version 4, for the samples of a space.

    Args:
        space: A key of `SPACES`.
        curve: Of the samples.
    """
    names = {"rec709": "sRGB", "p3": "Display P3"} if curve == "srgb" else {}
    name = names.get(space) or f"{_NAMES[space]}, {'linear' if curve == 'linear' else 'sRGB curve'}"
    primaries = SPACES[space]
    adapted = adaptation(white_xyz(primaries.white), _D50_XYZ)
    red, green, blue = (adapted @ to_xyz(primaries)).T
    if curve == "srgb":
        shape = b"para\0\0\0\0\0\3\0\0" + _s15(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        shape = b"curv\0\0\0\0" + bytes(4)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright"),
        b"wtpt": b"XYZ \0\0\0\0" + _s15(*_D50_XYZ),
        b"chad": b"sf32\0\0\0\0" + _s15(*adapted.ravel()),
        b"rXYZ": b"XYZ \0\0\0\0" + _s15(*red),
        b"gXYZ": b"XYZ \0\0\0\0" + _s15(*green),
        b"bXYZ": b"XYZ \0\0\0\0" + _s15(*blue),
        b"rTRC": shape,
        b"gTRC": shape,
        b"bTRC": shape,
    }
    body, table, places = b"", b"", dict[bytes, int]()
    start = _HEADER + 4 + 12 * len(tags)
    for tag, value in tags.items():
        if value not in places:
            places[value] = start + len(body)
            body += value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag, places[value], len(value))
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _s15(*_D50_XYZ)
    return header.ljust(_HEADER, b"\0") + struct.pack(">I", len(tags)) + table + body


def _s15(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _text(text: str) -> bytes:
    return (
        b"mluc\0\0\0\0"
        + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 2 * len(text), 28)
        + text.encode("utf-16-be")
    )
