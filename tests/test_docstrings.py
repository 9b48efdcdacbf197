"""The reference says of every array its shape and what its values are, and of every error when it comes."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import defaultdict
from pathlib import Path

import pytest
from docstrings import Function, functions

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "reference" / "api").glob("*.md"))


def documented() -> list[tuple[str, Function]]:
    """List the functions and methods that the reference shows and that take or give arrays."""
    wanted: dict[Path, set[str]] = defaultdict(set)
    for page in PAGES:
        for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8")):
            module = importlib.import_module(name)
            own = [key for key, one in vars(module).items() if getattr(one, "__module__", "") == name]
            for public in getattr(module, "__all__", None) or own:
                one = getattr(module, public)
                ours = (inspect.isfunction(one) or inspect.isclass(one)) and one.__module__.startswith(
                    "hdrlab"
                )
                if ours and not public.startswith("_"):
                    wanted[Path(inspect.getsourcefile(one) or "")].add(one.__name__)
    return [
        (f"{path.relative_to(ROOT)}:{one.node.lineno} {one.name}", one)
        for path, names in sorted(wanted.items())
        for one in functions(path)
        if one.name.partition(".")[0] in names
    ]


@pytest.fixture(scope="module")
def reference() -> list[tuple[str, Function]]:
    return documented()


def test_there_are_functions_of_arrays(reference: list[tuple[str, Function]]) -> None:
    assert len(reference) > 200
    names = {one.name for _, one in reference}
    assert names >= {
        "Reconstructor.__call__",
        "ToneMapper.__call__",
        "psnr_pu21",
        "HalStage.losses",
        "write_image",
    }


@pytest.mark.parametrize("lacking", ["lacks_shape", "lacks_range", "lacks_raises"])
def test_none_is_silent_about(lacking: str, reference: list[tuple[str, Function]]) -> None:
    silent = [f"{place}: {', '.join(found)}" for place, one in reference if (found := getattr(one, lacking))]
    assert not silent, f"{len(silent)} of {len(reference)}:\n" + "\n".join(silent)


SAID = '''
def tell(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Tell.

    Args:
        x: Images [B, 3, H, W] in [0, 1].
        mask: {mask}

    Returns:
        PSNR [B] in dB.{raises}
    """
    _refuse(x)


def _refuse(x):
    raise ShapeError("no")
'''


RAISES = "\n\n    Raises:\n        ShapeError: Always."


@pytest.mark.parametrize(
    ("mask", "raises", "lacking"),
    [
        ("Of [B, 1, H, W], 0 or 1.", RAISES, {}),
        ("Pixels to use.", RAISES, {"lacks_shape": ["mask"], "lacks_range": ["mask"]}),
        ("Of [B, 1, H, W], 0 or 1.", "", {"lacks_raises": ["ShapeError"]}),
    ],
)
def test_what_is_missing_is_seen(
    mask: str, raises: str, lacking: dict[str, list[str]], tmp_path: Path
) -> None:
    file = tmp_path / "said.py"
    file.write_text(SAID.format(mask=mask, raises=raises), encoding="utf-8")
    (one,) = functions(file)
    found = {name: getattr(one, name) for name in ("lacks_shape", "lacks_range", "lacks_raises")}
    assert {name: missing for name, missing in found.items() if missing} == lacking
