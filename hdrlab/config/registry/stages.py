"""The one table of stages and data sets: what a name on the command line stands for.

Stages and data sets never import each other. They meet in the batch, a dictionary of these keys
(all B×…, float32):

======== ============== ==========================================================================
key      shape          meaning
======== ============== ==========================================================================
jpeg     B, 3, H, W     I: display-encoded photograph after 8 bits and JPEG, in [0, 1]
ldr      B, 3, H, W     L: display-encoded photograph before quantisation, in [0, 1]
lin      B, 3, H, W     H_c: scene-linear image clipped at the sensor's white, in [0, 1]
hdr      B, 3, H, W     H_t: scene-linear image, at least 0, unbounded; 1 = the sensor's white; of
                        hdr_real in the units of its file, so losses bring it to a scale
curve    B, 1024        the camera's response curve on a uniform grid over [0, 1]
inv_curve B, 1024       its inverse
mask     B, 1, 1, 1     1, or 0 for a sample that is mostly black or mostly white; hdr_real: always 1 in
                        training
======== ============== ==========================================================================

The tone-mapping stages read others, made as `stage.tone` says; only those that a stage declares are made:

========== ================ ======================================================================
key        shape            meaning
========== ================ ======================================================================
encoded    B, 3, H, W       x: HDR image, clipped and stretched as the whole image, encoded, in [0, 1]
high       B, 3, H, W       layer of detail of x, about 0
bottom     B, 3, H/8, W/8   layer of brightness and colour of x
sdr        B, 3, H, W       display-encoded SDR image, in [0, 1]; linearised where stage.tone.domain=linear;
                            zeros where there is none
sdr_high   B, 3, H, W       its layers; zeros where there is none
sdr_bottom B, 3, H/8, W/8
hdr        B, 3, H, W       scene-linear image in the units of its file, at least 0
labelled   B, 1, 1, 1       1, or 0 where there is no SDR image
mask       B, 1, 1, 1       always 1
========== ================ ======================================================================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from hdrlab.config.registry import Registry
from hdrlab.config.schema.data import REAL_KEYS, SYNTH_KEYS, TONE_KEYS, DataConfig
from hdrlab.config.schema.iqatm import TmoBottomConfig, TmoFtConfig, TmoHighConfig
from hdrlab.config.schema.section import variants
from hdrlab.config.schema.singlehdr import DeqConfig, HalConfig, JointConfig, LinConfig, RealFinetuneConfig
from hdrlab.config.schema.stage import StageConfig

__all__ = ["DATA", "REAL_KEYS", "STAGES", "SYNTH_KEYS", "TONE_KEYS", "StageRow", "reads_tones"]


@dataclass(frozen=True)
class StageRow:
    """A stage: what it learns, its schema and its class, or the place of that.

    ``starts_from``: the stages whose published checkpoints it needs; of several choices the first
    that is there.
    """

    summary: str
    schema: type[StageConfig]
    target: Any
    starts_from: tuple[tuple[str, ...], ...] = ()

    @property
    def batch_keys(self) -> tuple[str, ...]:
        """What the stage reads of a batch."""
        return self.schema.batch_keys


def reads_tones(keys: Collection[str]) -> bool:
    """Say whether batch keys are a tone-mapping stage's: some data sets serve both kinds of stages."""
    return not set(keys) <= set(SYNTH_KEYS)


_OWN = {
    "deq": StageRow("undo 8-bit quantisation and JPEG", DeqConfig, "hdrlab.stages.deq:DeqStage"),
    "lin": StageRow("undo the camera's response curve", LinConfig, "hdrlab.stages.lin:LinStage"),
    "hal": StageRow("restore clipped highlights", HalConfig, "hdrlab.stages.hal:HalStage"),
    "joint": StageRow(
        "the three nets together, end to end",
        JointConfig,
        "hdrlab.stages.joint:JointStage",
        (("deq", "lin", "hal"),),
    ),
    "real_finetune": StageRow(
        "the whole chain on real pairs, with the refinement net",
        RealFinetuneConfig,
        "hdrlab.stages.real_finetune:RealFinetuneStage",
        (("joint",), ("deq", "lin", "hal")),
    ),
    "tmo_bottom": StageRow(
        "tone mapping: brightness and colour, at an eighth of the size",
        TmoBottomConfig,
        "hdrlab.stages.tmo_bottom:TmoBottomStage",
    ),
    "tmo_high": StageRow("tone mapping: detail", TmoHighConfig, "hdrlab.stages.tmo_high:TmoHighStage"),
    "tmo_ft": StageRow(
        "tone mapping: both branches and the net that merges them",
        TmoFtConfig,
        "hdrlab.stages.tmo_ft:TmoFtStage",
        (("tmo_bottom", "tmo_high"),),
    ),
}

STAGES: Registry[StageRow] = Registry("stage", _OWN)

DATA: Registry[type[DataConfig]] = Registry(
    "data set", cast("Mapping[str, type[DataConfig]]", variants(DataConfig))
)
"""The data sets: of ours, whatever schema has a name is one."""
