"""Makes the documentation's pictures, all by hdrlab itself: ``python docs/make_pictures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hdrlab import Reconstructor, ToneMapper
from hdrlab.camera import load_response_curves, synthesize
from hdrlab.datasets.tiny import render_scene
from hdrlab.inference.contact_sheet import Cell, draw_sheet
from hdrlab.ops.colour import srgb_levels

FOLDER = Path(__file__).parent / "pictures"
SIZE = {"height": 288, "width": 384}
Floats = NDArray[np.float32]


def photograph(scene: Floats, clipped: float, curve: int = 40) -> NDArray[np.uint8]:
    """Photograph a scene [H, W, 3] such that a share of its pixels is clipped, by a built-in curve."""
    exposure = 1 / np.quantile(scene.max(axis=2), 1 - clipped)
    response = torch.from_numpy(load_response_curves("builtin").curves[curve : curve + 1])
    hdr = torch.from_numpy(scene.transpose(2, 0, 1)[None].copy())
    taken = synthesize(hdr, torch.tensor([exposure], dtype=torch.float32), response, jpeg_quality=[92])
    return taken.jpeg_u8[0].permute(1, 2, 0).numpy().copy()


def shown(hdr: Floats, stops: float = 0.0) -> NDArray[np.uint8]:
    return srgb_levels(hdr * np.float32(2**stops))


def levels(display: Floats) -> NDArray[np.uint8]:
    return np.rint(display * 255).astype(np.uint8)


def save(name: str, rows: list[list[Cell]]) -> None:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    Image.fromarray(draw_sheet(rows)).save(path, quality=82, optimize=True, progressive=True)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def main() -> None:
    reconstructor = Reconstructor.load()
    scene = render_scene("test", 2, **SIZE)
    photo = photograph(scene, 0.2)
    plain = reconstructor.develop(photo, layers=True)
    from hdrlab.ops.colour import srgb_light

    dark_photo = shown(srgb_light()[photo], -2)
    save(
        "front.jpg",
        [
            [
                ("photo.jpg", photo),
                ("made darker by 2 stops", dark_photo),
                ("hdr/photo.exr, 2 stops darker", shown(plain.hdr, -2)),
            ]
        ],
    )
    save(
        "chain.jpg",
        [
            [("photograph", photo), ("C: dequantized", levels(np.clip(plain.layers["C"], 0, 1)))],
            [
                ("B: linear, -2 EV", shown(plain.layers["B"], -2)),
                ("A: highlights restored, -2 EV", shown(plain.layers["A"], -2)),
            ],
            [
                ("alpha: where it is clipped", levels(np.broadcast_to(plain.layers["alpha"], photo.shape))),
                ("the scene itself, -2 EV", shown(scene / np.quantile(scene.max(axis=2), 0.8), -2)),
            ],
        ],
    )
    rooms = [render_scene("test", 1, **SIZE), render_scene("test", 3, **SIZE)]
    names = ["reinhard", "drago", "durand", "iqatm"]
    save(
        "operators.jpg",
        [[(name, levels(ToneMapper.load(name)(room))) for name in names] for room in rooms],
    )
    save(
        "scenes.jpg",
        [
            [
                (
                    f"test {i}",
                    levels(ToneMapper.load("reinhard")(render_scene("test", i, height=192, width=256))),
                )
                for i in row
            ]
            for row in ((0, 1, 2, 3), (4, 5, 6, 7))
        ],
    )


if __name__ == "__main__":
    main()
