"""Small valid files of every format that the package reads."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import OpenEXR
import pillow_heif
import safetensors.torch
import scipy.io
import tifffile
import torch
from colour_files import chrm, gamma, iccp, logluv_file, matrix_profile, png, table
from moving import lamp, write_clip
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo
from records import field, framed, masked_crc, pair_example, tone_example, tone_maps, varint
from training import prepare_formulas

from hdrlab.config.choices import CONF
from hdrlab.io import write_image
from hdrlab.io.openexr import COMPRESSIONS
from hdrlab.io.tensorflow.checkpoint import MAGIC
from hdrlab.io.ultrahdr import write_ultrahdr
from hdrlab.nets import build_net
from hdrlab.ops.colour_spaces import P3
from hdrlab.stages import stage_class
from hdrlab.training.checkpoint_list import Entry
from hdrlab.weights.net_file import save_net

SUBJECT = "subject"
"""Stem of the file that is read, damaged or not."""


@dataclass(frozen=True)
class Seed:
    """A valid file.

    Attributes:
        kind: What it is, a key of `hdrlab` readers (`readers.READERS`) and of `mutations.MUTATIONS`.
        name: What it is called, below a folder of its kind.
        data: Its bytes.
    """

    kind: str
    name: str
    data: bytes


def make_seeds(folder: Path) -> list[Seed]:
    """Make all of them, and below the folder what lies beside them, such as the shards of an index."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [
        *images(folder / "images"),
        *clips(folder / "clips"),
        *weights(folder),
        *tables(folder),
        *records(),
    ]
    for seed in seeds:
        (folder / seed.kind).mkdir(exist_ok=True)
    return seeds


# --------------------------------------------------------------------------------------------------- images

_KIND_OF_SUFFIX = {
    "hdr": "radiance", "exr": "openexr", "tif": "tiff", "pfm": "pfm", "png": "png", "jpg": "jpeg",
    "avif": "avif", "heic": "heic", "jxl": "jxl",
}  # fmt: skip


def images(folder: Path) -> Iterator[Seed]:
    """Yield one image of each form that the readers tell apart."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_images(folder)
    for path in sorted(folder.iterdir()):
        kind = "ultrahdr" if path.name.startswith("ultra") else _KIND_OF_SUFFIX[path.suffix[1:]]
        yield Seed(kind, f"{SUBJECT}{path.suffix}", path.read_bytes())


def _write_images(folder: Path) -> None:
    hdr, photo = _light(), _photograph()
    for compression in COMPRESSIONS:
        write_image(folder / f"{compression}.exr", hdr, compression=compression)
    write_image(folder / "layers.exr", hdr, half=False, layers={"mask": hdr[..., 0]})
    write_image(folder / "wide.exr", hdr, colorspace="rec2020")
    write_image(folder / "rle.hdr", hdr)
    write_image(folder / "flat.hdr", hdr[:, :5])
    write_image(folder / "wide.hdr", hdr, colorspace="p3")
    old = b"#?RGBE\nFORMAT=32-bit_rle_xyze\nEXPOSURE=2\nCOLORCORR=1 2 3\n\n+X 4 -Y 3\n"
    (folder / "old.hdr").write_bytes(old + bytes((10, 20, 30, 129, 1, 1, 1, 2)) * 4)
    write_image(folder / "colour.pfm", hdr)
    write_image(folder / "grey.pfm", hdr[..., :1])
    write_image(folder / "float.tif", hdr)
    write_image(folder / "short.tif", photo.astype(np.uint16) * 257)
    tifffile.imwrite(folder / "tiles.tif", hdr, tile=(16, 16), compression="zlib", photometric="rgb")
    tifffile.imwrite(folder / "big.tif", hdr.astype(np.float16), bigtiff=True, photometric="rgb")
    (folder / "luv.tif").write_bytes(logluv_file(hdr))
    tifffile.imwrite(folder / "lab.tif", photo, photometric="cielab")
    steps = {"Y": 1, "RY": 2, "BY": 2}
    channels = {
        name: OpenEXR.Channel(hdr[..., place].copy(), step, step)
        for place, (name, step) in enumerate(steps.items())
    }
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, channels).write(str(folder / "chroma.exr"))
    write_image(folder / "short.png", photo.astype(np.uint16) * 257)
    image, exif, text = PillowImage.fromarray(photo), PillowImage.Exif(), PngInfo()
    exif[0x0112], exif[0x010F], exif[0x8769] = 6, "maker", {0xA001: 2, 0x829A: 0.01}
    exif[0x8825] = {1: "N", 2: (51.0, 28.0, 38.0), 3: "W", 4: (0.0, 0.0, 1.0)}
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>", zip=True)
    text.add_text("Comment", "said " * 20, zip=True)
    for mode in ("RGB", "P", "RGBA", "1"):
        image.convert(mode).save(folder / f"{mode}.png", exif=exif, pnginfo=text)
    for compression in ("tiff_lzw", "jpeg", "packbits"):
        image.save(folder / f"{compression}.tif", compression=compression)
    image.convert("CMYK").save(folder / "cmyk.tif")
    image.save(folder / "baseline.jpg", exif=exif)
    image.save(folder / "progressive.jpg", progressive=True)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    write_ultrahdr(folder / "ultra.jpg", hdr / 8, photo)
    primaries = matrix_profile(P3, gamma(1.8))
    sampled = matrix_profile(P3, table(np.linspace(0, 1, 64) ** 2.2))
    image.save(folder / "profile.jpg", icc_profile=primaries)
    image.save(folder / "sampled.jpg", icc_profile=sampled)
    tifffile.imwrite(folder / "profile.tif", hdr, photometric="rgb", iccprofile=primaries)
    chunks = {b"cICP": bytes((9, 16, 0, 1)), b"iCCP": iccp(primaries), b"cHRM": chrm(P3)}
    (folder / "colour.png").write_bytes(png(photo.astype(np.uint16) * 257, chunks))
    (folder / "profile.png").write_bytes(png(photo, {b"iCCP": iccp(sampled)}))
    ten = photo.astype(np.uint16) * 4
    (folder / "pq.avif").write_bytes(imagecodecs.avif_encode(ten, bitspersample=10, primaries=9, transfer=16))
    image.save(folder / "turned.avif", exif=exif, icc_profile=primaries)
    pillow_heif.from_pillow(image).save(folder / "x.heic", exif=exif.tobytes())
    (folder / "x.jxl").write_bytes(imagecodecs.jpegxl_encode(photo))
    (folder / "boxed.jxl").write_bytes(imagecodecs.jpegxl_encode(photo, usecontainer=True))
    (folder / "float.jxl").write_bytes(imagecodecs.jpegxl_encode(hdr, lossless=True))


def _light() -> NDArray[np.float32]:
    """Light [24, 40, 3] of about 14 stops, with flat parts, black and a strongly coloured pixel."""
    pixels = np.exp2(np.random.default_rng(7).uniform(-8, 6, (24, 40, 3))).astype(np.float32)
    pixels[:6], pixels[6, :5] = 0.5, 0
    pixels[7, 0] = 1000, 1, 0.001
    return pixels


def _photograph() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 5], axis=2).astype(np.uint8)


# -------------------------------------------------------------------------------------------------- weights


def weights(folder: Path) -> Iterator[Seed]:
    """Yield files of nets and of what nets need, each as small as its reader takes it."""
    place = folder / "weights"
    place.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net = build_net("dequantization", width=0.01)
    for suffix, kind in ((".pt", "net"), (".safetensors", "safetensors")):
        save_net(net, place / f"net{suffix}", {})
        yield Seed(kind, f"{SUBJECT}{suffix}", (place / f"net{suffix}").read_bytes())
    stage = stage_class("deq")(width=0.01)
    stored = {"state_dict": stage.state_dict(), "hyper_parameters": dict(stage.hparams), "global_step": 3}
    stage.on_save_checkpoint(stored)
    torch.save(stored, place / "last.ckpt")
    yield Seed("checkpoint", f"{SUBJECT}.ckpt", (place / "last.ckpt").read_bytes())
    yield from _vgg_files(place)
    draws = np.random.default_rng(0)
    for names in (("mu_prisparam", "cov_prisparam"), ("mu_pris_param", "cov_pris_param")):
        model = dict(zip(names, (draws.random((1, 36)), draws.random((36, 36))), strict=True))
        np.savez(place / "niqe.npz", **model)
        np.savez_compressed(place / "packed.npz", **model)
        scipy.io.savemat(place / "niqe.mat", model, do_compression=names[0].endswith("prisparam"))
        for name in ("niqe.npz", "packed.npz"):
            yield Seed("npz", f"{SUBJECT}.npz", (place / name).read_bytes())
        yield Seed("mat", f"{SUBJECT}.mat", (place / "niqe.mat").read_bytes())
    index, shard = bundle()
    (folder / "bundle").mkdir(exist_ok=True)
    (folder / "bundle" / f"{SUBJECT}.data-00000-of-00001").write_bytes(shard)
    yield Seed("bundle", f"{SUBJECT}.index", index)
    yield Seed("bundle_zip", f"{SUBJECT}.zip", _zipped({"m.index": index, "m.data-00000-of-00001": shard}))


def _vgg_files(place: Path) -> Iterator[Seed]:
    kernel, bias = np.ones((3, 3, 3, 4), np.float32), np.zeros(4, np.float32)
    layers = {"conv1_1": [kernel, bias], "conv1_2": {"weights": kernel, "biases": bias}}
    np.save(place / "vgg.npy", np.array(layers, object), allow_pickle=True)
    yield Seed("vgg_npy", f"{SUBJECT}.npy", (place / "vgg.npy").read_bytes())
    for protocol in (2, 5):
        array = np.empty((), object)
        array[()] = layers
        with (place / "old.npy").open("wb") as file:
            header = {"descr": "|O", "fortran_order": False, "shape": ()}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(pickle.dumps(array, protocol=protocol))
        yield Seed("vgg_npy", f"{SUBJECT}.npy", (place / "old.npy").read_bytes())
    state = {"features.0.weight": torch.ones(4, 3, 3, 3), "features.0.bias": torch.zeros(4)}
    for new in (True, False):
        torch.save(state, place / "vgg.pth", _use_new_zipfile_serialization=new)
        yield Seed("vgg_pth", f"{SUBJECT}.pth", (place / "vgg.pth").read_bytes())
    yield Seed("vgg_safetensors", f"{SUBJECT}.safetensors", safetensors.torch.save(state))
    with h5py.File(place / "vgg.h5", "w") as file:
        file["block1_conv1/block1_conv1_W_1:0"] = kernel
        file.create_dataset("block1_conv1/block1_conv1_b_1:0", data=bias, chunks=(2,), compression="gzip")
    yield Seed("vgg_h5", f"{SUBJECT}.h5", (place / "vgg.h5").read_bytes())


def bundle() -> tuple[bytes, bytes]:
    """A TensorFlow checkpoint of two variables: its index and its shard."""
    values = {"net/a": np.arange(6, dtype="<f4").reshape(2, 3), "net/b": np.ones(2, "<f4")}
    shard, rows, former = b"", [(0, b"", b"\x08\x01")], b""
    for name, value in values.items():
        raw = value.tobytes()
        shape = b"".join(field(2, b"\x08" + varint(side)) for side in value.shape)
        place = b"\x20" + varint(len(shard)) + b"\x28" + varint(len(raw))
        shared = 4 if former else 0
        rows.append(
            (
                shared,
                name.encode()[shared:],
                b"\x08\x01" + field(2, shape) + place + b"\x35" + masked_crc(raw),
            )
        )
        shard, former = shard + raw, name.encode()
    data = table_block(rows)
    index = table_block([(0, b"z", varint(0) + varint(len(data) - 5))])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer + bytes(40 - len(footer)) + MAGIC, shard


def table_block(rows: list[tuple[int, bytes, bytes]]) -> bytes:
    """A block of a table, as LevelDB writes it; a row: what its key shares with the last, adds, its value."""
    body = b"".join(varint(s) + varint(len(k)) + varint(len(v)) + k + v for s, k, v in rows)
    body += bytes(4) + (1).to_bytes(4, "little") + b"\0"
    return body + masked_crc(body)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


# ----------------------------------------------------------------------------------------------------- clips


def clips(folder: Path) -> Iterator[Seed]:
    """Yield clips with sound and metadata in each container, and frames of a sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = [lamp((48, 64), number) for number in range(5)]
    for suffix in ("mp4", "mov", "mkv"):
        path = folder / f"{SUBJECT}.{suffix}"
        write_clip(path, frames, sound=True, metadata={"title": "x"}, rotation=90 * (suffix == "mov"))
        yield Seed(suffix, path.name, path.read_bytes())
    path = write_clip(
        folder / f"{SUBJECT}.webm", frames, encoder="libvpx-vp9", options={"deadline": "realtime"}
    )
    yield Seed("webm", path.name, path.read_bytes())
    path = write_clip(folder / "deep.mkv", [[plane.astype(np.uint16) * 4 for plane in one] for one in frames],
                      pix_fmt="yuv420p10le", tags=(9, 16, 9, 1))  # fmt: skip
    yield Seed("mkv", f"{SUBJECT}.mkv", path.read_bytes())
    write_image(folder / "one.png", np.full((24, 40, 3), 90, np.uint8))
    write_image(folder / "one.exr", np.full((24, 40, 3), 0.4, np.float32))
    for suffix in ("png", "exr"):
        yield Seed("sequence", f"{SUBJECT}.3.{suffix}", (folder / f"one.{suffix}").read_bytes())


# ---------------------------------------------------------------------------------------- tables and records


def tables(folder: Path) -> Iterator[Seed]:
    """Yield what is text: lists, manifests, metrics, journals, plans, curves."""
    header = "file,split,scene,role\n"
    rows = [f"HDR/{n}.exr,{s},scene {n},hdr\n" for n, s in enumerate(("train", "val", "test"))]
    yield Seed("manifest", f"{SUBJECT}.csv", (header + "".join(rows)).encode())
    yield Seed("metrics", f"{SUBJECT}.csv", b"step,metric,value\n" + b"3,val/loss,0.25\n4,lr,1e-3\n" * 3)
    yield Seed("curves", f"{SUBJECT}.txt", _dorf())
    yield Seed("basis", f"{SUBJECT}.txt", _emor())
    entry = asdict(Entry("last.ckpt", 3, 10, "ab"))
    yield Seed("checkpoint_list", "checkpoints.json", json.dumps([entry, entry]).encode())
    yield Seed("finished", "finished.json", b'{"step": 3, "scores": {"val/loss": 0.5}}')
    journal = {"seconds": {"deq": 1.5}, "done": {"deq": "a"}, "scored": {}}
    yield Seed("journal", "journal.json", json.dumps(journal).encode())
    begun = {"target": "a", "files": ["a.exr"]}
    done = {"target": "a", "stamp": [1, 2], "settings": "s", "files": {"a.exr": [1, "ab"]}}
    yield Seed("outputs", "manifest.jsonl", b"".join(json.dumps(x).encode() + b"\n" for x in (begun, done)))
    yield Seed("plan", f"{SUBJECT}.yaml", (CONF.parent / "experiments" / "iqatm.yaml").read_bytes())
    prepare_formulas(folder / "index")
    yield Seed("index", "index.json", (folder / "index" / "index.json").read_bytes())


def _dorf() -> bytes:
    grid = " ".join(f"{value:.5f}" for value in np.linspace(0, 1, 1024))
    return "".join(f"curve{n}\ngamma\nI =\n{grid}\nB =\n{grid}\n" for n in range(2)).encode()


def _emor() -> bytes:
    grid = np.linspace(0, 1, 1024)
    waves = {f"hinv({n})": np.sqrt(2 / 1023) * np.sin(np.pi * n * grid) for n in range(1, 12)}
    text = ""
    for name, values in {"B": grid, "g0": grid, **waves}.items():
        text += f"{name} =\n" + "".join(
            " ".join(f"{v:.7f}" for v in row) + "\n" for row in values.reshape(256, 4)
        )
    return text.encode()


def records() -> Iterator[Seed]:
    """Yield TensorFlow's record files of every kind, plain and zipped."""
    pair = pair_example(np.zeros((256, 256, 3)), np.ones((256, 256, 3)))
    tones = [tone_example(tone_maps(kind, 0)) for kind in ("dual", "ft")]
    small = [framed(record) * 2 for record in tones]
    for data in (framed(pair), *small):
        yield Seed("tfrecord", f"{SUBJECT}.tfrecords", data)
        yield Seed("tfrecord_gzip", f"{SUBJECT}.tfrecords", gzip.compress(data, 1))
