"""Nothing that is read runs code, nothing secret is stored, nothing is written or sent elsewhere."""

from __future__ import annotations

import ast
import json
import os
import pickle
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from commands import call
from PIL import Image as PillowImage
from training import Lab, checkpoint
from wandb_files import of_kind, records

from hdrlab import (
    evaluate,
    export,
    import_weights,
    prepare,
    reconstruct,
    reproduce,
    synthesize,
    tonemap,
    train,
)
from hdrlab.datasets.index import open_index
from hdrlab.errors import CheckpointError, ConfigError, ImageError, RunError, WeightsError
from hdrlab.evaluation.plans import read_plan
from hdrlab.inference.jobs import plan_jobs
from hdrlab.io import write_image
from hdrlab.metrics import load_niqe_model
from hdrlab.runs import main as list_runs
from hdrlab.training.checkpoint_list import Entry, read_manifest
from hdrlab.training.checkpoints import load_stage, read_checkpoint
from hdrlab.training.metrics_rows import read_metrics
from hdrlab.training.run_folder import read_finished
from hdrlab.weights import load_vgg16
from hdrlab.weights.net_file import load_nets

PACKAGE = Path(__file__).resolve().parents[1] / "hdrlab"
KEY = "0123456789abcdef0123456789abcdef01234567"

Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Carries out a command line that must end with 2, and returns all that was said."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call(*words: str, command: Any = train.COMMAND) -> str:
        with pytest.raises(SystemExit) as left:
            command.main(words)
        said = capsys.readouterr()
        assert left.value.code == 2, said.err
        assert not list((tmp_path / "cwd").iterdir())
        return said.out + said.err

    return call


# ------------------------------------------------------------------------------- S5: secrets in what is said

SECRETS = (
    f"logger.entity={KEY}",
    f"logger.entity=local-{KEY}",
    f"logger.group=[a,{KEY}]",
    "logger.entity=sk-proj-abcdefghijklmnopqrstuvwx",
    "logger.project=hf_abcdefghijklmnopqrstuvwxyz",
    "logger.project=ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "paths.runs=out/AKIAIOSFODNN7EXAMPLE/x",
    "data.root=https://me:sesame@example.org/set",
    "logger.api_key=sesame",
    "+wandb.token=sesame",
    "password=sesame",
    "--token=sesame",
    "logger={name:wandb,api_key:sesame}",
    "hydra.job.env_set.AWS_SECRET_ACCESS_KEY=sesame",
    f"{KEY}=1",
    KEY,
    "logger.group=open-sesame-9",  # held by the environment below
)


@pytest.mark.parametrize("word", SECRETS)
@pytest.mark.parametrize("more", [(), ("-m",), ("--help",)])
def test_a_secret_in_a_command_line_is_refused_and_not_repeated(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, word: str, more: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "open-sesame-9")
    said = refuse(*more, "stage=deq", "logger=wandb", word)
    assert said.count("looks like a secret") == 1
    assert "WANDB_API_KEY" in said
    assert KEY not in said
    assert "sesame" not in said
    assert "abcdefgh" not in said
    assert "AKIA" not in said


@pytest.mark.parametrize(
    "command",
    [evaluate.COMMAND, reconstruct.COMMAND, tonemap.COMMAND, synthesize.COMMAND, reproduce.COMMAND],
)
def test_every_command_refuses_secrets(refuse: Refuse, command: Any) -> None:
    assert "looks like a secret" in refuse(f"paths.runs={KEY}", command=command)


def test_a_secret_that_comes_another_way_is_refused_too(
    refuse: Refuse, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDRLAB_VGG16", KEY)  # the configuration reads it
    said = refuse(*lab.words("hal"))
    assert "paths.vgg16: looks like a secret" in said
    assert KEY not in said
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"title: a\nscales:\n  tiny:\n    common: [logger.entity={KEY}]\n")
    with pytest.raises(ConfigError, match=r"scales\.tiny\.common: looks like a secret") as caught:
        read_plan(plan)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "logger.entity=us",
        f"logger.group=cache/snapshots/{KEY}/set",  # a folder named by a commit
        "logger.group=a".ljust(80, "b"),
        "logger.group=tokens-per-second",
        "logger.project='token ring'",
        "logger.project=desk-lamps-and-other-lights-of-the-house",
        "trainer.log_every_n_steps=${stage.batch_size}",
    ],
)
def test_other_words_are_taken(lab: Lab, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("SOME_TOKEN", "short")
    monkeypatch.setenv("KEYS_TOKEN_FILE", "/etc/keys/hub")
    lab.config("deq", "logger=wandb", word)


# ---------------------------------------------------------------------------- S5: canaries in a run folder

CANARIES = {
    "WANDB_API_KEY": "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
    "AWS_SECRET_ACCESS_KEY": "canaryAwsWJalrXUtnFEMIK7MDENGbPxRfiCY",
    "HF_TOKEN": "hf_canaryCanaryCanaryCanaryCanary",
    "GITHUB_TOKEN": "ghp_canaryCanaryCanaryCanaryCanary123456",
    "OPENAI_API_KEY": "sk-canaryCanaryCanaryCanaryCanary",
    "MY_PRIVATE_NOTE": "canary that no rule of names would find",
}


def leaks(folder: Path) -> list[str]:
    """Every file that holds a canary, in bytes or, of wandb's records, in what they say."""
    needles = [value.encode() for value in CANARIES.values()]
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".wandb":
            content += b"".join(record.SerializeToString() for record in records(path))
        if any(needle in content for needle in needles):
            found.append(str(path.relative_to(folder)))
    return found


def test_the_search_for_canaries_finds_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.bin").write_bytes(b"\0\1" + CANARIES["HF_TOKEN"].encode())
    assert leaks(tmp_path) == ["a/b.bin"]


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # so what the logger sets goes with the test


def test_a_wandb_run_stores_no_secret_of_the_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    run = lab.train("deq", "logger=wandb", "trainer=smoke")
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    assert leaks(lab.work) == []


@pytest.fixture
def trap() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that lets nothing through and remembers who asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    asked.append(caller.recv(1000))

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked


@pytest.mark.slow
def test_a_chain_on_wandb_holds_all_but_secrets_and_asks_no_network(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: tuple[str, list[bytes]]
) -> None:
    proxy, asked = trap
    plant(monkeypatch)
    blocked, home, cwd = (tmp_path / "elsewhere" / name for name in ("blocked", "home", "cwd"))
    for folder in (blocked, home, cwd):
        folder.mkdir(parents=True)
    (blocked / "sitecustomize.py").write_text(BLOCK)
    places = {"HOME": str(home), "PYTHONPATH": f"{blocked}:{PACKAGE.parent}", "ASKED": str(home / "asked")}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
    for stage in ("deq", "hal"):
        words = lab.words(stage, "logger=wandb", "callbacks.panels=1", "logger.artifacts=true")
        done = subprocess.run(
            [sys.executable, "-m", "hdrlab.train", *words],
            env={**os.environ, **places, **proxies},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        run = lab.newest(stage)
        (file,) = run.glob("wandb/offline-run-*/*.wandb")
        assert set(read_metrics(run / "metrics.csv")) == {0, 1, 2, 3}
        assert [row.step.num for row in of_kind(file, "history")] == [0, 1, 2, 3]
        assert {path.name for path in (run / "panels").iterdir()} == {
            f"step_{step:07d}.png" for step in range(4)
        }
        assert len(list((file.parent / "files").rglob("*.png"))) == 4
        recorded = [one.replace("'", "") for one in of_kind(file, "environment")[0].args]  # as Hydra quotes
        assert recorded == words  # what it does record
        assert CANARIES["HF_TOKEN"] not in done.stdout + done.stderr
    assert leaks(tmp_path) == []
    written = {path.parent.name for path in home.rglob("*") if path.is_file()}
    assert written <= {"matplotlib"}  # its list of fonts
    assert not list(cwd.iterdir())
    assert asked == []


BLOCK = """
import os, socket
plain = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX:
        with open(os.environ["ASKED"], "a") as stream:
            stream.write(repr(address))
        raise OSError("no network here")
    return plain(self, address)
socket.socket.connect = connect
"""


# --------------------------------------------------------------------------------------- S1: code in files


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A folder that only code from a file would make."""
    place = tmp_path / "canary"
    yield place
    assert not place.exists(), "code of a file was run"


def test_the_bomb_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "boom")))
    assert (tmp_path / "boom").is_dir()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> dict[str, Any]:
    """What a checkpoint of deq holds."""
    lab = Lab(prepared, tmp_path_factory.mktemp("good"))
    return checkpoint(lab.trained("deq", "trainer=smoke") / "last.ckpt")


def bombs(folder: Path, good: dict[str, Any], canary: Path) -> Iterator[Path]:
    """Files with a pickle that runs code, as anything that hdrlab reads weights from."""
    folder.mkdir()
    bomb = Bomb(canary)
    header = {**good["hdrlab"], "config": {**good["hdrlab"]["config"], "x": bomb}}
    for name, content in {
        "header.ckpt": {**good, "hdrlab": header},
        "beside.ckpt": {**good, "callbacks": {"x": bomb}},
        "alone.ckpt": bomb,
        "net.pt": {"hdrlab_net": bomb, "state_dict": {}},
        "vgg.pth": {"features.0.weight": bomb},
    }.items():
        torch.save(content, folder / name)
        yield folder / name
    for name in ("plain.ckpt", "plain.pt", "plain.pth", "plain.npy"):
        (folder / name).write_bytes(pickle.dumps(bomb))
        yield folder / name
    np.save(folder / "object.npy", np.array([bomb], dtype=object), allow_pickle=True)
    np.savez(folder / "object.npz", mean=np.array([bomb], dtype=object), allow_pickle=True)
    yield folder / "object.npy"
    yield folder / "object.npz"


def test_no_reader_runs_a_pickle(tmp_path: Path, good: dict[str, Any], canary: Path) -> None:
    for path in bombs(tmp_path / "bombs", good, canary):
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
        with pytest.raises(WeightsError):
            load_nets(path)
        with pytest.raises(WeightsError):
            load_vgg16(path)
        with pytest.raises(WeightsError):
            load_niqe_model(path)


def test_no_command_runs_a_pickle(
    tmp_path: Path, good: dict[str, Any], canary: Path, capsys: pytest.CaptureFixture[str], lab: Lab
) -> None:
    (tmp_path / "photos").mkdir()
    PillowImage.new("RGB", (16, 16)).save(tmp_path / "photos" / "a.png")
    path = next(bombs(tmp_path / "bombs", good, canary))
    for command, words in (
        (train.COMMAND, lab.words("deq", f"resume={path}")),
        (train.COMMAND, lab.words("deq", f"stage.init.deq={path}")),
        (evaluate.COMMAND, [f"checkpoint={path}", *lab.data(), f"paths.data={tmp_path / 'data'}"]),
        (
            reconstruct.COMMAND,
            [f"checkpoint={path}", f"input={tmp_path / 'photos'}", f"output={tmp_path / 'o'}"],
        ),
        (import_weights.COMMAND, [f"source={path}", f"output={tmp_path / 'nets'}"]),
    ):
        assert call(command, words) == 2
        assert path.name in capsys.readouterr().err


def test_prepared_data_runs_no_pickle(lab: Lab, tmp_path: Path, canary: Path) -> None:
    index = open_index(lab.prepared)
    file = index.images[0].array
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    np.save(folder / file, np.array([Bomb(canary)] * 9, dtype=object), allow_pickle=True)
    moved = type(index)(folder, index.settings, index.images)
    with pytest.raises(ValueError, match="Python objects"):
        moved.load(index.images[0])


def test_what_a_checkpoint_says_of_itself_is_never_called(
    lab: Lab, tmp_path: Path, good: dict[str, Any], canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_TOKEN", CANARIES["HF_TOKEN"])
    called = {"_target_": "os.mkdir", "_args_": [str(canary)], "path": str(canary)}
    path = lab.trained("deq") / "last.ckpt"
    stored = checkpoint(path)
    stored["hdrlab"]["config"]["logger"] = called
    stored["hdrlab"]["config"]["stage"] |= called
    stored["hdrlab"]["config"]["paths"]["runs"] = "${oc.env:CANARY_TOKEN}"
    torch.save(stored, path)
    stage = load_stage(path)
    assert CANARIES["HF_TOKEN"] not in json.dumps(stage.header)
    lab.train("deq", "stage.max_steps=4")
    assert leaks(lab.work) == []
    stored["hyper_parameters"] = stored["datamodule_hyper_parameters"] = {
        "_instantiator": "os.mkdir",
        **called,
    }
    torch.save(stored, tmp_path / "instantiated.ckpt")
    with pytest.raises(CheckpointError, match="_instantiator: no such key"):
        load_stage(tmp_path / "instantiated.ckpt")


TAG = "!!python/object/apply:os.mkdir ['{}']"


def test_yaml_files_run_nothing(
    lab: Lab,
    tmp_path: Path,
    canary: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"title: {TAG.format(canary)}\n")
    with pytest.raises(ConfigError, match="not a plan"):
        read_plan(plan)
    monkeypatch.setenv("CANARY_TOKEN", CANARIES["HF_TOKEN"])
    for number, text in enumerate((TAG.format(canary), "${oc.env:CANARY_TOKEN}", "{_target_: os.mkdir}")):
        folder = lab.runs / "deq" / f"{number}-1"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(f"data:\n  name: {text}\nstage:\n  max_steps: 3\n")
    monkeypatch.setattr(sys, "argv", ["runs", str(lab.runs)])
    list_runs()
    said = capsys.readouterr().out
    assert CANARIES["HF_TOKEN"] not in said
    assert "oc.env" in said
    assert "damaged" in said


@pytest.mark.parametrize(
    "words",
    [
        ("stage.loss={_target_: os.mkdir}",),
        ("stage._target_=os.mkdir",),
        ("data.root={_target_: os.mkdir, path: canary}",),
        ("--config-name", "other"),
        ("--config-path", "/tmp"),
        ("--experimental-rerun", "job.pickle"),
        ("logger.entity=${oc.env:HOME}",),
        ("logger.entity=\\\\${oc.env:HOME}",),
        ("logger.entity=a${stage.${oc.env:HOME}}",),
        ("paths={runs: '${oc.env:HOME}'}",),
        ("hydra.run.dir=${oc.env:HOME}",),
        ("hydra.run.dir=${now:${oc.env:HOME}}",),
    ],
)
@pytest.mark.parametrize("more", [(), ("-m",), ("--cfg", "job")])
def test_no_word_brings_in_code_or_the_environment(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], more: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HOME", "/canary")
    assert "/canary" not in refuse("stage=deq", "logger=wandb", *more, *words)


FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "runpy.run_path"),
    *("hydra.utils.instantiate", "hydra.utils.call", "OmegaConf.register_new_resolver"),
    *("torch.jit.load", "marshal.loads", "shelve.open", "joblib.load", "urllib.request.urlopen"),
}


def test_nothing_is_called_that_would_run_what_it_reads() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
            wrong = (
                name in FORBIDDEN
                or name.endswith(".load_from_checkpoint")
                or (name == "torch.load" and given.get("weights_only") != "True")
                or (name.endswith(".fit") and "ckpt_path" in given and given.get("weights_only") != "True")
                or (name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False")
                or given.get("shell", "False") != "False"
            )
            if wrong:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {name}")
    assert not found


# --------------------------------------------------------------------- S3: nothing outside the output folder


@pytest.mark.parametrize("group", ["stage", "data", "logger", "trainer"])
def test_a_choice_cannot_be_given_another_name(refuse: Refuse, group: str) -> None:
    said = refuse("stage=deq", f"{group}.name=../../elsewhere")
    assert f"error: {group}.name: cannot be set; {group}=NAME chooses " in said
    with pytest.raises(ConfigError):
        train.COMMAND.compose(["stage=deq", f"++{group}.name=../../elsewhere"])


def test_outputs_lie_below_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "a" / "out"
    for folder in ("a/in/deep", "a/beside", "precious"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("a/in/x.png", "a/in/deep/..y.png", "a/in/...z.png", "a/beside/x2.png", "precious/p.png"):
        (tmp_path / file).touch()
    (tmp_path / "a/in/link").symlink_to(tmp_path / "precious")
    (tmp_path / "a/in/link.png").symlink_to(tmp_path / "precious" / "p.png")
    monkeypatch.chdir(tmp_path / "a" / "in")
    for given in (
        "..",
        ".",
        "../beside/x2.png",
        "../*/*.png",
        "../../*/../a/in/*.png",
        "link",
        "../in/../beside",
    ):
        jobs = plan_jobs([given], output, lambda target: [target.with_suffix(".exr")]).jobs
        assert jobs
        assert all(job.target.resolve().is_relative_to(output.resolve()) for job in jobs), given


def test_a_link_in_the_output_folder_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    precious, output = tmp_path / "precious.exr", tmp_path / "out"
    output.mkdir()
    precious.write_text("dear")
    (output / "a.exr").symlink_to(precious)
    with pytest.raises(ImageError, match="neither followed nor replaced"):
        write_image(output / "a.exr", np.ones((4, 4, 3), np.float32))
    assert precious.read_text() == "dear"
    assert (output / "a.exr").is_symlink()


def test_a_plan_names_no_folder_outside(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    step = "{stage: ../../precious, train: [stage=deq]}"
    plan.write_text(
        "title: a\npaper: b\ninputs: {}\nclaims: []\n"
        f"scales: {{tiny: {{note: a, comparable: false, inputs: [], common: [], steps: [{step}]}}}}\n"
    )
    with pytest.raises(ConfigError, match=r"no such stage: \.\./\.\./precious"):
        read_plan(plan)


def test_records_of_an_archive_go_nowhere(tmp_path: Path, good: dict[str, Any]) -> None:
    import zipfile

    (tmp_path / "deep" / "er").mkdir(parents=True)
    path = tmp_path / "deep" / "er" / "a.ckpt"
    torch.save(good, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped", b"x")
        archive.writestr(str(tmp_path / "absolute"), b"x")
    for read in (read_checkpoint, load_vgg16, load_niqe_model):
        try:
            cast("Callable[[Path], Any]", read)(path)
        except ValueError:
            continue
    assert {one.name for one in tmp_path.rglob("*") if one.is_file()} == {"a.ckpt"}


# ------------------------------------------------------------------------------------------ S4: no network


@pytest.mark.slow
def test_the_commands_ask_no_network(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    plain = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            asked.append(address)
            raise OSError("no network here")
        plain(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: asked.append(words))
    run = lab.train("deq", "logger=tensorboard", "callbacks.panels=1")
    scored = (
        f"checkpoint={run / 'best.ckpt'}",
        *lab.data(),
        f"paths.data={tmp_path / 'data'}",
        "report=false",
    )
    shot = (*lab.data()[:3], f"output={tmp_path / 'photos'}", "images=1", f"paths.data={tmp_path / 'data'}")
    toned = (f"input={tmp_path / 'photos' / 'HDR_gt'}", f"output={tmp_path / 'toned'}", "operator=drago")
    made = (f"input={tmp_path / 'photos' / 'LDR_in'}", f"output={tmp_path / 'made'}", "device=cpu")
    ready = (f"source={tmp_path / 'scenes'}", f"root={tmp_path / 'ready'}", "data.short_side=64")
    (tmp_path / "scenes").mkdir()
    for name in ("hall", "yard", "lake", "tower"):
        noise = np.random.default_rng(len(name)).random((64, 64, 3), np.float32)
        write_image(tmp_path / "scenes" / f"{name}.exr", noise)
    (tmp_path / "odd.index").write_bytes(b"no index")
    calls: dict[Any, tuple[Sequence[str], int]] = {
        train: (lab.words("deq", "resume=never", "logger=wandb"), 0),
        evaluate: (scored, 0),
        synthesize: (shot, 0),
        tonemap: (toned, 0),
        reconstruct: (made, 0),
        prepare: (ready, 0),
        import_weights: ((f"source={tmp_path / 'odd.index'}", f"output={tmp_path / 'nets'}"), 2),
        export: (("checkpoint=absent.ckpt", f"output={tmp_path / 'graph'}"), 2),
        reproduce: (("plan=iqatm", "scale=paper", f"output={tmp_path / 'again'}"), 2),
    }
    with_command = {path.stem for path in PACKAGE.glob("*.py") if "COMMAND = " in path.read_text("utf-8")}
    with_command -= {"serve"}  # it waits for connections, and tests/server asks it
    assert {module.__name__.removeprefix("hdrlab.") for module in calls} == with_command
    for module, (words, code) in calls.items():
        assert call(module.COMMAND, words) == code, capsys.readouterr().err
    assert list((tmp_path / "toned").glob("*.png"))
    assert list((tmp_path / "made").glob("*.exr"))
    assert asked == []


# ---------------------------------------------------------------------------- S2: readers of our own files


def test_any_metrics_file_is_read(tmp_path: Path) -> None:
    path, draw = tmp_path / "metrics.csv", random.Random(1)
    good = b"step,metric,value\n" + b"".join(b"%d,val/loss,0.%d\n" % (step, step) for step in range(30))
    for _ in range(300):
        path.write_bytes(damaged(good, draw))
        figures = read_metrics(path)
        assert len(figures) <= 31
        assert all(isinstance(value, float) for one in figures.values() for value in one.values())


def damaged(good: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, and cut short every other time."""
    changed = bytearray(good)
    for _ in range(draw.randrange(1, 6)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed[: draw.choice((len(changed), draw.randrange(len(changed))))])


def test_any_record_of_a_run_is_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = {"step": 3, "scores": {"val/loss": 0.5}}
    slot = {**finished, "run": "deq/1-1", "data_fingerprint": "ab", "sha256": "c"}
    config = "data:\n  name: tiny\nstage:\n  name: deq\n  max_steps: 3\nseed: 0\n"
    good = {
        "runs/deq/1-1/config.yaml": config.encode(),
        "runs/deq/1-1/finished.json": json.dumps(finished).encode(),
        "runs/slots/tiny/deq.json": json.dumps(slot).encode(),
        "journal.json": json.dumps({"seconds": {"deq": 1.5}, "done": {"deq": "a"}, "scored": {}}).encode(),
        "checkpoints.json": json.dumps([asdict(Entry("last.ckpt", 3, 10, "ab"))]).encode(),
    }
    for name in good:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(sys, "argv", ["runs", str(tmp_path / "runs")])
    draw = random.Random(1)
    refused: list[str] = []
    for _ in range(60):
        for name, content in good.items():
            (tmp_path / name).write_bytes(damaged(content, draw))
        list_runs()
        for read in (
            lambda: read_finished(tmp_path / "runs/deq/1-1"),
            lambda: reproduce.Journal.open(tmp_path / "journal.json"),
            lambda: reproduce.read_json(tmp_path / "runs/slots/tiny/deq.json"),
            lambda: read_manifest(tmp_path),
        ):
            try:
                read()
            except (RunError, ConfigError, CheckpointError) as error:
                refused.append(str(error))
    assert len(refused) > 90
    assert all("damaged" in said and len(said.splitlines()) == 1 for said in refused)
    capsys.readouterr()
