"""The renderings of today's films, games and broadcasts: each channel or colour bent by one fixed curve.

They take linear pixels [H, W, 3] with Rec. 709 primaries, at least 0 and not all 0, in any unit. Where such
a rendering expects an exposure made by hand, the log-average of the luminance comes to lie at ``key``. Where
pixels are a part of an image, ``scene`` is the whole.
"""

from __future__ import annotations

import atexit
import functools
import io
import math
import tempfile
from pathlib import Path

import numpy as np

from hdrlab.errors import OperatorError
from hdrlab.ops.colour import MIDDLE_GREY, Pixels, greatest_sample, least_sample, srgb_decode
from hdrlab.ops.colour_spaces import DIFFUSE_WHITE, REC709, REC2020, conversion, pq_curve, pq_encode, to_xyz
from hdrlab.tonemapping.scene import Scene

_ACES_CONFIG = "ocio://cg-config-latest"
_ACES_INPUT, _ACES_DISPLAY = "Linear Rec.709 (sRGB)", "sRGB - Display"
_ACES_VIEW = "ACES 2.0 - SDR 100 nits (Rec.709)"
_TABLE_STOPS, _TABLE_NODES = (-13.0, 9.0), 49  # about 1, of a table of it

# Stops about middle grey between which AgX sees, the primaries that it works in, and its curve.
_AGX_STOPS = (-10.0, 6.5)
_AGX_INSET = np.array(
    (
        (0.856627153315983, 0.0951212405381588, 0.0482516061458583),
        (0.137318972929847, 0.761241990602591, 0.101439036467562),
        (0.11189821299995, 0.0767994186031903, 0.811302368396859),
    )
)
_AGX_OUTSET = np.array(
    (
        (1.1271005818144368, -0.11060664309660323, -0.016493938717834573),
        (-0.1413297634984383, 1.157823702216272, -0.016493938717834257),
        (-0.14132976349843826, -0.11060664309660294, 1.2519364065950405),
    )
)
_AGX_CURVE = (15.5, -40.14, 31.96, -6.868, 0.4298, 0.1191, -0.00232)  # from x⁶ down

_BT2446_PEAK = 1000.0  # cd/m², of the programmes that it was made for

_NEUTRAL_KNEE, _NEUTRAL_OFFSET, _NEUTRAL_DESATURATION = 0.8, 0.04, 0.15


def aces(hdr: Pixels, key: float = MIDDLE_GREY, *, scene: Scene | None = None, quick: bool = False) -> Pixels:
    """Render as ACES 2.0 does for an SDR display, by OpenColorIO's built-in configuration.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; more is brighter.
        scene: Of the whole image.
        quick: Whether a table may stand in for it, thirty times as fast; encoded values differ by up to 0.01.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Raises:
        OperatorError: OpenColorIO cannot render it.

    Source: Academy Color Encoding System 2.0, output transform "SDR 100 nits (Rec.709)".
    """
    exposed = _expose(hdr, key, scene)
    return _rendered(exposed, _aces_table()) if quick else _rendered(exposed)


def _rendered(exposed: Pixels, table: str | None = None) -> Pixels:
    import OpenImageIO as oiio

    pixels = np.ascontiguousarray(exposed, np.float32)
    source = oiio.ImageBuf(oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 3, "float"))
    source.set_pixels(oiio.ROI(), pixels)
    if table:
        shown = oiio.ImageBufAlgo.ociofiletransform(source, table)
    else:
        shown = oiio.ImageBufAlgo.ociodisplay(
            source, _ACES_DISPLAY, _ACES_VIEW, _ACES_INPUT, colorconfig=_ACES_CONFIG
        )
    if shown.has_error:
        raise OperatorError(f"OpenColorIO cannot render this: {shown.geterror()}")
    made = np.asarray(shown.get_pixels("float"), np.float32).clip(0, 1)
    return made if table else srgb_decode(made)


@functools.cache
def _aces_table() -> str:
    """Write what `aces` makes of a grid of colours, evenly in stops; return the file, which goes with us."""
    low, high = _TABLE_STOPS
    nodes = np.exp2(np.linspace(low, high, _TABLE_NODES, dtype=np.float32))
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(_TABLE_NODES, -1, 3)
    slope = 1 / (high - low)
    text = io.StringIO()
    np.savetxt(text, _rendered(grid).reshape(-1, 3), "%.6g")
    size, depths = f"{_TABLE_NODES} " * 3 + "3", 'inBitDepth="32f" outBitDepth="32f"'
    handle, file = tempfile.mkstemp(suffix=".clf")
    with open(handle, "w", encoding="ascii") as stream:
        stream.write(
            f'<ProcessList id="aces" compCLFversion="3.0"><Log {depths} style="linToLog"><LogParams base="2" '
            f'logSideSlope="{slope}" logSideOffset="{-low * slope}" linSideSlope="1" linSideOffset="1e-10"/>'
            f"</Log><Range {depths}><minInValue>0</minInValue><maxInValue>1</maxInValue>"
            f"<minOutValue>0</minOutValue><maxOutValue>1</maxOutValue></Range>"
            f'<LUT3D {depths} interpolation="tetrahedral"><Array dim="{size}">'
            f"{text.getvalue()}</Array></LUT3D></ProcessList>"
        )
    atexit.register(Path(file).unlink, missing_ok=True)
    return file


def agx(hdr: Pixels, key: float = MIDDLE_GREY, *, scene: Scene | None = None) -> Pixels:
    """Render as AgX does: in wide primaries, a sigmoid over sixteen and a half stops; lights bleach.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; more is brighter.
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Sobotka's AgX in the form for Rec. 2020 that Blender and Filament have; the sigmoid is the usual
    polynomial fit to its curve, within 0.002.
    """
    to_wide, to_narrow = conversion(REC709, REC2020), conversion(REC2020, REC709)
    inset = (_AGX_INSET @ to_wide).astype(np.float32)
    outset = _AGX_OUTSET.astype(np.float32)
    low, high = (np.float32(stop + np.log2(MIDDLE_GREY)) for stop in _AGX_STOPS)
    stops = np.log2(np.maximum(_expose(hdr, key, scene) @ inset.T, np.float32(1e-10)))
    encoded = np.polyval(np.array(_AGX_CURVE, np.float32), ((stops - low) / (high - low)).clip(0, 1))
    linear = np.maximum(encoded @ outset.T, 0) ** np.float32(2.2)
    shown: Pixels = linear @ to_narrow.T.astype(np.float32)
    return shown


def neutral(hdr: Pixels, key: float = MIDDLE_GREY, *, scene: Scene | None = None) -> Pixels:
    """Render as Khronos' PBR Neutral does: colours stay as they are up to 0.76, the rest rolls off.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; more is brighter.
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Khronos Group, "PBR Neutral Tone Mapper", 2024.
    """
    exposed = _expose(hdr, key, scene)
    least = least_sample(exposed)[..., None]
    offset = np.where(
        least < 2 * _NEUTRAL_OFFSET, least - least**2 / np.float32(4 * _NEUTRAL_OFFSET), _NEUTRAL_OFFSET
    )
    colour = exposed - offset.astype(np.float32)
    peak = greatest_sample(colour)[..., None]
    knee = _NEUTRAL_KNEE - _NEUTRAL_OFFSET
    room = 1 - knee
    rolled = np.where(peak > knee, 1 - room**2 / np.maximum(peak + room - knee, room), peak)
    colour *= np.divide(rolled, peak, out=np.ones_like(peak), where=peak > 0)
    grey = 1 - 1 / (_NEUTRAL_DESATURATION * (peak - rolled) + 1)
    shown: Pixels = (colour * (1 - grey) + rolled * grey).astype(np.float32)
    return shown


def bt2390(hdr: Pixels, key: float = MIDDLE_GREY, *, scene: Scene | None = None) -> Pixels:
    """Roll highlights off as broadcasters do between displays, by the curve of Report BT.2390.

    The brightest channel follows the curve and takes the others along, so that no hue changes.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; 1 is diffuse white, which the display shows at its peak.
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: ITU-R BT.2390-11, section 5.4.1, the EETF with a black level of 0, from the image's peak to
    BT.2408's diffuse white of 203 cd/m².
    """
    scene = scene or Scene.of(hdr)
    light = _expose(hdr, key, scene) * np.float32(DIFFUSE_WHITE)
    peak, brightest = greatest_sample(light), scene.peak * key / scene.average * DIFFUSE_WHITE
    ends = pq_encode(np.array((max(brightest, DIFFUSE_WHITE), DIFFUSE_WHITE)))
    source, ceiling = float(ends[0]), float(ends[1] / ends[0])
    knee = 1.5 * ceiling - 0.5
    level = pq_encode(peak) / np.float32(source)
    t = (level - knee).clip(0) / max(1 - knee, 1e-6)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * ceiling
    )
    rolled = pq_curve(np.where(level < knee, level, spline) * np.float32(source)) / DIFFUSE_WHITE
    ratio = np.divide(rolled, peak, out=np.zeros_like(peak), where=peak > 0)
    shown: Pixels = light * ratio[..., None]
    return shown


def bt2446(hdr: Pixels, key: float = MIDDLE_GREY, *, scene: Scene | None = None) -> Pixels:
    """Convert a broadcast in HDR to one in SDR by method A of Report BT.2446: for live and graded programmes.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; 1 is diffuse white, 203 cd/m².
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: ITU-R BT.2446-1, section 4: a logarithm of the luma, a knee in it, and a correction of the
    colours, from a peak of 1000 cd/m² (or the image's, up to 10,000) to 100.
    """
    scene = scene or Scene.of(hdr)
    unit = key / scene.average * DIFFUSE_WHITE
    peak = min(max(scene.peak * unit, _BT2446_PEAK), 1e4)
    wide = hdr @ (conversion(REC709, REC2020).T * unit / peak).astype(np.float32)
    encoded = wide.clip(0, 1) ** np.float32(1 / 2.4)
    luma = encoded @ to_xyz(REC2020)[1].astype(np.float32)
    rho, rho_sdr = (1 + 32 * (light / 1e4) ** (1 / 2.4) for light in (peak, 100.0))
    level = np.log1p(np.float32(rho - 1) * luma) / np.float32(math.log(rho))
    knee = (2.7811 - 1.151 * level) * level - 0.6302
    bent = np.where(level <= 0.7399, 1.077 * level, np.where(level < 0.9909, knee, 0.5 * level + 0.5))
    shown = np.expm1(bent * np.float32(math.log(rho_sdr))) / np.float32(rho_sdr - 1)
    scale = np.divide(shown, 1.1 * luma, out=np.zeros_like(luma), where=luma > 0)[..., None]
    colours = (encoded - luma[..., None]) * scale
    red = 0.1 / 1.4746 * colours[..., 0]  # a tenth of C'r
    mapped = ((shown - red.clip(min=0))[..., None] + colours).clip(0) ** np.float32(2.4)
    narrow: Pixels = mapped @ conversion(REC2020, REC709).T.astype(np.float32)
    return narrow


def _expose(hdr: Pixels, key: float, scene: Scene | None) -> Pixels:
    exposed: Pixels = hdr * np.float32(key / (scene or Scene.of(hdr)).average)
    return exposed
