"""Finds foreign weights on the disk, tells which nets they are, and makes our nets of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hdrlab.nets import SYSTEMS, Net, build_net
from hdrlab.nets.layers import WeightsError
from hdrlab.tensor_bundle import find_prefix, read_tensorflow_checkpoint
from hdrlab.weights import OBJECT_SUFFIX, load_variables

Variables = Mapping[str, NDArray[Any]]

VGG_SUFFIXES = (".npy", ".pth", ".h5", ".safetensors")
UNUSABLE = "crf_net_v2.npy"
WHY_UNUSABLE = (
    "cannot be used: it holds the start values of the linearization net's training (a pickle of TensorFlow 1 "
    "layers), was never published, and the authors' program fails where it would read it; import ckpt_lin, "
    "the trained net, or train with stage=lin"
)
NO_BASIS = (
    "linearization needs basis=FILE, the EMoR basis invemor.txt of Columbia's CAVE laboratory: no TensorFlow "
    "checkpoint contains it, and with any other basis every curve would be silently wrong"
)

GRAPH_SCOPES = {
    "dequantization": ("Dequantization_Net/",),
    "linearization": ("crf_feature_net/", "ae_invcrf_decode_net/"),
    "hallucination": ("Hallucination_Net/",),
    "refinement": ("Refinement_Net/",),
    "tmo_bottom": ("bot_level/",),
    "tmo_high": ("high_level/",),
    "tmo_merge": ("ft_merger/",),
}
"""What the authors' variables of each net begin with."""

HISTOGRAM_PRESETS = {102: "official", 93: "tf2"}
"""Preset by the feature maps that linearization's first convolution reads."""

OPTIMISER = re.compile(r"/Adam(_\d+)?(:0)?$|beta[12]_power|\.OPTIMIZER_SLOT|^_?optimizer/")
COUNTER = re.compile(r"(^|/)(global_step|save_counter|epoch|step)\b")


class ImportProblems(WeightsError):
    """Weights that cannot be imported; ``problems`` holds all that is wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Imported:
    """One net made of foreign weights.

    Attributes:
        net: The net with its weights; None where they do not fit.
        name: Its name.
        preset: Its preset.
        loaded: How many variables it took.
        problem: Everything that is missing or does not fit.
    """

    net: Net | None
    name: str
    preset: str
    loaded: int
    problem: str = ""


@dataclass(frozen=True)
class Bundle:
    """A TensorFlow checkpoint and the nets made of it.

    Attributes:
        prefix: Path of its files without suffix.
        nets: The nets found in it.
        ignored: Names of the variables that no net took, by kind.
    """

    prefix: Path
    nets: tuple[Imported, ...]
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The folder's name, by which the authors tell their checkpoints apart."""
        return self.prefix.parent.name


def find_sources(path: Path) -> tuple[list[Path], list[Path]]:
    """Find checkpoints and VGG-16 files.

    Args:
        path: A file, the prefix of a checkpoint, or a folder that holds such, in sub-folders too.

    Returns:
        Prefixes of TensorFlow checkpoints, and VGG-16 files.

    Raises:
        WeightsError: There is nothing, or it is known to be of no use.
    """
    if path.name == UNUSABLE:
        raise WeightsError(f"{path} {WHY_UNUSABLE}")
    if path.suffix in VGG_SUFFIXES and path.is_file():
        return [], [path]
    if not path.is_dir():
        return [find_prefix(path)], []
    folders = sorted(
        {path, *(folder for glob in ("*/", "*/*/") for folder in path.glob(glob) if folder.is_dir())}
    )
    bundles = [find_prefix(folder) for folder in folders if any(folder.glob("*.index"))]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if _is_vgg(file)]
    if not bundles and not files:
        raise WeightsError(f"{path}: neither a TensorFlow V2 checkpoint (.index) nor a VGG-16 file is in it")
    return bundles, files


def _is_vgg(path: Path) -> bool:
    return path.suffix in VGG_SUFFIXES and "vgg" in path.name.lower() and path.is_file()


def read_bundle(prefix: Path, basis: str | None) -> Bundle:
    """Make nets of all that a TensorFlow checkpoint holds.

    Args:
        prefix: As `find_sources` returns it.
        basis: Path of `invemor.txt`, which no TensorFlow checkpoint contains.

    Returns:
        The nets, each with what does not fit; never none.

    Raises:
        WeightsError: The checkpoint is damaged or holds none of the nets.
        CurveFileError: The basis cannot be read.
    """
    variables = read_tensorflow_checkpoint(prefix)
    presets = identify(variables)
    if not presets:
        some = ", ".join(sorted(variables)[:3])
        raise WeightsError(
            f"{prefix}: no net of {' or '.join(SYSTEMS)} is in it; it holds {some or 'nothing'} …"
        )
    unused = set(variables)
    nets = []
    for name, preset in presets.items():
        imported, loaded = _make(name, preset, variables, basis)
        nets.append(imported)
        unused -= loaded
    kinds: dict[str, list[str]] = {}
    for variable in sorted(unused):
        kinds.setdefault(_kind(variable), []).append(variable)
    return Bundle(prefix, tuple(nets), {kind: tuple(names) for kind, names in kinds.items()})


def identify(variables: Variables) -> dict[str, str]:
    """Tell which nets a checkpoint holds, and of which preset.

    Graph names say it themselves. SingleHDR-tf2 hangs each of its nets under the same name, so that paths
    and, for its two U-Nets, the channels of the first kernel must do.

    Args:
        variables: As `hdrlab.weights.read_tensorflow_checkpoint` returns them.

    Returns:
        Preset of each net found, by name.

    Raises:
        WeightsError: The linearization net reads a number of maps that is of neither preset.
    """
    found = {
        name: "official"
        for name, scopes in GRAPH_SCOPES.items()
        if any(variable.startswith(scopes) for variable in variables)
    }
    name = _object_net(variables)
    if name:
        found[name] = "tf2"
    if "linearization" in found:
        found["linearization"] = _histogram_preset(variables) or found["linearization"]
    return found


def _object_net(variables: Variables) -> str | None:
    shapes = {
        variable.removeprefix("lin/").removesuffix(OBJECT_SUFFIX): array.shape
        for variable, array in variables.items()
        if variable.startswith("lin/")
        and variable.endswith(OBJECT_SUFFIX)
        and "OPTIMIZER_SLOT" not in variable
    }
    if any(path.startswith(GRAPH_SCOPES["linearization"]) for path in shapes):
        return "linearization"
    if any(path.startswith(("s0/", "u5/", "d5/")) for path in shapes):
        return "hallucination"
    first = shapes.get("conv1/kernel", ())
    return {3: "dequantization", 9: "refinement"}.get(first[2]) if len(first) == 4 else None


def _histogram_preset(variables: Variables) -> str | None:
    for name, array in variables.items():
        if re.search(r"crf_feature_net/conv1/(weights|kernel)(:0|/\.ATTRIBUTES/VARIABLE_VALUE)?$", name):
            maps = array.shape[2] if array.ndim == 4 else 0
            if maps not in HISTOGRAM_PRESETS:
                raise WeightsError(
                    f"{name} has {list(array.shape)}: linearization reads 102 maps (official) or 93 (tf2)"
                )
            return HISTOGRAM_PRESETS[maps]
    return None


def _make(name: str, preset: str, variables: Variables, basis: str | None) -> tuple[Imported, set[str]]:
    options: dict[str, Any] = {}
    if name == "linearization":
        if basis is None:
            return Imported(None, name, preset, 0, NO_BASIS), _own(name, variables)
        options["basis"] = basis
    net = build_net(name, preset, **options)
    try:
        report = load_variables(net, variables)
    except WeightsError as error:
        return Imported(None, name, preset, 0, str(error)), _own(name, variables)
    return Imported(net, name, preset, len(report.loaded)), set(report.loaded)


def _own(name: str, variables: Variables) -> set[str]:
    """Guess which variables a net that could not be made would have taken."""
    roots = (*GRAPH_SCOPES[name], "lin/")
    return {variable for variable in variables if variable.startswith(roots) and _kind(variable) == "other"}


def _kind(variable: str) -> str:
    if OPTIMISER.search(variable):
        return "optimiser"
    return "counter" if COUNTER.search(variable) else "other"


def describe(prefix: Path) -> dict[str, Any]:
    """Return path and SHA-256 of each file of a source: a checkpoint's prefix, or one file."""
    files = [prefix] if prefix.is_file() else sorted(prefix.parent.glob(f"{prefix.name}.*"))
    kept = [file for file in files if file == prefix or re.search(r"\.(index|data-\d+-of-\d+)$", file.name)]
    return {"path": str(prefix), "sha256": {file.name: _sha256(file) for file in kept}}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
