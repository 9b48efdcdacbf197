from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from hdrlab.errors import ImageError
from hdrlab.io import read_hdr, read_image
from hdrlab.io.colour_profiles import build_profile
from hdrlab.io.gain_maps import OFFSET, GainMapCoding, GainMapError, from_iso, from_xmp, to_iso
from hdrlab.io.image import turn_upright
from hdrlab.io.jpeg_segments import (
    APP1,
    APP2,
    ICC,
    ISO_GAIN_MAP,
    MPF,
    XMP,
    Segment,
    icc_segments,
    read_segments,
    with_segments,
)
from hdrlab.io.metadata import read_metadata
from hdrlab.io.ultrahdr import Base, has_gain_map, read_ultrahdr, rewrite_ultrahdr, write_ultrahdr
from hdrlab.ops.colour import srgb_decode, srgb_encode
from hdrlab.ops.colour_spaces import REC709, SPACES, conversion, convert

Floats = NDArray[np.float32]
Pair = tuple[Floats, NDArray[np.uint8]]
BRIGHTEST = 10_000 / 203  # libultrahdr, which OpenImageIO reads with, stops at 10,000 cd/m²


def encode(x_lin: Floats) -> NDArray[np.uint8]:
    return np.rint(255 * srgb_encode(x_lin.clip(0, 1))).astype(np.uint8)


def scene(height: int = 48, width: int = 80) -> Floats:
    """Waves and a coloured lamp of 40 times the white."""
    y, x = np.mgrid[0:height, 0:width] / height
    waves = np.stack([0.5 + 0.5 * np.sin(3 * x + c) * np.cos(4 * y + c) for c in range(3)], -1) ** 2
    lamp = 40 * np.exp(-60 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))[..., None] * [1, 0.8, 0.4]
    return (waves + lamp).astype(np.float32)


@pytest.fixture(scope="module")
def pair() -> Pair:
    hdr = scene()
    return hdr, encode(hdr)


def stops_off(read: Floats, hdr: Floats) -> Floats:
    off: Floats = np.abs(np.log2((read.clip(0) + OFFSET) / (hdr + OFFSET)))
    return off


# --------------------------------------------------------------------- files as other programs write them


def jpeg(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, "JPEG", quality=98, subsampling=0, **options)
    return stream.getvalue()


def insert(data: bytes, *segments: Segment) -> bytes:
    own = [one for one in read_segments(data) if 0xE0 <= one.marker <= 0xEF]
    return with_segments(data, [*own, *segments])


def mpf(order: str, lengths: Sequence[int], offsets: Sequence[int]) -> bytes:
    start, count = 8, len(lengths)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    head += struct.pack(f"{order}H", 3)
    head += struct.pack(f"{order}HHI4s", 0xB000, 7, 4, b"0100")
    head += struct.pack(f"{order}HHII", 0xB001, 4, 1, count)
    head += struct.pack(f"{order}HHIII", 0xB002, 7, 16 * count, start + 2 + 36 + 4, 0)
    return head + b"".join(
        struct.pack(f"{order}IIIHH", 0, a, b, 0, 0) for a, b in zip(lengths, offsets, strict=True)
    )


def assemble(base: bytes, *others: bytes, order: str = ">", index: bool = True, gap: bytes = b"") -> bytes:
    if not index:
        return base + gap + gap.join(others)
    lengths = [0, *map(len, others)]
    blank = insert(base, Segment(APP2, MPF + mpf(order, lengths, [0] * len(lengths))))
    origin = next(one.place for one in read_segments(blank) if one.is_named(MPF)) + len(MPF)
    offsets, place = [0], len(blank)
    for other in others:
        offsets.append(place + len(gap) - origin)
        place += len(gap) + len(other)
    lengths[0] = len(blank)
    return insert(base, Segment(APP2, MPF + mpf(order, lengths, offsets))) + b"".join(
        gap + other for other in others
    )


CODING = GainMapCoding(
    (-1.5, -1.25, -1.0), (5.0, 5.5, 6.0), (1.0, 1.5, 0.8), (0.02,) * 3, (0.01,) * 3, 0.0, 6.0
)
GREY = GainMapCoding((-0.5,) * 3, (6.0,) * 3, (1.3,) * 3, HDRCapacityMax=6.0)


def gains_of(hdr: Floats, base: bytes, coding: GainMapCoding, matrix: Any = None) -> NDArray[np.uint8]:
    """The samples of a gain map by the formulas of the format, written anew here."""
    with PillowImage.open(io.BytesIO(base)) as image:
        shown = srgb_decode(np.array(image.convert("RGB"), np.float32) / 255)
    light = hdr if matrix is None else convert(hdr, matrix)
    ratio = np.log2((light.clip(0) + np.float32(coding.OffsetHDR)) / (shown + np.float32(coding.OffsetSDR)))
    low, high = np.float32(coding.GainMapMin), np.float32(coding.GainMapMax)
    unit = ((ratio - low) / (high - low)).clip(0, 1) ** np.float32(coding.Gamma)
    return np.rint(unit * 255).astype(np.uint8)


NAMES = {
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}


def packet(attributes: str = "", elements: str = "", prefix: str = "hdrgm") -> bytes:
    spaces = f'xmlns:{prefix}="{NAMES["hdrgm"]}" xmlns:rdf="{NAMES["rdf"]}" xmlns:x="adobe:ns:meta/"'
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta {spaces}><rdf:RDF>'
        f'<rdf:Description rdf:about="" {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def values(coding: GainMapCoding) -> dict[str, Sequence[float]]:
    names = ("GainMapMin", "GainMapMax", "Gamma", "OffsetSDR", "OffsetHDR")
    return {name: getattr(coding, name) for name in names}


def as_attributes(coding: GainMapCoding, prefix: str = "hdrgm") -> bytes:
    said = [f"{prefix}:{name}='{three[0]}'" for name, three in values(coding).items()]
    return packet(" ".join([*said, f'{prefix}:HDRCapacityMax="{coding.HDRCapacityMax}"']), prefix=prefix)


def as_elements(coding: GainMapCoding) -> bytes:
    said = "".join(f"<hdrgm:{name}>{three[0]}</hdrgm:{name}>" for name, three in values(coding).items())
    return packet(elements=f"{said}<hdrgm:HDRCapacityMax>6</hdrgm:HDRCapacityMax>")


def as_lists(coding: GainMapCoding, kind: str = "Seq") -> bytes:
    said = ""
    for name, three in values(coding).items():
        items = "".join(f"<rdf:li>{value}</rdf:li>" for value in three)
        said += f"<hdrgm:{name}><rdf:{kind}>{items}</rdf:{kind}></hdrgm:{name}>"
    return packet('hdrgm:HDRCapacityMax="6"', said)


def file_of(
    hdr: Floats, said: Segment, coding: GainMapCoding, shrink: int = 1, grey: bool = False, **layout: Any
) -> bytes:
    base = jpeg(encode(hdr))
    samples = gains_of(hdr, base, coding)
    if shrink > 1:
        height, width = hdr.shape[0] // shrink, hdr.shape[1] // shrink
        samples = np.array(PillowImage.fromarray(samples).resize((width, height), PillowImage.Resampling.BOX))
    if grey:
        samples = samples[..., 1]
    return assemble(base, insert(jpeg(samples), said), **layout)


XMP_FORMS: dict[str, tuple[bytes, GainMapCoding]] = {
    "attributes": (as_attributes(GREY), GREY),
    "another prefix": (as_attributes(GREY, "HDR"), GREY),
    "elements": (as_elements(GREY), GREY),
    "lists": (as_lists(CODING), CODING),
    "bags": (as_lists(CODING, "Bag"), CODING),
}


@pytest.mark.parametrize("form", XMP_FORMS)
def test_metadata_in_every_form_of_xmp(form: str, pair: Pair, tmp_path: Path) -> None:
    said, coding = XMP_FORMS[form]
    (tmp_path / "a.jpg").write_bytes(file_of(pair[0], Segment(APP1, XMP + said), coding))
    read = read_ultrahdr(tmp_path / "a.jpg")
    assert np.percentile(stops_off(read.pixels, pair[0]), 99) < 0.15
    assert read.metadata["GainMapMax"] == coding.GainMapMax


def iso_packed(coding: GainMapCoding, *, multi: bool, common: bool) -> bytes:
    """ISO 21496-1's metadata, with a denominator each or one for all."""
    flags = (0x80 if multi else 0) | 0x40 | (0x08 if common else 0)
    packed = struct.pack(">HHB", 0, 3, flags) + (struct.pack(">I", 10_000) if common else b"")

    def number(kind: str, value: float) -> bytes:
        return struct.pack(f">{kind}", round(value * 10_000)) + (b"" if common else struct.pack(">I", 10_000))

    packed += number("I", coding.HDRCapacityMin) + number("I", coding.HDRCapacityMax)
    for channel in range(3 if multi else 1):
        for kind, three in zip("iiIii", values(coding).values(), strict=True):
            packed += number(kind, three[channel])
    return packed


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_standards_metadata_alone(
    multi: bool, common: bool, order: str, pair: Pair, tmp_path: Path
) -> None:
    coding = CODING if multi else GREY
    said = Segment(APP2, ISO_GAIN_MAP + iso_packed(coding, multi=multi, common=common))
    (tmp_path / "a.jpg").write_bytes(file_of(pair[0], said, coding, order=order))
    assert np.percentile(stops_off(read_ultrahdr(tmp_path / "a.jpg").pixels, pair[0]), 99) < 0.15


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
@pytest.mark.parametrize("grey", [False, True])
def test_gain_maps_of_any_size(shrink: int, grey: bool, tmp_path: Path) -> None:
    y, x = np.mgrid[0:96, 0:128] / 96
    hdr = (np.exp2(3 * np.sin(2 * x) * np.cos(2 * y))[..., None] * np.ones(3)).astype(np.float32)
    said = Segment(APP1, XMP + as_attributes(GREY))
    (tmp_path / "a.jpg").write_bytes(file_of(hdr, said, GREY, shrink, grey))
    read = read_ultrahdr(tmp_path / "a.jpg").pixels
    assert read.shape == hdr.shape
    assert np.percentile(stops_off(read, hdr), 95) < 0.06 * shrink


def test_a_gain_map_larger_than_its_base(pair: Pair, tmp_path: Path) -> None:
    hdr, _ = pair
    base = jpeg(encode(hdr))
    twice = gains_of(hdr, base, GREY).repeat(2, 0).repeat(2, 1)
    data = assemble(base, insert(jpeg(twice), Segment(APP1, XMP + as_attributes(GREY))))
    (tmp_path / "a.jpg").write_bytes(data)
    assert np.percentile(stops_off(read_ultrahdr(tmp_path / "a.jpg").pixels, hdr), 99) < 0.15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_image_comes_out_upright(orientation: int, pair: Pair, tmp_path: Path) -> None:
    hdr, _ = pair
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    base = jpeg(encode(hdr), exif=exif)
    gain_map = insert(jpeg(gains_of(hdr, base, GREY)), Segment(APP1, XMP + as_attributes(GREY)))
    (tmp_path / "a.jpg").write_bytes(assemble(base, gain_map))
    upright = turn_upright(hdr, orientation)
    read = read_hdr(tmp_path / "a.jpg").pixels
    assert read.shape == upright.shape
    assert np.percentile(stops_off(read, upright), 99) < 0.15


@pytest.mark.parametrize("space", ["p3", "rec2020"])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_bases_profile_gives_the_primaries(space: str, parts: int, pair: Pair, tmp_path: Path) -> None:
    hdr, _ = pair
    matrix = conversion(REC709, SPACES[space])
    native = convert(hdr, matrix)
    profile = build_profile(space, "srgb")
    step = -(-len(profile) // parts)
    pieces = [profile[i * step : (i + 1) * step] for i in range(parts)]
    segments = [Segment(APP2, ICC + bytes((i + 1, parts)) + piece) for i, piece in enumerate(pieces)]
    base = insert(jpeg(encode(native)), *segments)
    gain_map = insert(jpeg(gains_of(hdr, base, GREY, matrix)), Segment(APP1, XMP + as_attributes(GREY)))
    (tmp_path / "a.jpg").write_bytes(assemble(base, gain_map))
    assert np.percentile(stops_off(read_ultrahdr(tmp_path / "a.jpg").pixels, hdr), 98) < 0.15


def test_gains_may_be_of_the_gain_maps_own_space(pair: Pair, tmp_path: Path) -> None:
    """ISO 21496-1: without the flag for the base's space, the gain map's profile says which."""
    hdr, _ = pair
    base = jpeg(encode(hdr))
    to_p3 = conversion(REC709, SPACES["p3"])
    with PillowImage.open(io.BytesIO(base)) as image:
        shown = convert(srgb_decode(np.array(image, np.float32) / 255), to_p3)
    light = convert(hdr, to_p3)
    ratio = np.log2((light.clip(0) + OFFSET) / (shown.clip(0) + OFFSET))
    samples = np.rint(255 * ((ratio + 0.5) / 6.5).clip(0, 1) ** 1.3).astype(np.uint8)
    coding = bytearray(iso_packed(GREY, multi=False, common=False))
    coding[4] &= ~0x40
    said = [Segment(APP2, ISO_GAIN_MAP + bytes(coding)), *icc_segments(build_profile("p3", "srgb"))]
    (tmp_path / "a.jpg").write_bytes(assemble(base, insert(jpeg(samples), *said)))
    assert np.percentile(stops_off(read_ultrahdr(tmp_path / "a.jpg").pixels, hdr), 98) < 0.15


def thumbnail() -> bytes:
    return jpeg(np.full((8, 8, 3), 99, np.uint8))


@pytest.mark.parametrize(
    "layout",
    [
        lambda base, gain_map: assemble(base, thumbnail(), gain_map),  # a preview before it
        lambda base, gain_map: assemble(base, gain_map, thumbnail()),
        lambda base, gain_map: assemble(base, gain_map, gap=b"\0" * 7),
        lambda base, gain_map: assemble(base, gain_map, index=False),
        lambda base, gain_map: assemble(base, thumbnail(), gain_map, index=False, gap=b"padding"),
        lambda base, gain_map: assemble(base, gain_map) + b"ftypmp4 of a moving photograph" * 99,
    ],
)
def test_the_gain_map_is_found_among_other_images(
    layout: Callable[[bytes, bytes], bytes], pair: Pair, tmp_path: Path
) -> None:
    hdr, _ = pair
    base = jpeg(encode(hdr))
    gain_map = insert(jpeg(gains_of(hdr, base, GREY)), Segment(APP1, XMP + as_attributes(GREY)))
    (tmp_path / "a.jpg").write_bytes(layout(base, gain_map))
    assert has_gain_map(tmp_path / "a.jpg")
    assert np.percentile(stops_off(read_ultrahdr(tmp_path / "a.jpg").pixels, hdr), 99) < 0.15


def test_progressive_and_grey_bases(pair: Pair, tmp_path: Path) -> None:
    hdr = pair[0].mean(2, keepdims=True).repeat(3, 2)
    for name, base in {
        "progressive": jpeg(encode(hdr), progressive=True),
        "grey": jpeg(encode(hdr)[..., 0]),
    }.items():
        gain_map = insert(jpeg(gains_of(hdr, base, GREY)[..., 0]), Segment(APP1, XMP + as_attributes(GREY)))
        (tmp_path / name).write_bytes(assemble(base, gain_map))
        read = read_ultrahdr(tmp_path / name).pixels
        assert np.percentile(stops_off(read, hdr), 99) < 0.15, name


def test_a_base_that_is_the_hdr_image_is_taken_as_it_is(pair: Pair, tmp_path: Path) -> None:
    base = jpeg(pair[1])
    said = as_attributes(GREY).replace(
        b"hdrgm:GainMapMin", b'hdrgm:BaseRenditionIsHDR="True" hdrgm:GainMapMin'
    )
    (tmp_path / "a.jpg").write_bytes(assemble(base, insert(thumbnail(), Segment(APP1, XMP + said))))
    shown = srgb_decode(read_image(tmp_path / "a.jpg").pixels / np.float32(255))
    np.testing.assert_allclose(read_ultrahdr(tmp_path / "a.jpg").pixels, shown, atol=1e-5)


def test_gain_maps_of_apples_older_kind(tmp_path: Path) -> None:
    base = jpeg(np.full((16, 16, 3), 188, np.uint8))
    said = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:a="http://ns.apple.com/pixeldatainfo/1.0/" '
        f'xmlns:h="http://ns.apple.com/HDRGainMap/1.0/" xmlns:rdf="{NAMES["rdf"]}"><rdf:RDF><rdf:Description '
        'a:AuxiliaryImageType="urn:com:apple:photo:2020:aux:hdrgainmap" h:HDRGainMapHeadroom="8"/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()
    gain_map = insert(jpeg(np.full((8, 8), 255, np.uint8)), Segment(APP1, XMP + said))
    (tmp_path / "a.jpg").write_bytes(assemble(base, gain_map))
    white = float(srgb_decode(np.float32(188 / 255)))
    np.testing.assert_allclose(read_ultrahdr(tmp_path / "a.jpg").pixels, 8 * white, rtol=0.02)


# ----------------------------------------------------------------------------------------------- damage


def test_noise_which_optimised_tables_do_not_hold_is_written_all_the_same(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((600, 800, 3)).astype(np.float32)
    write_ultrahdr(tmp_path / "noise.jpg", noise, encode(noise), quality=90)
    assert read_ultrahdr(tmp_path / "noise.jpg").pixels.shape == noise.shape


def test_damaged_and_other_files_are_refused(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    write_ultrahdr(tmp_path / "a.jpg", hdr, base, shrink=1, channels=3)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "plain.jpg").write_bytes(jpeg(base))
    with pytest.raises(ImageError, match="is no Ultra HDR image: no gain map follows its base"):
        read_ultrahdr(tmp_path / "plain.jpg")
    assert not has_gain_map(tmp_path / "plain.jpg")
    without_iso = data.replace(ISO_GAIN_MAP, b"x" * len(ISO_GAIN_MAP))
    for name, content in {
        "cut": data[: len(data) // 3],
        "early": data[:300],
        "late": data[:-800],
        "nothing": b"",
        "coding": without_iso.replace(b"hdrgm:GainMapMax", b"hdrgm:GainMapXXX"),
        "number": re.sub(rb"(<hdrgm:GainMapMax>.*?<rdf:li>)[^<]*", rb"\g<1>1-2", without_iso),
        "bomb": without_iso.replace(b"<x:xmpmeta", b"<!DOCTYPE a><x:xmpmeta"),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError):
            read_ultrahdr(tmp_path / name)


@pytest.mark.parametrize(
    "coding",
    [
        as_attributes(GREY).replace(b"GainMapMax='6.0'", b"GainMapMax='nan'"),
        as_attributes(GREY).replace(b"GainMapMax='6.0'", b"GainMapMax='1e9'"),
        as_attributes(GREY).replace(b"Gamma='1.3'", b"Gamma='0'"),
        as_lists(CODING).replace(b"<rdf:li>5.5</rdf:li>", b""),
        as_attributes(GREY)[:-40],
    ],
)
def test_codings_that_mean_nothing_are_refused(coding: bytes) -> None:
    with pytest.raises(GainMapError):
        from_xmp(coding)


@pytest.mark.parametrize(
    "content",
    [
        to_iso(GREY)[:20],
        b"\0\1" + to_iso(GREY)[2:],
        to_iso(GREY)[:5] + bytes(80),
        b"\0\0\0\0\x80" + bytes(70),
    ],
)
def test_damaged_metadata_of_the_standard_are_refused(content: bytes) -> None:
    with pytest.raises(GainMapError):
        from_iso(content)


# ---------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("shrink", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_written_is_read(shrink: int, channels: int, tmp_path: Path) -> None:
    hdr = scene(240, 320)
    coding = write_ultrahdr(tmp_path / "a.jpg", hdr, encode(hdr), shrink=shrink, channels=channels)
    read = read_ultrahdr(tmp_path / "a.jpg").pixels
    weights = np.array((0.2126, 0.7152, 0.0722), np.float32)
    assert np.percentile(stops_off(read @ weights, hdr @ weights), 98) < 0.05 + 0.02 * shrink
    if channels == 3:
        assert np.percentile(stops_off(read, hdr), 98) < 0.05 + 0.02 * shrink
    assert read.max() == pytest.approx(hdr.max(), rel=0.08 if channels == 3 else 0.4)
    assert coding.num_channels == channels


def oracles(path: Path) -> dict[str, Floats]:
    """The HDR image as other programs read it, 1 = white."""
    import OpenImageIO as oiio

    source = oiio.ImageInput.open(str(path))
    assert str(source.spec().format) == "half"
    found = {"OpenImageIO": source.read_image("float")[..., :3]}
    source.close()
    imagecodecs = pytest.importorskip("imagecodecs")
    return found | {"libultrahdr": imagecodecs.ultrahdr_decode(path.read_bytes()).astype(np.float32)[..., :3]}


@pytest.mark.parametrize(
    ("channels", "keep"),
    # libultrahdr, as of 1.4, does not read XMP for each channel.
    [(1, "both"), (3, "both"), (1, "iso"), (3, "iso"), (1, "xmp")],
)
def test_other_programs_read_the_same_light(channels: int, keep: str, tmp_path: Path) -> None:
    path, hdr = tmp_path / "a.jpg", scene(96, 128)
    write_ultrahdr(path, hdr, encode(hdr), shrink=1, channels=channels)
    data = path.read_bytes()
    if keep == "xmp":  # each of the two metadata alone is right
        path.write_bytes(data.replace(ISO_GAIN_MAP, b"urn:iso:std:iso:ts:00000:-1\0"))
    elif keep == "iso":
        path.write_bytes(
            data.replace(b"http://ns.adobe.com/hdr-gain-map/1.0/", b"http://ns.adobe.com/hdr-gain-xxx/1.0/")
        )
    ours = read_ultrahdr(path).pixels.clip(0, BRIGHTEST)
    assert ours.max() > 20
    for name, theirs in oracles(path).items():
        assert stops_off(theirs, ours).max() < 0.04, name


def test_small_gain_maps_read_alike_up_to_their_interpolation(tmp_path: Path) -> None:
    path, hdr = tmp_path / "a.jpg", scene(240, 320)
    write_ultrahdr(path, hdr, encode(hdr))
    ours = read_ultrahdr(path).pixels.clip(0, BRIGHTEST)
    for name, theirs in oracles(path).items():
        assert np.percentile(stops_off(theirs, ours), 99) < 0.15, name


def test_libultrahdrs_own_files_are_read(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    rgba = np.ones((96, 128, 4), np.float16)
    rgba[..., :3] = scene(96, 128) / 10
    written = imagecodecs.ultrahdr_encode(rgba, 95)
    (tmp_path / "a.jpg").write_bytes(written)
    theirs = imagecodecs.ultrahdr_decode(written).astype(np.float32)[..., :3]
    ours = read_ultrahdr(tmp_path / "a.jpg").pixels
    assert np.percentile(stops_off(ours, theirs.clip(0)), 95) < 0.1


def test_an_ordinary_viewer_sees_the_photograph(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    write_ultrahdr(tmp_path / "a.jpg", hdr, base)
    loaded = read_image(tmp_path / "a.jpg")
    assert loaded.metadata["gain_map"] == "ignored, this is the base image"
    assert np.abs(loaded.pixels.astype(int) - base).mean() < 1.5
    with PillowImage.open(tmp_path / "a.jpg") as image:
        assert image.size == (80, 48)


def test_the_container_counts_its_bytes_right(pair: Pair, tmp_path: Path) -> None:
    write_ultrahdr(tmp_path / "a.jpg", *pair)
    data = (tmp_path / "a.jpg").read_bytes()
    length = int(re.findall(rb'Item:Length="(\d+)"', data)[0])
    assert data[-length:].startswith(b"\xff\xd8\xff")
    assert data[-length - 2 : -length] == b"\xff\xd9"
    assert data[data.index(b"MPF\0") + 4 :].startswith(b"MM\0*")
    entries = data.index(b"0100") + 4 + 24 + 4
    sizes = [int.from_bytes(data[entries + 16 * i + 4 : entries + 16 * i + 8]) for i in range(2)]
    assert sizes == [len(data) - length, length]
    offset = int.from_bytes(data[entries + 24 : entries + 28])
    assert data.index(b"MPF\0") + 4 + offset == len(data) - length


def test_the_whole_is_at_most_half_as_large_again(tmp_path: Path) -> None:
    hdr = scene(480, 640)
    noise = np.random.default_rng(0).normal(0, 0.2, hdr.shape)
    hdr = (hdr * np.exp2(noise)).astype(np.float32)
    for shrink, channels, quality in ((2, 1, 95), (2, 1, 60), (1, 3, 85)):
        base = Base.of_pixels(encode(hdr), quality=quality)
        write_ultrahdr(tmp_path / "a.jpg", hdr, base, shrink=shrink, channels=channels)
        assert (tmp_path / "a.jpg").stat().st_size <= 1.5 * len(base.jpeg), (shrink, channels, quality)


def scans(data: bytes) -> bytes:
    """Tables and pixels of the first image."""
    start = data.index(b"\xff\xda")
    return data[start : data.index(b"\xff\xd9", start)]


@pytest.mark.parametrize("kind", ["plain", "progressive", "p3", "adobe"])
def test_an_upright_photographs_bytes_are_the_base(kind: str, pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    options: dict[str, Any] = {"progressive": kind == "progressive"}
    if kind == "p3":
        options["icc_profile"] = build_profile("p3", "srgb")
    if kind == "adobe":
        exif = PillowImage.Exif()
        exif.get_ifd(0x8769)[0xA001] = 0xFFFF
        exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
        options["exif"] = exif
    (tmp_path / "photo.jpg").write_bytes(jpeg(base, **options))
    taken = Base.of_photograph(tmp_path / "photo.jpg")
    assert taken is not None
    write_ultrahdr(tmp_path / "a.jpg", hdr, taken)
    assert scans((tmp_path / "a.jpg").read_bytes()) == scans((tmp_path / "photo.jpg").read_bytes())
    before, after = read_image(tmp_path / "photo.jpg"), read_image(tmp_path / "a.jpg")
    assert np.array_equal(before.pixels, after.pixels)
    assert after.metadata["colour"] == before.metadata["colour"]
    weights = np.array((0.2126, 0.7152, 0.0722), np.float32)
    read = read_ultrahdr(tmp_path / "a.jpg").pixels
    assert np.percentile(stops_off(read @ weights, hdr @ weights), 95) < 0.2


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_photograph_keeps_its_colours(orientation: int, tmp_path: Path) -> None:
    hdr = scene()
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    stored = jpeg(encode(hdr), exif=exif, icc_profile=build_profile("p3", "srgb"))
    (tmp_path / "photo.jpg").write_bytes(stored)
    taken = Base.of_photograph(tmp_path / "photo.jpg")
    assert taken is not None
    upright = turn_upright(hdr, orientation)
    write_ultrahdr(tmp_path / "a.jpg", upright, taken)
    before, after = read_image(tmp_path / "photo.jpg"), read_image(tmp_path / "a.jpg")
    assert after.metadata["colour"] == before.metadata["colour"]
    assert after.metadata["orientation"] == 1
    assert np.abs(before.pixels.astype(int) - after.pixels).mean() < 2


REWRITTEN: dict[str, tuple[Segment, GainMapCoding, dict[str, Any]]] = {
    "iso, three channels": (
        Segment(APP2, ISO_GAIN_MAP + iso_packed(CODING, multi=True, common=False)),
        CODING,
        {"order": "<", "shrink": 2},
    ),
    "xmp, grey and small": (Segment(APP1, XMP + as_attributes(GREY)), GREY, {"shrink": 4, "grey": True}),
    "lists of elements": (Segment(APP1, XMP + as_lists(CODING)), CODING, {"index": False}),
}


@pytest.mark.parametrize("kind", REWRITTEN)
def test_an_ultra_hdr_photograph_keeps_base_and_gain_map(kind: str, tmp_path: Path) -> None:
    said, coding, layout = REWRITTEN[kind]
    photo, path = tmp_path / "photo.jpg", tmp_path / "a.jpg"
    photo.write_bytes(file_of(scene(96, 128), said, coding, **layout))
    assert rewrite_ultrahdr(path, photo, metadata={"model": "none"})
    before, after = photo.read_bytes(), path.read_bytes()
    assert scans(after) == scans(before)
    assert scans(after[after.rindex(b"\xff\xd8\xff") :]) == scans(before[before.rindex(b"\xff\xd8\xff") :])
    assert json.loads(read_image(path).metadata["comment"]) == {"model": "none"}
    ours = read_ultrahdr(photo).pixels
    np.testing.assert_allclose(read_ultrahdr(path).pixels, ours, rtol=1e-5, atol=1e-6)
    if "shrink" not in layout:  # other programs enlarge small gain maps in ways of their own
        for name, theirs in oracles(path).items():
            assert stops_off(theirs, ours.clip(0, BRIGHTEST)).max() < 0.04, name


def test_other_programs_see_no_difference_in_a_photograph_handed_on(tmp_path: Path) -> None:
    photo, path, hdr = tmp_path / "photo.jpg", tmp_path / "a.jpg", scene(96, 128)
    write_ultrahdr(photo, hdr, encode(hdr))
    assert rewrite_ultrahdr(path, photo)
    before = oracles(photo)
    for name, theirs in oracles(path).items():
        np.testing.assert_allclose(theirs, before[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_turned_ultra_hdr_photograph_keeps_its_light(tmp_path: Path) -> None:
    hdr = scene(96, 128)
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    base = jpeg(encode(hdr), exif=exif, icc_profile=build_profile("p3", "srgb"))
    gain_map = insert(jpeg(gains_of(hdr, base, CODING)[::2, ::2]), Segment(APP1, XMP + as_lists(CODING)))
    (tmp_path / "photo.jpg").write_bytes(assemble(base, gain_map))
    assert rewrite_ultrahdr(tmp_path / "a.jpg", tmp_path / "photo.jpg")
    before, after = read_ultrahdr(tmp_path / "photo.jpg"), read_ultrahdr(tmp_path / "a.jpg")
    assert after.shape == before.shape == (128, 96, 3)
    assert after.metadata["colour"] == before.metadata["colour"]
    assert np.percentile(stops_off(after.pixels, before.pixels.clip(0)), 99) < 0.15
    assert read_image(tmp_path / "a.jpg").metadata["orientation"] == 1


def test_what_is_no_base_is_left_to_the_caller(pair: Pair, tmp_path: Path) -> None:
    PillowImage.fromarray(pair[1]).save(tmp_path / "a.png")
    assert Base.of_photograph(tmp_path / "a.png") is None
    (tmp_path / "cut.jpg").write_bytes(jpeg(pair[1])[:500])
    with pytest.raises(ImageError):
        Base.of_photograph(tmp_path / "cut.jpg")


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 500.0])
def test_flat_images(value: float, tmp_path: Path) -> None:
    hdr = np.full((16, 24, 3), value, np.float32)
    write_ultrahdr(tmp_path / "a.jpg", hdr, encode(hdr))
    np.testing.assert_allclose(read_ultrahdr(tmp_path / "a.jpg").pixels, hdr, rtol=0.01, atol=0.001)


def test_what_the_container_says_is_no_metadata_of_the_photograph(pair: Pair, tmp_path: Path) -> None:
    write_ultrahdr(tmp_path / "x.jpg", *pair)
    assert read_metadata(tmp_path / "x.jpg").packet() == b""


def test_unfit_images_are_refused(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    for wrong_hdr, wrong_base, said in (
        (hdr * np.float32(np.inf), base, "finite"),
        (hdr, base[:-1], "as large as the image"),
        (hdr, base.astype(np.uint16), "uint8"),
        (hdr, Base.of_pixels(base[:-8]), "the base has"),
    ):
        with pytest.raises(ImageError, match=said):
            write_ultrahdr(tmp_path / "a.jpg", wrong_hdr, wrong_base)
    assert not list(tmp_path.iterdir())
