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
"""

from __future__ import annotations

from dataclasses import dataclass

from hdrlab.config.schema import (
    DataConfig,
    DeqConfig,
    HalConfig,
    HdrRealConfig,
    HdrSynthConfig,
    JointConfig,
    LinConfig,
    RealFinetuneConfig,
    StageConfig,
    TinyConfig,
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
    """A data set: what it is, its schema and the batch keys it provides.

    ``slots_of``: data sets whose slots a stage on this one starts from; the first that is filled.
    """

    summary: str
    schema: type[DataConfig]
    batch_keys: tuple[str, ...]
    slots_of: tuple[str, ...]


SYNTH_KEYS = ("jpeg", "ldr", "lin", "hdr", "curve", "inv_curve", "mask")
REAL_KEYS = ("jpeg", "hdr", "mask")

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
}

DATA = {
    "tiny": DataRow("scenes the project renders itself (the default)", TinyConfig, SYNTH_KEYS, ("tiny",)),
    "hdr_synth": DataRow(
        "a folder of HDR pictures: data.root=FOLDER", HdrSynthConfig, SYNTH_KEYS, ("hdr_synth",)
    ),
    "hdr_real": DataRow(
        "photographs with HDR pictures: data.root=FOLDER", HdrRealConfig, REAL_KEYS, ("hdr_synth", "tiny")
    ),
}
