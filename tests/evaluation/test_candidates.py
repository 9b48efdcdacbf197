"""What checkpoints are: single stages, whole systems, or parts of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdrlab.errors import CheckpointError, EvaluationError
from hdrlab.evaluation.candidates import sort_candidates
from hdrlab.nets import SYSTEMS, build_net
from hdrlab.weights.net_file import save_net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of one net each, of both systems."""
    made: Path = tmp_path_factory.mktemp("nets")
    for system, names in SYSTEMS.items():
        (made / system).mkdir()
        for name in names:
            save_net(build_net(name, width=0.0625), made / system / f"{name}.pt", {})
    return made


def test_a_folder_of_a_system_is_a_method(folder: Path) -> None:
    kind, found = sort_candidates([str(folder / "SingleHDR")])
    assert (kind, [one.name for one in found]) == ("reconstruct", ["SingleHDR"])
    assert len(found[0].headers) == 4
    assert sort_candidates([str(folder / "IQATM")])[0] == "tonemap"


def test_files_together_are_one_method_and_systems_one_each(folder: Path) -> None:
    files = [str(folder / "SingleHDR" / f"{name}.pt") for name in SYSTEMS["SingleHDR"][:3]]
    kind, found = sort_candidates([str(folder / "SingleHDR"), *files, str(folder / "SingleHDR")])
    assert kind == "reconstruct"
    assert [one.name for one in found] == ["SingleHDR", "SingleHDR-2", "chain"]
    assert list(found[2].files) == files


def test_both_systems_at_once_are_refused(folder: Path) -> None:
    with pytest.raises(EvaluationError, match=r"IQATM tone-maps and .*SingleHDR reconstructs"):
        sort_candidates([str(folder / "SingleHDR"), str(folder / "IQATM")])


def test_what_holds_no_nets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no nets"):
        sort_candidates([str(tmp_path)])
    text = tmp_path / "text.ckpt"
    text.write_text("no checkpoint")
    with pytest.raises(CheckpointError, match=r"text.ckpt: cannot be read"):
        sort_candidates([str(text)])
