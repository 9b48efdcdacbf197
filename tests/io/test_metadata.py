"""What a camera and people said of a photograph, from one file into another."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
import tifffile
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from hdrlab.errors import ImageError
from hdrlab.io import read_image, write_image
from hdrlab.io.exif import ASCII, BYTE, RATIONAL, SHORT, UNDEFINED, Exif, Tag
from hdrlab.io.heif import write_pq_avif
from hdrlab.io.jpegxl import write_jpegxl
from hdrlab.io.metadata import PhotoMetadata, read_metadata
from hdrlab.io.xmp import find_text, parse_xmp

PHOTOSHOP, RIGHTS = "http://ns.adobe.com/photoshop/1.0/", "http://ns.adobe.com/xap/1.0/rights/"
XMP = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:photoshop="{PHOTOSHOP}" xmlns:xmpRights="{RIGHTS}" photoshop:City="Ulm"
xmpRights:WebStatement="https://example.org" photoshop:Headline="Minster"/></rdf:RDF></x:xmpmeta>"""


def iptc(data_set: int, text: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, 2, data_set, len(text)) + text


def photo() -> PhotoMetadata:
    """What a camera of big-endian Exif says, with a comment beyond ASCII."""
    comment = b"UNICODE\0" + "Grüße".encode("utf-16-be")
    exif = Exif(">", {0x8298: Tag(ASCII, b"me\0")}, {0x9286: Tag(UNDEFINED, comment)})
    return PhotoMetadata(exif, parse_xmp(XMP.encode()), iptc(120, b"Minster") + iptc(90, b"Ulm"))


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".exr"])
def test_a_comment_keeps_its_letters(tmp_path: Path, suffix: str) -> None:
    kind = np.float32 if suffix == ".exr" else np.uint8
    write_image(tmp_path / f"x{suffix}", np.ones((4, 4, 3), kind), photo=photo())
    read = read_metadata(tmp_path / f"x{suffix}")
    assert read.attributes()["comments"] == "Grüße"
    assert read.xmp is not None
    assert find_text(read.xmp, f"{{{PHOTOSHOP}}}Headline") == "Minster"


def exiftool(file: Path) -> dict[str, Any]:
    asked = subprocess.run(["exiftool", "-json", "-n", str(file)], capture_output=True, check=True)
    said: dict[str, Any] = json.loads(asked.stdout)[0]
    return said


@pytest.mark.parametrize("kind", ["avif", "jxl"])
@pytest.mark.parametrize("said", [photo(), photo().kept("no_gps"), photo().kept("strip")])
def test_pq_files_keep_exif_and_xmp(kind: str, said: PhotoMetadata, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    light = np.random.default_rng(0).uniform(0, 900, (40, 56, 3)).astype(np.float32)
    plain, path = tmp_path / f"plain.{kind}", tmp_path / f"x.{kind}"
    write = write_pq_avif if kind == "avif" else write_jpegxl
    write(plain, light)
    write(path, light, photo=said)
    np.testing.assert_array_equal(read_image(path).pixels, read_image(plain).pixels)
    assert read_metadata(plain).exif_block() == read_metadata(plain).packet() == b""
    read = read_metadata(path)
    assert read.exif_block() == said.exif_block()
    assert (read.xmp is None) == (said.xmp is None)
    if kind == "avif":  # a reader of its own
        with PillowImage.open(path) as image:
            assert image.info.get("exif", b"").removeprefix(b"Exif\0\0") == said.exif_block()
            assert image.info.get("xmp", b"") == said.packet()
    if shutil.which("exiftool") is None:
        return
    found, wanted = exiftool(path), {}
    assert "Error" not in found
    assert "Warning" not in found
    if said.exif.main:
        wanted |= {"Copyright": "me", "UserComment": "Grüße", "Headline": "Minster"}
    if said.xmp is not None and find_text(said.xmp, f"{{{PHOTOSHOP}}}City"):
        wanted |= {"City": "Ulm"}
    names = ("Copyright", "UserComment", "Headline", "City")
    assert {name: found[name] for name in names if name in found} == wanted


def test_raw_files_with_heads_of_their_own(tmp_path: Path) -> None:
    """Olympus and Panasonic begin otherwise than TIFF; Fujifilm has a JPEG within."""
    exif = PhotoMetadata(Exif("<", {0x8298: Tag(ASCII, b"me\0", "<")})).exif.pack()
    image = io.BytesIO()
    PillowImage.new("RGB", (8, 8)).save(image, "JPEG", exif=b"Exif\0\0" + exif)
    files = {f"{head.hex()}.orf": head + exif[4:] for head in (b"IIRO", b"IIRS", b"IIU\0")}
    files["x.raf"] = (
        b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">I", 96) + bytes(8) + image.getvalue()
    )
    files["y.raf"] = b"FUJIFILMCCD-RAW ".ljust(100, b"\0")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        found = read_metadata(tmp_path / name).attributes()
        assert found == ({} if name == "y.raf" else {"owner": "me", "copyright": "me"}), name


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_texts_of_a_png(kind: str, tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    if kind == "iTXt":
        info.add_itxt("Copyright", "Jörg", zip=True)
    else:
        info.add_text("Copyright", "Jörg", zip=kind == "zTXt")
    PillowImage.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=info)
    assert kind.encode() in (tmp_path / "x.png").read_bytes()
    assert read_metadata(tmp_path / "x.png").attributes() == {"owner": "Jörg", "copyright": "Jörg"}


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_avif_and_heic_as_others_write_them(kind: str, tmp_path: Path) -> None:
    """Texts beyond ASCII come as they are; what is damaged is left out."""
    said = PhotoMetadata(Exif(">", {0x8298: Tag(ASCII, "© Jörg\0".encode())}))
    if kind == "heic":  # Pillow's AVIF writer turns this into a box, and other letters into ? on the way
        said.exif.main[0x0112] = Tag(SHORT, b"\0\6")
    image, path = PillowImage.new("RGB", (64, 48)), tmp_path / f"x.{kind}"
    options: dict[str, Any] = {"exif": b"Exif\0\0" + said.exif.pack(), "xmp": XMP.encode()}
    if kind == "heic":
        pytest.importorskip("pillow_heif").from_pillow(image).save(path, **options)
    else:
        image.save(path, **options)
    read = read_metadata(path)
    assert read.attributes()["owner"] == "© Jörg"
    assert read.xmp is not None
    assert find_text(read.xmp, f"{{{PHOTOSHOP}}}Headline") == "Minster"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(20, len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        read_metadata(path)


def test_jpeg_xl_as_others_write_it(tmp_path: Path) -> None:
    """Metadata packed by Brotli, as libjxl does it, and files that are no more than a codestream."""
    pytest.importorskip("imagecodecs")
    spec = oiio.ImageSpec(8, 8, 3, "uint8")
    spec.attribute("Copyright", "them")
    target = oiio.ImageOutput.create("jpegxl")
    assert target.open(str(tmp_path / "x.jxl"), spec)
    assert target.write_image(np.zeros((8, 8, 3), np.uint8))
    assert target.close()
    assert b"brob" in (tmp_path / "x.jxl").read_bytes()
    assert read_metadata(tmp_path / "x.jxl").attributes()["owner"] == "them"
    (tmp_path / "bare.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    assert read_metadata(tmp_path / "bare.jxl").exif_block() == b""


@pytest.mark.parametrize("keeping", ["keep", "strip"])
def test_a_tiff_has_no_blank_date(keeping: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "x.tif", np.ones((4, 4, 3), np.uint8), photo=photo().kept(keeping))
    with PillowImage.open(tmp_path / "x.tif") as image:
        assert 0x0132 not in image.getexif()


def test_a_description_stays_beside_what_hdrlab_says(tmp_path: Path) -> None:
    said = PhotoMetadata(Exif(">", {0x010E: Tag(ASCII, b"Minster zu Ulm\0")}))
    for name, metadata in (("own", None), ("both", {"scale": "relative"})):
        path = tmp_path / f"{name}.tif"
        write_image(path, np.ones((4, 4, 3), np.float32), metadata=metadata, photo=said)
        with tifffile.TiffFile(path) as file:
            assert file.pages[0].description == "Minster zu Ulm"
        assert read_image(path).metadata.get("hdrlab:scale") == (metadata and "relative")
        assert read_metadata(path).packet() == b""  # of this file, not of those made of it


def test_xmp_that_says_nothing_makes_room(tmp_path: Path) -> None:
    said = PhotoMetadata(Exif(), parse_xmp(b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'))
    write_image(
        tmp_path / "x.tif", np.ones((4, 4, 3), np.float32), metadata={"scale": "relative"}, photo=said
    )
    assert read_image(tmp_path / "x.tif").metadata["hdrlab:scale"] == "relative"


def described(path: Path, text: str) -> Path:
    pixels = np.ones((4, 4, 3), np.float32)
    tifffile.imwrite(path, pixels, photometric="rgb", description=text, metadata=None)
    return path


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("caption", ["Minster, „Ulm“", ""])
def test_a_description_is_found_in_older_tiffs(times: int, caption: str, tmp_path: Path) -> None:
    said = caption
    for _ in range(times):
        comments = {"comments": said} if said else {}
        said = json.dumps({**comments, "software": "hdrlab 0.1.0", "scale": "relative"})
    read = read_metadata(described(tmp_path / "x.tif", said))
    assert read.attributes() == ({"comments": caption} if caption else {})


@pytest.mark.parametrize("text", ['{"shape": [4, 4, 3]}', '{"a": ' + 99999 * "[", "{damaged"])
def test_other_descriptions_stay(text: str, tmp_path: Path) -> None:
    assert read_metadata(described(tmp_path / "x.tif", text)).attributes()["comments"] == text


@pytest.mark.parametrize("entry", [("two words", "x"), ('a="" b', "x"), ("a:b", "x"), ("a", "\0")])
def test_what_xmp_cannot_hold_is_refused(entry: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="XMP holds"):
        write_image(tmp_path / "x.tif", np.ones((4, 4, 3), np.float32), metadata=dict([entry]))
    assert not list(tmp_path.iterdir())


def test_openexr_keeps_iptc(tmp_path: Path) -> None:
    write_image(tmp_path / "x.exr", np.ones((4, 4, 3), np.float32), photo=photo())
    read = read_metadata(tmp_path / "x.exr")
    assert read.iptc == photo().iptc
    write_image(tmp_path / "x.jpg", np.ones((4, 4, 3), np.uint8), photo=read)
    assert read_metadata(tmp_path / "x.jpg").iptc == photo().iptc


@pytest.mark.parametrize("text", ["?", "Zoë", "QUJ"])
def test_damaged_iptc_is_left_out(text: str, tmp_path: Path) -> None:
    write_image(tmp_path / "x.exr", np.ones((4, 4, 3), np.float32), metadata={"iptc": text, "owner": "me"})
    read = read_metadata(tmp_path / "x.exr")
    assert (read.iptc, read.attributes()["owner"]) == (b"", "me")


@pytest.mark.parametrize("suffix", [".exr", ".hdr"])
@pytest.mark.parametrize(
    "names", [("", "Ann", ""), ("© Bo", "Ann", ""), ("Ann", "Ann", "Cy"), ("", "", "Cy")]
)
def test_artist_copyright_and_owner_stay_apart(suffix: str, names: tuple[str, ...], tmp_path: Path) -> None:
    rights, artist, owner = (Tag(ASCII, name.encode() + b"\0") for name in names)
    said = PhotoMetadata(Exif(">", {0x8298: rights, 0x013B: artist}, {0xA430: owner}))
    write_image(tmp_path / f"x{suffix}", np.ones((4, 4, 3), np.float32), photo=said)
    read = read_metadata(tmp_path / f"x{suffix}")
    write_image(tmp_path / "x.jpg", np.ones((4, 4, 3), np.uint8), photo=read)
    exif = read_metadata(tmp_path / "x.jpg").exif
    tags = (exif.main.get(0x8298), exif.main.get(0x013B), exif.details.get(0xA430))
    assert tuple(tag.text() if tag else "" for tag in tags) == names
    assert read.attributes()["owner"] == next(filter(None, names))


@pytest.mark.parametrize("suffix", [".exr", ".hdr"])
@pytest.mark.parametrize(("altitude", "offset"), [(-12.5, "-03:30"), (8848.0, "+05:45"), (0.0, "+00:00")])
def test_where_and_when_survive(suffix: str, altitude: float, offset: str, tmp_path: Path) -> None:
    details = {
        0x9206: Tag(RATIONAL, struct.pack(">II", 7, 2)),
        0x9011: Tag(ASCII, offset.encode() + b"\0"),
    }
    height = Tag(RATIONAL, struct.pack(">II", round(10 * abs(altitude)), 10))
    gps = {5: Tag(BYTE, bytes([altitude < 0])), 6: height}
    write_image(
        tmp_path / f"x{suffix}",
        np.ones((4, 4, 3), np.float32),
        photo=PhotoMetadata(Exif(">", {}, details, gps)),
    )
    read = read_metadata(tmp_path / f"x{suffix}")
    assert read.attributes()["altitude"] == altitude
    assert read.attributes()["focus"] == 3.5
    assert read.exif.details[0x9011].text() == offset


def test_an_owner_alone_is_copyright(tmp_path: Path) -> None:
    write_image(tmp_path / "x.exr", np.ones((4, 4, 3), np.float32), metadata={"owner": "© Bo"})
    assert read_metadata(tmp_path / "x.exr").exif.main[0x8298].text() == "© Bo"


def test_names_of_places_go_with_the_coordinates() -> None:
    kept = photo().kept("no_gps")
    assert kept.iptc == iptc(120, b"Minster")
    assert kept.xmp is not None
    assert find_text(kept.xmp, f"{{{PHOTOSHOP}}}City") is None
    assert find_text(kept.xmp, f"{{{RIGHTS}}}WebStatement") == "https://example.org"
    assert photo().kept("keep").iptc == photo().iptc


def test_two_whole_numbers_make_a_fraction() -> None:
    details = {0x829A: Tag(3, struct.pack(">HH", 1, 125)), 0x829D: Tag(4, struct.pack(">II", 28, 10))}
    found = PhotoMetadata(Exif(">", {}, details)).attributes()
    assert found == {"expTime": 1 / 125, "aperture": 2.8}
