"""Time what a slider of `hdrlab serve` waits for: from the stored light of one megapixel to the JPEG.

    python experiments/previews.py

Wall and processor time, the least of seven requests with other settings each, as while a slider is moved;
beside them the wall time of the small draft, which comes first where the preview takes long.
"""

from __future__ import annotations

import time
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from hdrlab.serve.developing import write_jpeg
from hdrlab.serve.operators import Operators, describe

REPEATS = 7
SIZES = {"preview": (820, 1230), "draft": (240, 360)}


def scene(height: int, width: int) -> NDArray[np.float32]:
    """Return light [height, width, 3] of some fifteen stops, smooth with grain."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / np.float32(height)
    light = np.exp2(10 * np.sin(3 * x + 2 * y**2) - 2)[..., None] * (1, 0.8, 0.6)
    return (light * np.exp(draws.normal(0, 0.1, light.shape))).astype(np.float32)


def main() -> None:
    """Print a table."""
    operators = Operators(device="cpu")
    print("operator         preview, ms  of processors   draft, ms")
    for row in describe():
        cells = []
        for size, shape in SIZES.items():
            light, taken = scene(*shape), []
            for turn in range(REPEATS):
                start = time.perf_counter(), time.process_time()
                shown = operators.show(row["name"], light, {"exposure": turn / 10}, ("picture", size))
                write_jpeg(BytesIO(), shown)
                taken.append((time.perf_counter() - start[0], time.process_time() - start[1]))
            cells += [1000 * min(column) for column in zip(*taken, strict=True)]
        print(f"{row['name']:16s} {cells[0]:11.0f} {cells[1]:14.0f} {cells[2]:11.0f}", flush=True)


if __name__ == "__main__":
    main()
