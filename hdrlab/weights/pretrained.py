"""The weights that are at hand: those that ship inside the package, and where others are looked for."""

from __future__ import annotations

from pathlib import Path

from hdrlab.errors import WeightsError

SHIPPED = Path(__file__).parent / "shipped"
"""Folders of nets inside the package, by name; each has a card.md."""

TONE = "tone"
"""The folder within these of the nets that tone-map."""

OFFICIAL = "official"

HOW_OFFICIAL = (
    "the authors' own weights are theirs to give: download ckpt_deq, ckpt_lin and ckpt_hal from the page of "
    "SingleHDR (github.com/alex04072000/SingleHDR), then python -m hdrlab.import_weights source=FOLDER "
    "output={folder} basis=invemor.txt"
)


def pretrained_weights(name: str, runs: Path, part: str = "") -> Path | None:
    """Return the folder of nets that a name stands for, or None where it is no such name.

    Args:
        name: That of weights that ship with the package, for example ``compact``; or ``official``, the
            authors' own once they were imported.
        runs: The folder of runs, in whose ``weights/official`` the authors' own are looked for.
        part: The folder within what ships, `TONE` for the nets that tone-map.

    Raises:
        WeightsError: The authors' own are not there; the message says how to get them.
    """
    if name in shipped():
        return SHIPPED / name / part
    if name != OFFICIAL:
        return None
    folder = runs / "weights" / OFFICIAL
    if not folder.is_dir():
        raise WeightsError(f"weights=official: {folder} is not there; {HOW_OFFICIAL.format(folder=folder)}")
    return folder


def shipped() -> list[str]:
    """Name the weights inside the package."""
    return sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir()) if SHIPPED.is_dir() else []
