"""Parts of a user's own: the page's example runs, mistakes are told, and nothing loads by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from plugin_page import EVENING, LINES, MODULES, PAIRS, SMALL, words_of, write_modules, write_shots
from training import checkpoint

from hdrlab import ToneMapper, build_net, evaluate, reconstruct, tonemap, train, write_image
from hdrlab.config.registry import TABLES
from hdrlab.config.registry.loading import LOADED, load_plugins
from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.registry.tables import EXPANSIONS, LOSSES, NETS, OPERATORS, SCORES
from hdrlab.datasets import HDRDataModule
from hdrlab.errors import CheckpointError, ConfigError, OperatorError, PluginError, WeightsError
from hdrlab.inference.expander import Expander
from hdrlab.io import read_image
from hdrlab.nets import Net
from hdrlab.training.checkpoints import load_stage
from hdrlab.weights.net_file import load_nets, save_net

COMMANDS = {
    one.COMMAND.name: one.COMMAND
    for one in (tonemap, reconstruct, evaluate, train)  # type: ignore[attr-defined]
}
Call = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's modules in the working directory; what is loaded is forgotten afterwards."""
    write_modules(tmp_path)
    rng = np.random.default_rng(0)
    write_image(tmp_path / "scene.exr", (rng.random((48, 64, 3)) ** 4 * 20).astype(np.float32))
    PillowImage.effect_noise((64, 48), 90).convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    forget()
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def forget() -> None:
    """Take out of the tables what is not hdrlab's own."""
    LOADED.clear()
    for table in TABLES:
        table._rows, table._origins = dict(table.own), {}


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def call(*words: str, by_hydra: bool = False) -> tuple[int, str]:
        name, *more = words
        if by_hydra:
            with pytest.raises(SystemExit) as left:
                COMMANDS[name].main(more)
            code = int(left.value.code or 0)
        else:
            code = commands.call(COMMANDS[name], more)
        said = capfd.readouterr()
        return code, said.out + said.err

    return call


def write(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------------------- the page's example


@pytest.mark.slow
def test_the_pages_lines_run(call: Call) -> None:
    assert len(LINES) == 8
    write_shots(Path())
    for line in LINES:
        code, said = call(*words_of(line), by_hydra=True)
        assert code == 0, said
    assert {path.name for path in Path("sdr").iterdir()} >= {"scene_soft.png", "scene_sheet.png"}
    assert read_image("hdr/photo.exr").pixels.max() > 2
    assert "stops_off" in Path("runs/comparisons/lamps_test/images.csv").read_text().splitlines()[0]
    (run,) = Path("runs/whiten").iterdir()
    assert "plugins:\n- studio\n- studio_lab\n" in (run / "config.yaml").read_text()
    stored = checkpoint(run / "last.ckpt")["hdrlab"]
    assert stored["plugins"] == ["studio_lab"]
    assert checkpoint(next(Path("runs/deq").iterdir()) / "last.ckpt")["hdrlab"]["plugins"] == ["studio"]
    for stage in ("real_finetune", "tmo_ft"):
        (run,) = Path("runs", stage).iterdir()
        assert checkpoint(run / "last.ckpt")["global_step"] == 2


PAIR_MISTAKES = {
    "read() gives ndarray; a pair is (photograph, HDR image)": "hdr",
    "read() gives a photograph of uint8 [50, 60, 3]; it is uint8 [64, 96, 3] as its HDR image": (
        "np.zeros((50, 60, 3), np.uint8), hdr"
    ),
    "read() gives a photograph of float32 [64, 96, 3]": "hdr, hdr",
    "read() gives [64, 96]; an image is [H, W, 3]": "np.uint8(hdr), hdr[..., 0]",
    "data set own: ZeroDivisionError: division by zero, ": "1 / 0",
    "photograph and HDR image do not show the same": "np.uint8(255 * (1 - hdr)), hdr",
}


@pytest.mark.parametrize("problem", PAIR_MISTAKES)
def test_pairs_that_are_none_are_told(problem: str, call: Call) -> None:
    write(
        "own_pairs.py",
        f"import numpy as np\n{HEAD}@data_set('own', 'pairs')\nclass Own(RealPairsConfig):\n"
        "    def images(self):\n        return {'a': 'train', 'b': 'val'}\n"
        "    def read(self, name):\n        hdr = np.linspace(0, 1, 64 * 96 * 3, dtype=np.float32)\n"
        f"        hdr = hdr.reshape(64, 96, 3)\n        return {PAIR_MISTAKES[problem]}\n",
    )
    code, said = call("train", "plugins=own_pairs", "stage=real_finetune", "data=own", *PAIRS)
    assert code in (1, 2)
    assert problem in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_methods_are_compared_on_pairs_and_what_has_no_label_trains(call: Call) -> None:
    write_shots(Path())
    text = MODULES["studio_pairs.py"].replace('read_image(f"{scene}_graded.png").pixels', "None")
    write("studio_pairs.py", text)
    words = ("stage=tmo_ft", "data=studio_grades", "stage.start=nothing", *PAIRS)
    code, said = call("train", "plugins=studio_pairs", *words)
    assert code == 0, said
    for data, named in (("photos", "methods=[kovaleski]"), ("grades", "operators=[reinhard]")):
        words = (f"data=studio_{data}", "split=val", named, "report=false")
        code, said = call("evaluate", "plugins=studio_pairs", *words)
        assert code == 0, said
        (scores,) = Path("runs/comparisons").glob(f"studio_{data}*/images.csv")
        assert {line.split(",")[0] for line in scores.read_text().splitlines()[1:]} == {"a"}


def test_an_operators_parameters_are_keys_like_others(call: Call) -> None:
    _, said = call("tonemap", "scene.exr", "plugins=[studio]", "operator=soft", "--help", by_hydra=True)
    assert "knee = null\n      of soft: light from which it bends; null: 0.6" in said
    assert "bias" not in said
    code, said = call(
        "tonemap", "scene.exr", "plugins=[studio]", "operator=soft", "knee=2", "bias=1", "kee=1"
    )
    assert code == 2
    assert "knee: got 2.0, must be a number at least 0.1, at most 0.95, or null" in said
    assert "bias: soft cannot use it; it is for drago" in said
    assert "kee: no such key; did you mean knee?" in said
    assert call("tonemap", "scene.exr", "operator=soft", "knee=1")[0] == 2  # nothing is loaded unasked


def test_python_takes_parts_once_they_are_imported() -> None:
    import studio  # type: ignore[import-not-found]

    hdr = read_image("scene.exr").pixels
    low, high = (ToneMapper.load("soft", knee=knee)(hdr) for knee in (0.2, 0.9))
    assert not np.array_equal(low, high)
    np.testing.assert_array_equal(ToneMapper.load("soft", settings={"knee": 0.2})(hdr), low)
    photograph = np.full((8, 8, 3), 255, np.uint8)
    np.testing.assert_allclose(Expander("glow", {"gain": 3})(photograph), 3, rtol=1e-4)
    assert studio.Lamps(lamps=2).lamps == 2
    with pytest.raises(ConfigError, match="lamps"):
        studio.Lamps(lamps=0)


def test_a_plug_in_that_changes_makes_its_images_anew(call: Call) -> None:
    words = ("tonemap", "scene.exr", "plugins=./studio.py", "operator=soft")
    assert "written" in call(*words)[1]
    assert "there already" in call(*words)[1]
    write("studio.py", MODULES["studio.py"] + "\n")
    assert "written" in call(*words)[1]


# ---------------------------------------------------------------------- nets, and what checkpoints say

NET = """
import torch
from hdrlab.nets import Net
from hdrlab.config.plugins import net

@net("hallucination", preset="plain")
class Plain(Net):
    def __init__(self, width: float = 1.0, mask_width: float = 0.12) -> None:
        super().__init__()
        self.mask_width = mask_width
        self.layer = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.mark.slow
def test_a_net_stands_in_for_one_of_a_system(call: Call) -> None:
    write("plain_net.py", NET)
    words = ("data=lamps", "stage=hal", "preset=plain", "stage.loss.perceptual=0")
    code, said = call("train", "plugins=[plain_net,studio]", *words, *SMALL)
    assert code == 0, said
    made = load_nets("runs/slots/lamps/hal.ckpt")["hallucination"]
    assert made.preset == "plain"
    assert build_net("dequantization", "plain").preset == "default"
    parts = [build_net(name, width=0.1) for name in ("dequantization", "linearization")]
    for one in parts:
        save_net(one, Path(f"{one.name}.pt"), {})
    chain = "checkpoint=[dequantization.pt,linearization.pt,runs/slots/lamps/hal.ckpt]"
    code, said = call("reconstruct", "photo.jpg", "plugins=plain_net", chain)
    assert code == 0, said


def test_a_checkpoint_tells_which_plug_in_is_missing_and_loads_none(folder: Path) -> None:
    load_plugins(["studio_lab"])
    save_net(build_net("whitening"), folder / "net.pt", {})
    forget()
    for name in [name for name in sys.modules if name.startswith("studio")]:
        del sys.modules[name]
    said = r"plug-in that is not loaded; if you trust it, add plugins=\[studio_"
    with pytest.raises(WeightsError, match=said):
        load_nets(folder / "net.pt")
    stored: dict[str, Any] = {
        "hdrlab": {
            "schema_version": 2,
            "stage": "whiten",
            "preset": "default",
            "nets": {},
            "plugins": ["studio_lab"],
        },
        "state_dict": {},
        "hyper_parameters": {},
    }
    torch.save(stored, folder / "whiten.ckpt")
    with pytest.raises(CheckpointError, match=said):
        load_stage(folder / "whiten.ckpt")
    assert not [name for name in sys.modules if name.startswith("studio")]


@pytest.mark.slow
def test_a_net_trained_with_a_term_of_a_plug_in_needs_it_no_more(call: Call) -> None:
    words = ("stage=deq", "stage.loss.evenness=0.1", "data=lamps", *SMALL)
    assert call("train", "plugins=[studio]", *words)[0] == 0
    forget()
    assert load_stage(Path("runs/slots/lamps/deq.ckpt")).name == "deq"
    code, said = call("train", *words)
    assert code == 2
    assert "stage.loss.evenness: no such key" in said or "data=lamps: must be" in said


# ------------------------------------------------------------------------------------------------ mistakes

HEAD = "from hdrlab.config.plugins import *\n"
CLASHES = {
    "operator drago: taken by hdrlab.tonemapping.global_curves": "@operator('drago', '')\ndef f(x): ...",
    "operator iqatm: taken by hdrlab": "@operator('iqatm', '')\ndef f(x): ...",
    "method average: taken by hdrlab": "@method('average', '')\ndef f(x): ...",
    "loss l2: taken by hdrlab": "@loss('l2', '')\ndef f(x, y): ...",
    "metric all: taken by hdrlab": "@metric('all', '')\ndef f(x, y): ...",
    "net hallucination/compact: taken by hdrlab.nets": "net('hallucination', 'a:B', preset='compact')",
    "data set tiny: taken by hdrlab": "@data_set('tiny', '')\nclass A(SynthConfig): ...",
    "stage hal: its schema must be a dataclass": "stage('hal', '', StageConfig, 'a:B')",
    "operator 'A b': must be small letters, digits and _": "@operator('A b', '')\ndef f(x): ...",
    "parameter quality: hdrlab tonemap has a key": "@operator('a', '')\ndef f(x, quality=1.0): ...",
    "parameter bias: a str here, and a float of drago": "@operator('a', '')\ndef f(x, bias='b'): ...",
    "f: size has no default": "@operator('a', '')\ndef f(x, size: float): ...",
    "f: size: must be float, int, bool or str": "@operator('a', '')\ndef f(x, size=[]): ...",
    "f: has no keyword siz": "@operator('a', '', siz=parameter(''))\ndef f(x, size=1.0): ...",
}


@pytest.mark.parametrize("problem", CLASHES)
def test_what_cannot_be_registered_is_refused_with_its_place(problem: str) -> None:
    write("clash.py", HEAD + CLASHES[problem])
    before = [{*table} for table in TABLES]
    with pytest.raises(ConfigError) as wrong:
        load_plugins(["clash"])
    assert problem in str(wrong.value)
    assert "plugins=clash: " in str(wrong.value)
    assert [{*table} for table in TABLES] == before


def test_two_plug_ins_of_one_name_are_refused_with_both_places() -> None:
    write("other.py", HEAD + "@operator('soft', '')\ndef f(x): ...")
    with pytest.raises(
        ConfigError, match=r"other\.py:2: operator soft: registered already in .*studio\.py:\d+"
    ):
        load_plugins(["studio", "other"])


def test_a_cell_that_runs_again_registers_anew() -> None:
    for gain in (2, 3):
        exec(
            compile(f"{HEAD}@operator('cell', '')\ndef f(x): return x * {gain}", f"<cell {gain}>", "exec"),
            {"__name__": "__main__"},
        )
    assert OPERATORS["cell"].apply(1) == 3


def test_errors_of_a_plug_in_are_told_by_its_own_line_with_the_rest(call: Call) -> None:
    write("broken.py", "from hdrlab.config.plugins import operator\nx = 1\ny = x + undefined\n")
    write("syntax.py", "def f(:\n")
    words = ("plugins=[broken,syntax,nowhere,./none.py]", "operator=agx", "quality=200")
    code, said = call("tonemap", "scene.exr", *words)
    assert code == 2
    assert "Traceback" not in said
    assert (
        f"NameError: name 'undefined' is not defined, {Path('broken.py').absolute()}:3: y = x + undefined"
        in said
    )
    assert "plugins=syntax: cannot be loaded: SyntaxError: invalid syntax, " in said
    assert "plugins=nowhere: no such module or entry point" in said
    assert "plugins=./none.py: no such file" in said
    assert "quality: got 200" in said


def test_a_part_that_raises_at_work_is_told_by_its_line(call: Call) -> None:
    write("worker.py", f"{HEAD}@operator('hard', '')\ndef f(x):\n    return x.nothing\n")
    code, said = call("tonemap", "scene.exr", "plugins=worker", "operator=hard")
    assert code == 1
    assert "operator hard: AttributeError: " in said
    assert "worker.py:4: return x.nothing" in said
    assert "Traceback" not in said


def test_a_mistake_beside_a_plug_in_costs_no_torch(folder: Path) -> None:
    code = (
        "import sys\nfrom hdrlab.train import COMMAND\n"
        "try:\n    COMMAND.compose(['plugins=[studio,studio_lab]', 'stage=whiten', 'stage.strength=2'])\n"
        "except ValueError as error:\n    print(error, 'torch' in sys.modules)\n"
    )
    line = [sys.executable, "-c", code]
    asked = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=True)
    assert asked.stdout == "stage.strength: got 2.0, must be a number at least 0, at most 1 False\n"


# ------------------------------------------------------------------------------------ where they come from


def test_a_configuration_that_is_chosen_may_name_one_and_that_is_told(call: Call) -> None:
    Path("mine/experiment").mkdir(parents=True)
    write("mine/experiment/evening.yaml", EVENING)
    Path("studio.py").rename("mine/studio.py")
    code, said = call("train", "--config-dir=mine", "experiment=evening", *SMALL)
    assert code == 0, said
    assert "evening.yaml names the plug-in studio.py, whose code runs" in said
    (config,) = Path("runs/deq").glob("*/config.yaml")
    assert "evenness: 0.2" in config.read_text()


def test_the_configuration_beside_one_is_searched(call: Call) -> None:
    Path("studio_conf/experiment").mkdir(parents=True)
    write("studio_conf/experiment/evening.yaml", EVENING.replace("plugins: [studio.py]\n", ""))
    config = train.COMMAND.compose(["plugins=[studio]", "experiment=evening"])
    assert (config.data.name, config.stage.loss.more) == ("lamps", {"evenness": 0.2})
    with pytest.raises(ConfigError, match=r"experiment=evenin: must be .*did you mean evening"):
        train.COMMAND.compose(["plugins=[studio]", "experiment=evenin"])


def test_an_entry_point_is_enabled_by_its_name_alone(folder: Path) -> None:
    site = folder / "site"
    (site / "loud-1.dist-info").mkdir(parents=True)
    (site / "loud-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\n")
    (site / "loud-1.dist-info" / "entry_points.txt").write_text("[hdrlab.plugins]\nloud = loud_parts\n")
    (site / "loud_parts.py").write_text(
        "open('ran', 'w').close()\n" + HEAD + "@operator('loud', '')\ndef f(x): ..."
    )
    sys.path.append(str(site))
    tonemap.COMMAND.compose(["input=a"])
    assert not (folder / "ran").exists()
    assert "loud" in tonemap.COMMAND.compose(["input=a", "plugins=loud", "operator=loud"]).operators
    assert (folder / "ran").exists()


def test_the_packages_own_parts_stand_in_the_same_tables() -> None:
    tables = (OPERATORS, EXPANSIONS, SCORES, NETS, STAGES, DATA)
    assert all(table.own and table.own == dict(table) for table in tables)
    assert not LOSSES
    for table in (OPERATORS, EXPANSIONS):
        for name, row in table.items():
            assert callable(row.apply), name
    assert all(issubclass(type(build_net(*name.split("/"), width=0.05)), Net) for name in NETS)


# ------------------------------------------------------------------------------------- messages beside


def test_words_that_are_nearly_right_are_mended_by_their_messages() -> None:
    with pytest.raises(WeightsError, match="did you mean hallucination"):
        build_net("hal")
    with pytest.raises(ConfigError, match='data=None: must be the name of a data set \\("tiny"'):
        HDRDataModule(None)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="drago has no biass; it has"):
        ToneMapper.load("drago", biass=0.9)
    assert issubclass(PluginError, ValueError)
