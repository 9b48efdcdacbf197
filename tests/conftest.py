"""Fixtures that several tests share."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
from collections.abc import Generator, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import pytest

# Test processes with a pool of threads each fight for the cores, and a forked one cannot use its parent's.
# Read when torch and NumPy are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from omegaconf import DictConfig, OmegaConf
from training import Lab, prepare_formulas, prepare_tones

from hdrlab.config.choices import CONF
from hdrlab.config.composer import Composer
from hdrlab.config.registry.loading import LOADED

ROOT = Path(__file__).resolve().parents[1]
POSIX = re.compile(
    r"\bfcntl\b|\bimport resource\b|\bos\.(fork|mkfifo|kill|getuid|geteuid)\b|\b(forked|pretending)\b"
    r"|preexec_fn|SIGKILL|SIGUSR1|symlink_to|/proc/|\[\"(ba)?sh\""
)
"""What tests use that Windows has not: links, signals, forks, shells."""

collect_ignore = [
    str(path)
    for path in (Path(__file__).parent.rglob("test_*.py") if sys.platform == "win32" else ())
    if path.name != "test_windows_names.py" and POSIX.search(path.read_text(encoding="utf-8"))
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage: modules and tests are a million objects, which all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else some libraries complain in the end that theirs were left


@pytest.fixture(autouse=True, scope="session")
def _composed_once() -> Iterator[None]:
    """Compose the same choices once: a thousand tests need a handful, and Hydra takes 60 ms each time.

    What a plug-in or a user's folder brings in is composed anew, as is all that Hydra composes by itself.
    """
    known: dict[tuple[object, ...], DictConfig] = {}
    anew = Composer.compose

    def compose(
        self: Composer, config_name: str, overrides: Sequence[str], *, full: bool = False
    ) -> DictConfig:
        path = [one.path for one in self.hydra.config_loader.get_search_path().get_path()]
        if LOADED or path != ["pkg://hydra.conf", str(CONF), "structured://"] or self.foreign:
            return anew(self, config_name, overrides, full=full)
        key = (config_name, *overrides, full)
        if key not in known:
            known[key] = anew(self, config_name, overrides, full=full)
        composed = deepcopy(known[key])
        if full:
            OmegaConf.update(composed, "hydra.runtime.cwd", os.getcwd())
        return composed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Composer, "compose", compose)
        yield


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Leave logging as it was: Hydra's handlers write to streams that end with the test."""
    root = logging.getLogger()
    level, before = root.level, [*root.handlers]
    yield
    root.setLevel(level)
    for handler in [*root.handlers]:
        if handler not in before and not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference outputs and measuring data; the test is skipped where it is missing."""
    folder = Path(os.environ.get("HDRLAB_SHARED", ROOT.parent / "shared"))
    if not (folder / "goldens").is_dir():
        pytest.skip(f"no reference data at {folder}: set HDRLAB_SHARED to the folder that holds goldens/")
    return folder


@pytest.fixture(scope="session")
def goldens(shared: Path) -> Path:
    """The SingleHDR reference outputs."""
    folder = shared / "goldens" / "singlehdr" / "open"
    if not folder.is_dir():
        pytest.skip(f"no SingleHDR reference outputs at {folder}")
    return folder


@pytest.fixture(scope="session")
def iqatm_goldens(shared: Path) -> Path:
    """The IQATM reference outputs."""
    folder = shared / "goldens" / "iqatm" / "open"
    if not folder.is_dir():
        pytest.skip(f"no IQATM reference outputs at {folder}")
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of small images made from formulas; in ``tones`` one for tone mapping."""
    folder: Path = tmp_path_factory.mktemp("prepared")
    prepare_formulas(folder)
    prepare_tones(folder / "tones")
    return folder


@pytest.fixture
def lab(prepared: Path, tmp_path: Path) -> Lab:
    """Trains on the prepared data set; writes below the test's own folder."""
    return Lab(prepared, tmp_path)
