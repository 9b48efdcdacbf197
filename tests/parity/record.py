"""Make `reference.npz` from full outputs of the published programs: ``python -m parity.record FOLDER``.

The folder holds `singlehdr/open/*.npz` and `iqatm/open/*.npz`, written by the programs when they were given
the weights and images of `recipe.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from parity.reference import FILE, Array, sampled, totals

PROGRAMS = {
    "TF1": "the authors' SingleHDR: Python 3.7, TensorFlow 1.15.5, TensorLayer 1.11.1, NumPy 1.18.5, "
    "OpenCV 4.5.5; CPU, float32, one thread",
    "TF2": "SingleHDR-tf2: Python 3.11, TensorFlow 2.15.1; CPU, float32, one thread",
    "IQATM": "the authors' IQATM: Python 2.7.18, TensorFlow 1.15.0, OpenCV 4.2.0, NumPy 1.16.6; "
    "CPU, one thread",
}

OUTPUTS = {
    "singlehdr/deq_forward": ["out", "out_clipped"],
    "singlehdr/deq_forward_tf2": ["out"],
    "singlehdr/ref_forward": ["out", "out_relu"],
    "singlehdr/ref_forward_tf2": ["out_relu"],
    "singlehdr/lin_features_tf1": ["features"],
    "singlehdr/lin_features_tf2": ["features"],
    **{
        f"singlehdr/lin_forward{odd}": [
            *("feature", "pca", "invcrf_raw", "invcrf", "linear"),
            *("train_feature", "train_pca", "train_invcrf"),
            *(
                f"after:crf_feature_net/{norm}/BatchNorm/moving_{what}"
                for norm in ("bn_conv1", "bn2a_branch1", "bn3b_branch2c")
                for what in ("mean", "variance")
            ),
        ]
        for odd in ("", "_odd")
    },
    "singlehdr/lin_forward_tf2": [
        *("feature", "pca", "invcrf", "train_invcrf"),
        *("after_bn_conv1_moving_mean", "after_bn_conv1_moving_variance"),
    ],
    "singlehdr/hal_forward": [
        *("out", "alpha", "final", "train_out"),
        *(
            f"after:Hallucination_Net/{scope}/moving_{what}"
            for scope in (
                "encoder/h6/batch_norm",
                *(f"decoder/h{i}/decon2d/batch_norm_dc" for i in range(1, 6)),
                "decoder/h7/batch_norm",
            )
            for what in ("mean", "variance")
        ),
    ],
    "singlehdr/hal_forward_tf2": ["out_relu"],
    "singlehdr/pipeline": [
        *("padded", "C", "B", "alpha", "A", "refined", "invcrf"),
        *("final_refined_bgr", "final_hal_bgr"),
    ],
    "singlehdr/adam_tf1": ["trajectory"],
    "iqatm/nets": ["bot_out"],
    "iqatm/e2e": [
        *("rec_high_sceneA", "rec_bot_sceneA", "stage_high_out_sceneA", "stage_bot_out_cropped_sceneA"),
        *("stage_bot_expanded_sceneA", "stage_ft_out_sceneA", "float_before_save_sceneA"),
    ],
    "iqatm/adam": ["trajectory_lr0.0003", "trajectory_lr0.0015"],
}
"""What is sampled, by file."""

INPUTS = {
    "singlehdr/lin_forward": ["invcrf_raw", "invcrf"],
    "singlehdr/pipeline": ["invcrf"],
    "singlehdr/adam_tf1": ["w0", "a"],
    "iqatm/nets": ["bot_in"],
    "iqatm/e2e": ["hdr_sceneA"],
    "iqatm/adam": ["grads", "trajectory_lr0.0003"],
}
"""Inputs that no recipe makes, and curves that stand in for a basis that hdrlab may not hand on."""


def main() -> None:
    goldens = Path(sys.argv[1])
    kept: dict[str, Array] = {"programs": np.array(json.dumps(PROGRAMS))}
    for file, names in OUTPUTS.items():
        with np.load(_path(goldens, file)) as arrays:
            for name in names:
                key, values = f"{file}/{name}", arrays[name]
                kept[f"samples:{key}"] = sampled(key, values)
                kept[f"totals:{key}"] = totals(values)
    for file, names in INPUTS.items():
        with np.load(_path(goldens, file)) as arrays:
            for name in names:
                values = arrays[name]
                half = values.astype(np.float16)
                kept[f"input:{file}/{name}"] = half if np.array_equal(half, values) else values
    np.savez_compressed(FILE, **kept)
    print(f"{FILE}: {FILE.stat().st_size:,} bytes, {len(kept)} arrays")


def _path(goldens: Path, file: str) -> Path:
    system, name = file.split("/")
    return goldens / system / "open" / f"{name}.npz"


if __name__ == "__main__":
    main()
