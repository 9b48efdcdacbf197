"""Make files of published weights: ``python -m hdrlab.import_weights source=… output=… [basis=…]``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hdrlab.config.cli import Command
from hdrlab.config.schema.commands import ImportConfig
from hdrlab.errors import DataError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from hdrlab.weights.identify import Bundle, Imported

NAMES_SHOWN = 3


def import_weights(config: ImportConfig) -> int:
    """Read all weights of the source, then write one file per net; if anything is wrong, none."""
    from hdrlab.weights.identify import unpacked

    with unpacked(Path(config.source)) as source:
        try:
            return _import(config, source)
        except WeightsError as error:
            problems = [problem.replace(str(source), str(config.source)) for problem in error.problems]
            raise WeightsError(problems) from error


def _import(config: ImportConfig, source: Path) -> int:
    from hdrlab.weights.identify import find_sources, read_bundle
    from hdrlab.weights.vgg16 import load_vgg16

    console, output = Console(), Path(config.output)
    prefixes, files = find_sources(source)
    bundles: list[Bundle] = []
    vgg: dict[Path, dict[str, Tensor]] = {}
    problems: list[str] = []
    with console.status("reading"):
        for prefix in prefixes:
            try:
                bundles.append(read_bundle(prefix, config.basis))
            except (WeightsError, DataError) as error:
                problems.append(str(error))
        for file in files:
            try:
                vgg[file] = load_vgg16(file)
            except WeightsError as error:
                problems.append(str(error))
    folders = _folders(bundles, output, problems)
    problems += [
        f"{bundle.prefix}: {net.problem}" for bundle in bundles for net in bundle.nets if net.problem
    ]
    _refuse_mixed(bundles, folders, problems)
    _report(console, bundles, list(vgg), folders, output, broken=bool(problems))
    if problems:
        raise WeightsError(problems)
    try:
        _write(bundles, folders, vgg, output, {str(source): config.source})
    except OSError as error:
        raise WeightsError([f"output={output}: cannot be written ({error.strerror or error})"]) from error
    console.print(f"written; use them with checkpoint={output}" if bundles else "written", soft_wrap=True)
    return 0


def _folders(bundles: Sequence[Bundle], output: Path, problems: list[str]) -> dict[Path, Path]:
    """Say into which folder each checkpoint's nets go.

    The released folder of SingleHDR holds deq, lin and hal twice, trained one by one and tuned together with
    ref; that of IQATM two of its nets. Nets of the two kinds must not be mixed, so the largest set fills
    `output` and what collides gets a folder below.
    """
    ordered = sorted(bundles, key=lambda bundle: -len(bundle.nets))
    taken: dict[str, Bundle] = {}
    folders: dict[Path, Path] = {}
    for bundle in ordered:
        rivals = {net.name: taken[net.name] for net in bundle.nets if net.name in taken}
        folders[bundle.prefix] = output / bundle.title if rivals else output
        for name, rival in rivals.items():
            if len(rival.nets) == len(bundle.nets):
                problems.append(
                    f"{name} is in {rival.prefix} and in {bundle.prefix}: give one of them as source"
                )
        if not rivals:
            taken |= {net.name: bundle for net in bundle.nets}
    return folders


def _refuse_mixed(bundles: Sequence[Bundle], folders: Mapping[Path, Path], problems: list[str]) -> None:
    """Refuse several presets in the source, or beside what `output` holds already."""
    from hdrlab.weights.net_file import read_header, require_one_preset

    presets = {(net.name, bundle.prefix): net.preset for bundle in bundles for net in bundle.nets}
    new = {folders[bundle.prefix] / f"{net.name}.pt" for bundle in bundles for net in bundle.nets}
    for folder in {file.parent for file in new}:
        for old in sorted({*folder.glob("*.pt")} - new):
            header = read_header(old)
            presets[header["net"], old] = header["preset"]
    try:
        require_one_preset(presets)
    except WeightsError as error:
        problems.append(str(error))


def _write(
    bundles: Sequence[Bundle],
    folders: Mapping[Path, Path],
    vgg: Mapping[Path, Mapping[str, Tensor]],
    output: Path,
    shown: Mapping[str, str],
) -> None:
    """Write the files; what lay in an unpacked archive is named by the archive's path."""
    from safetensors.torch import save

    from hdrlab.io.atomic import write_bytes
    from hdrlab.weights.identify import describe
    from hdrlab.weights.net_file import save_net, versions

    output.mkdir(parents=True, exist_ok=True)
    for bundle in bundles:
        source = _named_as_given(describe(bundle.prefix), shown)
        folders[bundle.prefix].mkdir(exist_ok=True)
        for imported in bundle.nets:
            assert imported.net is not None
            save_net(imported.net, folders[bundle.prefix] / f"{imported.name}.pt", source)
    for file, weights in vgg.items():
        header = {"source": _named_as_given(describe(file), shown), "versions": versions()}
        write_bytes(output / _vgg_name(file), save(dict(weights), {"hdrlab": json.dumps(header)}))


def _named_as_given(source: dict[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    path: str = source["path"]
    for unpacked, given in shown.items():
        path = given + path.removeprefix(unpacked) if path.startswith(unpacked) else path
    return {**source, "path": path}


def _vgg_name(path: Path) -> str:
    """The two VGG-16 of the paper differ in what they were trained on, which only the file's name says."""
    return "vgg16_places365.safetensors" if "places" in path.name.lower() else "vgg16.safetensors"


# ---------------------------------------------------------------------------------------------- the report


def _report(
    console: Console,
    bundles: Sequence[Bundle],
    vgg: Sequence[Path],
    folders: Mapping[Path, Path],
    output: Path,
    broken: bool,
) -> None:
    table = Table(
        "source", "net", "preset", "mapped", "missing or wrong", "file", title=escape(f"found, for {output}")
    )
    for bundle in bundles:
        for net in bundle.nets:
            file = folders[bundle.prefix].relative_to(output) / f"{net.name}.pt"
            shown = "" if broken else escape(str(file))
            table.add_row(escape(bundle.title), net.name, net.preset, str(net.loaded), _lacking(net), shown)
    for path in vgg:
        table.add_row(escape(path.name), "VGG-16", "", "26", "", "" if broken else _vgg_name(path))
    if table.row_count:
        console.print(table)
    for bundle in bundles:
        steps = len(list(bundle.prefix.parent.glob("*.index")))
        if steps > 1:
            console.print(f"{bundle.title}: {bundle.prefix.name} of its {steps} checkpoints", markup=False)
        for kind, names in bundle.ignored.items():
            more = f", … ({len(names)} in all)" if len(names) > NAMES_SHOWN else ""
            listed = ", ".join(names[:NAMES_SHOWN]) + more
            console.print(f"ignored in {bundle.title} ({kind}): {listed}", markup=False, soft_wrap=True)
    absent = _absent(bundles)
    if absent:
        console.print(f"not in the source: {', '.join(absent)}", soft_wrap=True)


def _lacking(net: Imported) -> str:
    if not net.problem:
        return ""
    variables = len(net.problem.splitlines()) - 1
    return f"{variables} variables" if variables else "the basis"


def _absent(bundles: Sequence[Bundle]) -> list[str]:
    """Return what the systems of which something was found have besides."""
    from hdrlab.nets import SYSTEMS

    found = {net.name for bundle in bundles for net in bundle.nets}
    begun = [names for names in SYSTEMS.values() if not found.isdisjoint(names)]
    return [name for names in begun for name in names if name not in found]


COMMAND = Command(
    "import_weights",
    ImportConfig,
    import_weights,
    (
        "ckpt_deq_lin_hal_ref weights/official basis=invemor.txt",
        "checkpoint/ftlayer weights/iqatm",
    ),
    ("source", "output"),
    positional=("source", "output"),
)

if __name__ == "__main__":
    COMMAND.main()
