"""Whole clips, chunk by chunk: what is done already, what another process does, and what becomes of them.

A chunk is a run of frames of one shot. Its files, listed in the manifest of the output folder, are done or
not: after a kill a clip goes on at the first chunk that is not, with the means that the one before left
behind. Shots depend on nothing outside them, so several processes share a clip by its shots; the last of them
joins it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch.nn.functional as F
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from torch import Tensor

from hdrlab.config.schema.commands import FilesConfig
from hdrlab.errors import ImageError, OperatorError, PluginError, RunError, printable
from hdrlab.inference.batch import Manifest, Outcome, make_output, reason_of, stamp_of
from hdrlab.inference.jobs import Job
from hdrlab.inference.video.colour import absolute, encode_light
from hdrlab.inference.video.hdr10 import LightLevel
from hdrlab.inference.video.reading import Clip, Description, open_clip
from hdrlab.inference.video.sheets import shot_row, shots_sheet
from hdrlab.inference.video.shots import CutFinder
from hdrlab.inference.video.sources import ClipSource
from hdrlab.inference.video.steady import Maker
from hdrlab.inference.video.writing import KINDS, Coding, SegmentWriter, join
from hdrlab.io import write_image
from hdrlab.io.atomic import remove_stale, replacing, write_text

CURVE_FRAMES = 9
"""Frames of a shot from which its curve is estimated."""

PEAKS = {"hdr10": 10_000.0, "hlg": 1000.0}
"""Luminance in cd/m² that each kind of HDR video can hold."""

PREVIEW = Coding("h264", crf=20, preset="veryfast")
PREVIEW_SIDE = 960

Save = Callable[[Sequence[Path], Tensor, Tensor, int], None]
"""Writes a frame's files, given what it became, what it was, and its number."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What clips become.

    Attributes:
        maker: Makes what makes a clip's frames; with what a user should know. Of a clip that cannot be made
            it raises ImageError.
        fingerprint: Digest of everything that decides about the result.
        frame_files: Names the files of a frame, from their path without ending; nothing: frames are not
            written.
        save: Makes what writes them, of a clip.
        videos: Keys of `KINDS` that are written.
        coding: How they are compressed.
        container: A key of `CONTAINERS`; None: the source's, if it can hold the codec.
        show: What a frame that was made looks like on an SDR display, [1, 3, H, W] linear, 1 = white.
        preview: Makes what tone-maps a preview; None: there is none.
        preview_side: Its longer side in pixels.
        sheet: Whether there is a sheet of all shots.
        metadata: ``keep``, ``strip`` or ``no_gps``.
        chunk: Frames of a chunk.
        rate: Frames a second of sequences that do not say.
    """

    maker: Callable[[Description], tuple[Maker, Sequence[str]]]
    fingerprint: str
    frame_files: Callable[[Path], Sequence[Path]]
    save: Callable[[Description, Maker], Save]
    videos: Sequence[str]
    coding: Coding
    container: str | None = None
    show: Callable[[Tensor], Tensor]
    preview: Callable[[Description], Maker] | None = None
    preview_side: int = PREVIEW_SIDE
    sheet: bool = False
    metadata: str = "keep"
    chunk: int = 48
    rate: float | None = None


@dataclass(frozen=True)
class Chunk:
    """Some frames of a shot.

    Attributes:
        shot: Its number.
        start: The first frame.
        stop: The one after the last.
        is_first: Whether the shot begins with it.
    """

    shot: int
    start: int
    stop: int
    is_first: bool


@dataclass
class Survey:
    """A clip after it was looked through.

    Attributes:
        times: Of its frames, in its time base.
        starts: The frames with which shots begin.
    """

    times: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def shots(self) -> list[range]:
        """The frames of each shot."""
        ends = [*self.starts[1:], len(self.times)]
        return [range(start, end) for start, end in zip(self.starts, ends, strict=True)]

    def chunks(self, shot: int, length: int) -> list[Chunk]:
        """Divide a shot."""
        frames = self.shots()[shot]
        return [
            Chunk(shot, start, min(start + length, frames.stop), start == frames.start)
            for start in range(frames.start, frames.stop, length)
        ]


def make_clips(
    sources: Sequence[ClipSource],
    output: Path,
    recipe: Recipe,
    config: FilesConfig,
    journal: str,
) -> Outcome:
    """Make every clip that is not done yet; one that fails does not stop the others.

    Args:
        sources: Clips and sequences.
        output: The folder to write; it is made.
        recipe: What they become.
        config: Of the command: which share of the shots to make, whether to do all again, and the like.
        journal: Name of the manifest in the output folder.

    Raises:
        RunError: The folder cannot be made, or a name is given for several clips.
    """
    stem, fresh = config.stem, config.resume == "never"
    if stem is not None and len(sources) > 1:
        raise RunError(
            [f"stem={stem}: {len(sources)} clips cannot share a name; without it they keep their own"]
        )
    make_output(output)
    remove_stale(output)
    outcome, taken = Outcome(), set[str]()
    for source in sources:
        name = stem or source.stem
        if name in taken:
            name = f"{name}_{source.path.suffix[1:] or len(taken)}"
        taken.add(name)
        try:
            clip = open_clip(source, recipe.rate)
            made = recipe.maker(clip.about)  # refuses what cannot be made, before anything of it is written
            settings = f"{recipe.fingerprint} {_listing(clip)}"
            settings = hashlib.sha256(settings.encode()).hexdigest()[:16]
            with Manifest(output / journal, settings, fresh=fresh, overwrite=config.overwrite) as manifest:
                work = _ClipWork(clip, source, output, name, recipe, made, manifest)
                how, notes = work.run(config.shard, config.num_shards)
        except (ImageError, OperatorError, PluginError, OSError, MemoryError) as error:
            outcome.failed[source.path.name] = reason_of(error, source.path)
        else:
            outcome.done += how == "done"
            outcome.kept += how == "kept"
            if how == "shared":
                outcome.passed_over["finished by other processes"] += 1
            outcome.notes += [f"{source.path.name}: {note}" for note in notes]
    return outcome


class _ClipWork:
    """One clip on its way."""

    def __init__(
        self,
        clip: Clip,
        source: ClipSource,
        output: Path,
        name: str,
        recipe: Recipe,
        made: tuple[Maker, Sequence[str]],
        manifest: Manifest,
    ) -> None:
        self.clip, self.source, self.recipe, self.manifest = clip, source, recipe, manifest
        self.about, self.name = clip.about, name
        self.target, self.parts = output / name, output / f"{name}.parts"
        self.file = clip.files[0]  # by which the manifest sees that a source has changed
        own = self.file.suffix.lower()[1:]
        own = {"mov": "mov", "mkv": "mkv", "webm": "mkv"}.get(own, "mp4")
        self.container = recipe.container or ("mp4" if own == "mov" and recipe.coding.codec == "av1" else own)
        self.maker, notes = made
        self.notes: list[str] = [*clip.about.notes, *notes]

    # ------------------------------------------------------------------------------------------ what there is

    def videos(self) -> dict[str, Path]:
        """Files of the joined clips by kind; ``preview`` among them."""
        marked = {kind: f"_{kind}" if len(self.recipe.videos) > 1 else "" for kind in self.recipe.videos}
        files = {kind: f"{self.name}{mark}.{self.container}" for kind, mark in marked.items()}
        if self.recipe.preview:
            files["preview"] = f"{self.name}_preview.mp4"
        return {kind: self.target.with_name(file) for kind, file in files.items()}

    def frame_files(self, frame: int) -> Sequence[Path]:
        """Files of one frame."""
        if self.source.files:
            return self.recipe.frame_files(self.target.parent / self.source.files[frame].stem)
        return self.recipe.frame_files(self.target / f"{self.name}.{frame + 1:06d}")

    def job(self, name: str, outputs: Sequence[Path]) -> Job:
        """What the manifest calls a part."""
        return Job(self.file, self.source.path.name, self.parts / name, tuple(outputs))

    def final(self, survey: Survey) -> Job:
        """What there is in the end."""
        outputs = [*self.videos().values()]
        outputs += [self.target.with_name(f"{self.name}_sheet.png")] if self.recipe.sheet else []
        outputs += [file for frame in range(len(survey.times)) for file in self.frame_files(frame)]
        return self.job("all", outputs)

    def chunk_job(self, chunk: Chunk) -> Job:
        """A chunk's files: frames, a segment of each video, and what is known of it."""
        frames = [file for frame in range(chunk.start, chunk.stop) for file in self.frame_files(frame)]
        segments = [self.segment(chunk, kind) for kind in self.videos()]
        row = [self._row_file(chunk)] if self.recipe.sheet and chunk.is_first else []
        return self.job(f"{chunk.start:06d}", [*frames, *segments, *row, self._facts_file(chunk)])

    def segment(self, chunk: Chunk, kind: str) -> Path:
        return self.parts / f"{chunk.start:06d}.{kind}.mp4"

    def _facts_file(self, chunk: Chunk) -> Path:
        return self.parts / f"{chunk.start:06d}.json"

    def _row_file(self, chunk: Chunk) -> Path:
        return self.parts / f"{chunk.start:06d}.png"

    def _state_file(self, frame: int) -> Path:
        return self.parts / f"{frame:06d}.state"

    # ----------------------------------------------------------------------------------------------- the work

    def run(self, shard: int, num_shards: int) -> tuple[str, list[str]]:
        """Do this process' share; return how it ended and what a user should know."""
        remembered = self.job("survey", [self.target.with_name(f"{self.name}_shots.json")])
        with self.manifest.claimed(remembered, wait=True):
            survey = self._survey(remembered)
        final = self.final(survey)
        if self.manifest.has(final):
            return "kept", []
        if note := self.clip.breaks_off(survey.times):
            self.notes.append(note)
        shots = range(shard, len(survey.starts), num_shards)
        self.parts.mkdir(exist_ok=True)
        total = sum(len(survey.shots()[shot]) for shot in shots)
        with _watched(self.source.path.name, total) as watch:
            for shot in shots:
                with self.manifest.claimed(self.job(f"shot{shot}", []), wait=True):
                    self._shot(survey, shot, watch)
        return self._finish(survey, final)

    def _survey(self, job: Job) -> Survey:
        """Look a clip through for its frames and its shots, or read what was seen before."""
        file = job.outputs[0]
        if self.manifest.has(job):
            return Survey(**json.loads(file.read_text(encoding="utf-8")))
        self.manifest.begin(job)
        stamp, finder, survey = stamp_of(self.file), CutFinder(), Survey()
        for moment, seen in self.clip.times():
            survey.times.append(moment)
            finder.add(seen())
        if not survey.times:
            raise ImageError(self.source.path, "holds no frame that can be decoded")
        survey.starts = finder.cuts()
        write_text(file, json.dumps({"times": survey.times, "starts": survey.starts}))
        self.manifest.add(job, stamp)
        return survey

    def _shot(self, survey: Survey, shot: int, watch: _Watch) -> None:
        """Make the chunks of a shot that are not there."""
        maker, chunks = self.maker, survey.chunks(shot, self.recipe.chunk)
        done = 0
        while done < len(chunks) and self.manifest.has(self.chunk_job(chunks[done])):
            done += 1
        if done == len(chunks):
            watch.keep(chunks[-1].stop - chunks[0].start)
            return
        previewer = self.recipe.preview(self.about) if self.recipe.preview else None
        while done and not self._state_file(chunks[done].start).exists():
            done -= 1
        if done:
            watch.keep(chunks[done].start - chunks[0].start)
            self._resume(chunks[done].start, maker, previewer)
        else:
            frames = survey.shots()[shot]
            number = min(CURVE_FRAMES, len(frames))
            some = [frames[(2 * i + 1) * len(frames) // (2 * number)] for i in range(number)]
            maker.begin(one for frame in some for one in self.clip.frames(survey.times, frame, frame + 1))
            if previewer:
                previewer.begin(())
        for chunk in chunks[done:]:
            watch.begin(chunk.shot, len(survey.starts))
            self._chunk(survey, chunk, maker, previewer, watch)
            if chunk is not chunks[-1]:
                self._keep_state(chunk.stop, maker, previewer)
            job = self.chunk_job(chunk)
            self.manifest.add(job, stamp_of(self.file))
            self._state_file(chunk.start).unlink(missing_ok=True)

    def _chunk(
        self, survey: Survey, chunk: Chunk, maker: Maker, previewer: Maker | None, watch: _Watch
    ) -> None:
        self.manifest.begin(self.chunk_job(chunk))
        save, most, brightest = self.recipe.save(self.about, maker), 0.0, 0.0
        with ExitStack() as stack:
            writers: dict[str, SegmentWriter] = {}
            given = self.clip.frames(survey.times, chunk.start, chunk.stop)
            for number, before in enumerate(given, chunk.start):
                after = maker(before)
                if not np.isfinite(after.sum().item()):
                    raise ImageError(
                        self.source.path, f"frame {number + 1} became values that are not finite"
                    )
                for file in (files := self.frame_files(number))[:1]:
                    file.parent.mkdir(parents=True, exist_ok=True)
                if files:
                    save(files, after, before, number)
                for kind in self.videos():
                    shown = self._encoded(kind, after, previewer)
                    if kind in PEAKS:
                        shown, highest, mean = shown
                        if kind == "hdr10":
                            most, brightest = max(most, highest), max(brightest, mean)
                    if kind not in writers:
                        writers[kind] = self._writer(stack, chunk, kind, shown)
                    writers[kind].add(shown, survey.times[number])
                if self.recipe.sheet and chunk.is_first and number == chunk.start:
                    name = f"shot {chunk.shot + 1}: {self.about.timecode.text(number)}"
                    row = shot_row(name, before, self.recipe.show(after), maker.curve, self.about.hdr)
                    write_image(self._row_file(chunk), row)
                watch.advance()
            for writer in writers.values():
                writer.close()
        curve = None if maker.curve is None else [round(value, 6) for value in maker.curve[0, ::8].tolist()]
        write_text(self._facts_file(chunk), json.dumps({"most": most, "frame": brightest, "curve": curve}))

    def _encoded(self, kind: str, made: Tensor, previewer: Maker | None) -> Any:
        """Bring a frame to the R'G'B' of a video; of HDR with its greatest and its mean light."""
        if kind in PEAKS:
            light = absolute(made, PEAKS[kind])
            channel = light.amax(dim=1)
            return encode_light(light, KINDS[kind]), float(channel.max()), float(channel.mean())
        if kind != "preview":
            return made
        assert previewer is not None
        factor = self.recipe.preview_side / max(made.shape[-2:])
        height, width = (max(2, round(side * min(factor, 1) / 2) * 2) for side in made.shape[-2:])
        return previewer(F.adaptive_avg_pool2d(made, (height, width)))

    def _writer(self, stack: ExitStack, chunk: Chunk, kind: str, shown: Tensor) -> SegmentWriter:
        temporary = stack.enter_context(replacing(self.segment(chunk, kind)))
        height, width = shown.shape[-2:]
        coding = PREVIEW if kind == "preview" else self.recipe.coding
        colours = "video" if kind == "preview" else kind
        writer = SegmentWriter(temporary, colours, coding, self.about, (width, height))
        stack.callback(writer.abandon)
        return writer

    def _keep_state(self, frame: int, maker: Maker, previewer: Maker | None) -> None:
        """Store what the frames from this one on depend on."""
        state = {f"maker.{name}": value for name, value in maker.state().items()}
        if previewer:
            state |= {f"preview.{name}": value for name, value in previewer.state().items()}
        with replacing(self._state_file(frame)) as temporary:
            safetensors.torch.save_file(
                {name: value.contiguous() for name, value in state.items()}, temporary
            )

    def _resume(self, frame: int, maker: Maker, previewer: Maker | None) -> None:
        stored = safetensors.torch.load_file(self._state_file(frame))
        for prefix, one in (("maker.", maker), ("preview.", previewer)):
            if one is not None:
                one.resume(
                    {
                        name.removeprefix(prefix): value
                        for name, value in stored.items()
                        if name.startswith(prefix)
                    }
                )

    def _finish(self, survey: Survey, final: Job) -> tuple[str, list[str]]:
        """Join the clip if all chunks are there; of several processes the last one does."""
        chunks = [
            chunk for shot in range(len(survey.starts)) for chunk in survey.chunks(shot, self.recipe.chunk)
        ]
        with self.manifest.claimed(final, wait=True):
            if self.manifest.has(final):
                return "done", self.notes
            if not all(map(self.manifest.has, map(self.chunk_job, chunks))):
                return "shared", self.notes
            self.manifest.begin(final)
            stamp, facts = (
                stamp_of(self.file),
                [json.loads(self._facts_file(chunk).read_text(encoding="utf-8")) for chunk in chunks],
            )
            source = None if self.source.files else self.source.path
            for kind, file in self.videos().items():
                level = LightLevel(
                    most=min(65535, round(max(one["most"] for one in facts))),
                    frame=min(65535, round(max(one["frame"] for one in facts))),
                )
                notes = join(
                    file,
                    [self.segment(chunk, kind) for chunk in chunks],
                    source=source,
                    about=self.about,
                    light=level if kind == "hdr10" else None,
                    metadata=self.recipe.metadata,
                )
                self.notes += notes if kind != "preview" else []
                if kind == "hdr10":
                    self.notes.append(f"MaxCLL {level.most}, MaxFALL {level.frame} cd/m²")
            if self.recipe.sheet:
                rows = [self._row_file(chunk) for chunk in chunks if chunk.is_first]
                write_image(self.target.with_name(f"{self.name}_sheet.png"), shots_sheet(rows))
            self.manifest.add(final, stamp)
            shutil.rmtree(self.parts, ignore_errors=True)
        self.notes.append(
            f"{len(survey.times)} frames in {len(survey.starts)} shot{'s' * (len(survey.starts) > 1)}"
        )
        return "done", self.notes


def _listing(clip: Clip) -> list[tuple[str, list[int]]]:
    """Say what of a sequence's files tells whether they have changed; the manifest looks at a clip's own."""
    return [(file.name, stamp_of(file)) for file in clip.files] if len(clip.files) > 1 else []


class _Watch:
    """What somebody sees of a clip: a line a chunk."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self.total, self.done, self._made = name, total, 0, 0
        self._start, self._where, self._told = time.monotonic(), "", 0.0

    def begin(self, shot: int, shots: int) -> None:
        """Note which shot a chunk is of."""
        self._where = f"shot {shot + 1} of {shots}"

    def keep(self, frames: int) -> None:
        """Count frames that are there already."""
        self.done += frames

    def advance(self) -> None:
        """Count a frame."""
        self.done, self._made = self.done + 1, self._made + 1
        now = time.monotonic()
        if self.done == self.total or now - self._told > 10:
            self._told = now
            print(printable(f"{self._name}: {self.line()}"), file=sys.stderr, flush=True)

    def line(self) -> str:
        """Say how far it is, how fast, and how long it will take."""
        speed = self._made / max(time.monotonic() - self._start, 1e-3)
        left = round((self.total - self.done) / max(speed, 1e-6))
        hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
        clock = f"{hours}:{minutes:02}:{seconds:02}"
        return f"{self.done}/{self.total} frames, {self._where}, {speed:.2f} frames/s, {clock} left"


class _Bar(_Watch):
    """The same on a terminal: a bar."""

    def __init__(self, name: str, total: int, progress: Progress) -> None:
        super().__init__(name, total)
        self._progress = progress
        self._task = progress.add_task(escape(printable(name)), total=total, line="")

    def keep(self, frames: int) -> None:
        super().keep(frames)
        self._progress.update(self._task, completed=self.done)

    def advance(self) -> None:
        self.done, self._made = self.done + 1, self._made + 1
        self._progress.update(self._task, completed=self.done, line=self.line().partition(", ")[2])


@contextmanager
def _watched(name: str, total: int) -> Iterator[_Watch]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Watch(name, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[line]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(name, total, progress)
