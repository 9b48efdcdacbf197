"""List the weights inside the package and verify them: ``python -m hdrlab.weights``.

``python -m hdrlab.weights FOLDER CHECKPOINT …`` writes the nets of checkpoints into a folder in the form of
what ships: one file a net, in half precision.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdrlab.errors import WeightsError
from hdrlab.nets import SYSTEMS
from hdrlab.weights.net_file import load_nets, num_parameters, save_net
from hdrlab.weights.pretrained import HOW_OFFICIAL, SHIPPED, shipped
from hdrlab.weights.safe_load import load_safely


def main() -> int:
    """List what is there, or export."""
    arguments = sys.argv[1:]
    if any(word.startswith("-") for word in arguments) or len(arguments) == 1:
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        return export(Path(arguments[0]), arguments[1:]) if arguments else verify()
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def export(folder: Path, checkpoints: Sequence[str]) -> int:
    """Write the nets of checkpoints into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for checkpoint in checkpoints:
        source = {"checkpoint": Path(checkpoint).name}
        for net in load_nets(checkpoint).values():
            told = {"tone": tone} if net.name in SYSTEMS["IQATM"] and (tone := _tone_of(checkpoint)) else {}
            save_net(net, folder / f"{net.name}.safetensors", {**source, **told})
            print(folder / f"{net.name}.safetensors")
    return 0


def _tone_of(checkpoint: str) -> dict[str, Any] | None:
    """Return how the images of a tone-mapping training were seen, where its checkpoint says so."""
    stored = load_safely(Path(checkpoint)) if Path(checkpoint).is_file() else {}
    tone = stored.get("hyper_parameters", {}).get("tone")
    return dict(tone) if tone else None


def verify() -> int:
    """List weights with their nets and sizes; every file is read, its digest checked."""
    from rich.console import Console
    from rich.table import Table

    table = Table("weights", "net", "parameters", "MB", "state")
    sound = True
    for name in shipped():
        for file in sorted((SHIPPED / name).rglob("*.safetensors")):
            size = f"{file.stat().st_size / 1e6:.1f}"
            try:
                (net,) = load_nets(file).values()
            except WeightsError as error:
                sound = False
                table.add_row(name, file.stem, "", size, str(error))
            else:
                table.add_row(name, net.name, f"{num_parameters(net):,}", size, "sound")
    Console().print(table)
    print(f"cards: {SHIPPED}/**/card.md")
    print(f"official: {HOW_OFFICIAL.format(folder='runs/weights/official')}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
