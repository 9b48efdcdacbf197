"""What reads each kind of file, and what may come of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdrlab import reproduce
from hdrlab.camera.curves import load_response_curves
from hdrlab.datasets import splits
from hdrlab.datasets.index import open_index
from hdrlab.errors import HdrlabError
from hdrlab.evaluation.plans import read_plan
from hdrlab.inference.batch import Manifest
from hdrlab.inference.video.reading import Clip, VideoClip, open_clip
from hdrlab.inference.video.sources import clip_sources
from hdrlab.inference.video.writing import Coding, SegmentWriter, join
from hdrlab.io import probe_image, read_hdr, read_image, read_photograph, write_image
from hdrlab.io.metadata import read_metadata
from hdrlab.io.tensorflow.checkpoint import read_tensorflow_checkpoint
from hdrlab.io.tensorflow.records import count_records, read_pairs, read_tone_records
from hdrlab.io.ultrahdr import Base, has_gain_map
from hdrlab.metrics import load_niqe_model
from hdrlab.ops.inverse_basis import load_inverse_basis
from hdrlab.training.checkpoint_list import find_last
from hdrlab.training.checkpoints import load_stage
from hdrlab.training.metrics_rows import read_metrics
from hdrlab.training.run_folder import read_finished
from hdrlab.weights import load_vgg16
from hdrlab.weights.identify import find_sources, read_bundle, unpacked
from hdrlab.weights.net_file import load_nets

pixels = 1_000_000
"""What an image may declare here; a worker sets it."""

Read = Callable[[Path], Any]


def _image(path: Path) -> None:
    loaded = read_image(path, max_pixels=pixels, sanitize=True)
    info = probe_image(path, max_pixels=pixels)
    assert loaded.shape[2] in (1, 3)
    assert loaded.dtype.name in (("float32",) if loaded.domain == "linear" else ("uint8", "uint16"))
    assert (info.height, info.width, info.domain) == (*loaded.shape[:2], loaded.domain)


def _light(path: Path) -> None:
    image = read_hdr(path, max_pixels=pixels, sanitize=True, keep_outside=True)
    assert (image.dtype, image.domain) == (np.float32, "linear")


def _photograph(path: Path) -> None:
    read_photograph(path, max_pixels=pixels, keep_outside=True)


def _base(path: Path) -> None:
    has_gain_map(path)
    Base.of_photograph(path, pixels)


def _frames(clip: Clip) -> None:
    """Look a clip through, and read frames at its beginning and from within."""
    times = [time for time, seen in clip.times() if seen().shape[1] == 3]
    if times:
        clip.breaks_off(times)
    middle = len(times) // 2
    for start, stop in ((0, 2), (middle, middle + 1)):
        for frame in clip.frames(times, start, stop):
            assert frame.shape == (1, 3, clip.about.height, clip.about.width)
            assert frame.isfinite().all()


def _clip(path: Path) -> None:
    clip = VideoClip(path, pixels)
    _frames(clip)
    segment = path.with_name("segment")
    if not segment.exists():
        writer = SegmentWriter(segment, "video", Coding("h264"), clip.about, (16, 16))
        writer.add(torch.zeros(1, 3, 16, 16), 0)
        writer.close()
    for container in ("mp4", "mkv"):
        join(path.with_name(f"joined.{container}"), [segment], source=path, about=clip.about)


def _sequence(path: Path) -> None:
    """Read a frame behind a gap, after one that tells what to expect."""
    first = path.with_name(f"subject.1{path.suffix}")
    if not first.exists():
        light = path.suffix == ".exr"
        write_image(first, np.full((24, 40, 3), 0.5 if light else 99, np.float32 if light else np.uint8))
    _frames(open_clip(clip_sources([str(path.with_name(f"subject.%d{path.suffix}"))], sequence=False)[0][0]))


def _tones(path: Path) -> None:
    for _ in read_tone_records(path):
        pass


def _unpacked(path: Path) -> None:
    with unpacked(path) as source:
        for prefix in find_sources(source)[0]:
            read_bundle(prefix, None)


def _curves(path: Path) -> None:
    load_response_curves(path)


def _outputs(path: Path) -> None:
    with Manifest(path, "s"):
        pass


IMAGE: tuple[Read, ...] = (_image, _light, _photograph, read_metadata)
READERS: Mapping[str, tuple[Read, ...]] = {
    **dict.fromkeys(("radiance", "openexr", "tiff", "pfm", "png", "avif", "heic", "jxl"), IMAGE),
    **dict.fromkeys(("jpeg", "ultrahdr"), (*IMAGE, _base)),
    **dict.fromkeys(("mp4", "mov", "mkv", "webm"), (_clip,)),
    "sequence": (_sequence,),
    "net": (load_nets,),
    "safetensors": (load_nets,),
    "checkpoint": (load_stage, load_nets),
    **dict.fromkeys(("vgg_npy", "vgg_pth", "vgg_safetensors", "vgg_h5"), (load_vgg16,)),
    "npz": (load_niqe_model,),
    "mat": (load_niqe_model,),
    "bundle": (read_tensorflow_checkpoint,),
    "bundle_zip": (_unpacked,),
    "tfrecord": (count_records, read_pairs, _tones),
    "tfrecord_gzip": (count_records, read_pairs, _tones),
    "manifest": (lambda path: splits.list_images(path.parent, manifest=path),),
    "metrics": (read_metrics,),
    "curves": (_curves,),
    "basis": (load_inverse_basis,),
    "checkpoint_list": (lambda path: find_last(path.parent),),
    "finished": (lambda path: read_finished(path.parent),),
    "journal": (reproduce.read_json, reproduce.Journal.open),
    "outputs": (_outputs,),
    "plan": (read_plan,),
    "index": (lambda path: open_index(path.parent),),
}
"""What reads a file of each kind."""


def read_all(kind: str, path: Path) -> int:
    """Read a file in every way in which its kind is read.

    Returns:
        How many of them refused it.

    Raises:
        AssertionError: What was read is not what it should be, or a refusal does not name the file in one
            line a problem.
        BaseException: Whatever else a reader raised: a finding.
    """
    refused = 0
    for read in READERS[kind]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
        except HdrlabError as error:
            said = str(error)
            assert path.stem in said or str(path.parent) in said, f"names no file: {said}"
            assert all(len(line) < 9000 for line in said.splitlines()), f"too long: {said[:300]}"
            assert "weights_only" not in said, f"repeats torch's advice: {said}"
            refused += 1
    return refused
