"""Finds foreign weights on the disk, tells which nets they are, and makes our nets of them."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hdrlab.errors import WeightsError
from hdrlab.io.atomic import digest
from hdrlab.io.tensorflow.checkpoint import find_prefix, read_tensorflow_checkpoint
from hdrlab.nets import SYSTEMS, Net, build_net
from hdrlab.weights.names import OBJECT_SUFFIX, load_variables
from hdrlab.weights.safe_load import DAMAGE

Variables = Mapping[str, NDArray[Any]]

LARGEST_PACKED, MOST_PACKED = 1 << 24, 20
"""Bytes that the files of an archive may have: some, and as many times its own; weights hardly shrink."""

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
        path: A file, the prefix of a checkpoint, or a folder that holds such, in sub-folders too. Hidden
            files, and those that macOS puts beside others, are passed over.

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
    folders = [path, *(folder for depth in ("*/", "*/*/", "*/*/*/") for folder in sorted(path.glob(depth)))]
    inside = {
        folder: [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
        for folder in folders
        if folder.is_dir() and not _is_companion(folder.relative_to(path))
    }
    bundles = [
        find_prefix(folder) for folder, files in inside.items() if any(f.suffix == ".index" for f in files)
    ]
    files = [file for listed in inside.values() for file in listed if _is_vgg(file)]
    if not bundles and not files:
        raise WeightsError(f"{path}: neither a TensorFlow V2 checkpoint (.index) nor a VGG-16 file is in it")
    return bundles, files


def _is_companion(path: Path) -> bool:
    """Say whether macOS put this beside files on other systems' disks and into archives, or it is hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield a source as files on the disk: a ZIP archive, as authors publish them, in a temporary folder.

    Raises:
        WeightsError: The archive is damaged, makes more of its bytes than weights can be packed into, or
            there is no room to unpack it.
    """
    if path.suffix.lower() in VGG_SUFFIXES or not path.is_file() or not zipfile.is_zipfile(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, path.stem)
        try:
            is_torch = not _unpack(path, folder)
        except DAMAGE as error:
            hint = "" if isinstance(error, OSError) else ": a damaged ZIP archive, or one with a password"
            raise WeightsError(f"{path}: cannot be unpacked ({error!s:.500}){hint}") from error
        yield path if is_torch else folder


def _unpack(path: Path, folder: Path) -> bool:
    """Unpack an archive; return False where it is a file of PyTorch, which is one too."""
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if not _is_companion(Path(one.filename))]
        if any(one.filename.endswith("/data.pkl") for one in members):
            return False
        if sum(one.file_size for one in members) > LARGEST_PACKED + MOST_PACKED * path.stat().st_size:
            raise ValueError("its files are too large for its size: these are no weights")
        for member in members:
            archive.extract(member, folder)  # which keeps names such as ../a within the folder
    return True


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
        DataError: The basis cannot be read.
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
    return {"path": str(prefix), "sha256": {file.name: digest(file) for file in kept}}
