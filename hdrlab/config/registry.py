"""The one table of stages and data sets: what a name on the command line stands for.

Stages and data sets never import each other. They meet in the batch, a dictionary of these keys
(all B×…, float32):

======== ============== ==========================================================================
key      shape          meaning
======== ============== ==========================================================================
jpeg     B, 3, H, W     I: display-encoded photograph after 8 bits and JPEG, in [0, 1]
ldr      B, 3, H, W     L: display-encoded photograph before quantisation, in [0, 1]
lin      B, 3, H, W     H_c: scene-linear picture clipped at the sensor's white, in [0, 1]
hdr      B, 3, H, W     H_t: scene-linear picture, at least 0, unbounded; 1 = the sensor's white; of
                        hdr_real in the units of its file, so losses bring it to a scale
curve    B, 1024        the camera's response curve on a uniform grid over [0, 1]
inv_curve B, 1024       its inverse
mask     B, 1, 1, 1     1, or 0 for a sample that is mostly black or mostly white; hdr_real: always 1 in
                        training
======== ============== ==========================================================================

The tone-mapping stages read others, made as `data.tone` says; only those that a stage declares are made:

========== ================ ======================================================================
key        shape            meaning
========== ================ ======================================================================
encoded    B, 3, H, W       x: HDR picture, clipped and stretched as the whole picture, encoded, in [0, 1]
high       B, 3, H, W       layer of detail of x, about 0
bottom     B, 3, H/8, W/8   layer of brightness and colour of x
sdr        B, 3, H, W       display-encoded SDR picture, in [0, 1]; linearised where data.tone.domain=linear;
                            zeros where there is none
sdr_high   B, 3, H, W       its layers; zeros where there is none
sdr_bottom B, 3, H/8, W/8
hdr        B, 3, H, W       scene-linear picture in the units of its file, at least 0
labelled   B, 1, 1, 1       1, or 0 where there is no SDR picture
mask       B, 1, 1, 1       always 1
========== ================ ======================================================================
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hdrlab.config.schema import (
    DataConfig,
    DeqConfig,
    FolderConfig,
    HalConfig,
    HdrRealConfig,
    HdrSynthConfig,
    JointConfig,
    LinConfig,
    RealFinetuneConfig,
    StageConfig,
    TinyConfig,
    TmoBottomConfig,
    TmoFtConfig,
    TmoHighConfig,
    TmoPairsConfig,
)


@dataclass(frozen=True)
class StageRow:
    """A stage: what it learns, its schema, its class and the batch keys it reads.

    ``starts_from``: the finished stages whose slots it needs; of several choices the first that is there.
    """

    summary: str
    schema: type[StageConfig]
    cls: str
    batch_keys: tuple[str, ...]
    starts_from: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class DataRow:
    """A data set: what it is, its schema and the batch keys it provides; none, if it is for evaluations only.

    ``slots_of``: data sets whose slots a stage on this one starts from; the first that is filled.
    """

    summary: str
    schema: type[DataConfig]
    batch_keys: tuple[str, ...]
    slots_of: tuple[str, ...]


SYNTH_KEYS = ("jpeg", "ldr", "lin", "hdr", "curve", "inv_curve", "mask")
REAL_KEYS = ("jpeg", "hdr", "mask")
TONE_KEYS = ("encoded", "high", "bottom", "sdr", "sdr_high", "sdr_bottom", "hdr", "labelled", "mask")


def reads_tones(keys: Collection[str]) -> bool:
    """Say whether batch keys are a tone-mapping stage's: some data sets serve both kinds of stages."""
    return not set(keys) <= set(SYNTH_KEYS)


STAGES = {
    "deq": StageRow(
        "undo 8-bit quantisation and JPEG", DeqConfig, "hdrlab.stages.deq:DeqStage", ("jpeg", "ldr", "mask")
    ),
    "lin": StageRow(
        "undo the camera's response curve",
        LinConfig,
        "hdrlab.stages.lin:LinStage",
        ("jpeg", "ldr", "lin", "inv_curve", "mask"),
    ),
    "hal": StageRow(
        "restore clipped highlights", HalConfig, "hdrlab.stages.hal:HalStage", ("lin", "hdr", "mask")
    ),
    "joint": StageRow(
        "the three nets together, end to end",
        JointConfig,
        "hdrlab.stages.joint:JointStage",
        ("jpeg", "ldr", "lin", "hdr", "inv_curve", "mask"),
        (("deq", "lin", "hal"),),
    ),
    "real_finetune": StageRow(
        "the whole chain on real pairs, with the refinement net",
        RealFinetuneConfig,
        "hdrlab.stages.real_finetune:RealFinetuneStage",
        REAL_KEYS,
        (("joint",), ("deq", "lin", "hal")),
    ),
    "tmo_bottom": StageRow(
        "tone mapping: brightness and colour, at an eighth of the size",
        TmoBottomConfig,
        "hdrlab.stages.tmo_bottom:TmoBottomStage",
        ("bottom", "sdr_bottom", "labelled", "mask"),
    ),
    "tmo_high": StageRow(
        "tone mapping: detail",
        TmoHighConfig,
        "hdrlab.stages.tmo_high:TmoHighStage",
        ("high", "sdr_high", "labelled", "mask"),
    ),
    "tmo_ft": StageRow(
        "tone mapping: both branches and the net that merges them",
        TmoFtConfig,
        "hdrlab.stages.tmo_ft:TmoFtStage",
        ("encoded", "high", "bottom", "sdr", "hdr", "labelled", "mask"),
        (("tmo_bottom", "tmo_high"),),
    ),
}

DATA = {
    "tiny": DataRow(
        "scenes the project renders itself (the default)",
        TinyConfig,
        tuple(dict.fromkeys(SYNTH_KEYS + TONE_KEYS)),
        ("tiny",),
    ),
    "hdr_synth": DataRow(
        "a folder of HDR pictures: data.root=FOLDER", HdrSynthConfig, SYNTH_KEYS, ("hdr_synth",)
    ),
    "hdr_real": DataRow(
        "photographs with HDR pictures: data.root=FOLDER", HdrRealConfig, REAL_KEYS, ("hdr_synth", "tiny")
    ),
    "tmo_pairs": DataRow(
        "HDR pictures with SDR pictures: data.root=FOLDER", TmoPairsConfig, TONE_KEYS, ("tmo_pairs",)
    ),
    "folder": DataRow(
        "pairs as they lie in folders: data.photographs=FOLDER data.references=FOLDER, or data.hdr=FOLDER",
        FolderConfig,
        (),
        (),
    ),
}
