"""What Sphinx is taught: pages made from the tables, formulas as MathML, links into the repository."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from hdrlab.__main__ import COMMANDS
from hdrlab.config.choices import CONF, choices
from hdrlab.config.cli import Command
from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.schema.section import Key, Section, keys_of

ROOT = Path(__file__).resolve().parents[1]
GITHUB = "https://github.com/hdrlab/hdrlab/blob/main/"
MARK = re.compile(r"^<!-- made: ([\w-]+)(?: (\S+))? -->$", re.MULTILINE)
"""Where a page wants what `PARTS` makes; readers of the file itself see nothing there."""


# ------------------------------------------------------------------------------------------- made from tables


def commands(_: str) -> Iterator[str]:
    """Describe every command with all its keys."""
    for name, summary in COMMANDS.items():
        yield f"## {name}\n\n{summary[0].upper()}{summary[1:]}.\n"
        command = getattr(_module(name), "COMMAND", None)
        if isinstance(command, Command):
            yield from _command(command)
        else:
            yield f"```\nhdrlab {name} --help\n```\n"


def _module(name: str) -> Any:
    try:
        return __import__(f"hdrlab.{name}", fromlist=["COMMAND"])
    except ImportError:
        return None


def _command(command: Command[Any]) -> Iterator[str]:
    yield "```\n" + "\n".join(f"hdrlab {command.name} {line}" for line in command.examples) + "\n```\n"
    if command.positional:
        yield f"Arguments without a key, in this order: {_codes(command.positional)}\n"
    if choosable := [
        name for name, key in keys_of(command.schema).items() if key.section and _is_group(name)
    ]:
        legal = {name: choices(name) for name in choosable}
        legal["data"] = [name for name, schema in DATA.items() if command.data(schema)]
        yield from (f"- `{name}=` {_codes(legal[name])}" for name in choosable)
        yield ""
    of_parts = command.schema.OPEN  # whose values are those of parts
    plain = [key for key in keys_of(command.schema).values() if not key.section and key.name != of_parts]
    if plain:
        yield from _table(plain)
    for key in keys_of(command.schema).values():
        if key.section and key.name not in ("stage", "data"):
            yield f"**`{key.name}`**\n"
            yield from _section(key.section, f"{key.name}.")
    if "stage" in choosable or "data" in choosable:
        yield "What `stage=` and `data=` bring along: [stages](stages.md), [data sets](data_sets.md).\n"


def _is_group(name: str) -> bool:
    return (CONF / name).is_dir()


def _section(section: type[Section], where: str) -> Iterator[str]:
    """Tabulate the keys of a section and of those within it."""
    found = dict(_flat(section, where))
    yield from _table(found.values(), [*found])


def _flat(section: type[Section], where: str) -> Iterator[tuple[str, Key]]:
    for name, key in keys_of(section).items():
        if key.section:
            yield from _flat(key.section, f"{where}{name}.")
        elif name != "name":
            yield f"{where}{name}", key


def _table(keys: Iterable[Key], names: Iterable[str] = ()) -> Iterator[str]:
    keys = [*keys]
    if not keys:
        return
    yield "| key | default | meaning |\n|---|---|---|"
    for key, name in zip(keys, [*names] or [key.name for key in keys], strict=True):
        legal = f"<br>One of {_codes(key.limits.choices)}" if key.limits.choices else ""
        limits = f"; {key.limits}" if str(key.limits) else ""
        yield f"| `{name}` | {_default(key)} | {_cell(key.help)}{limits}{legal} |"
    yield ""


def _default(key: Key) -> str:
    value = key.default
    if value is MISSING:
        return "required"
    if isinstance(value, tuple):
        return "`[" + ",".join(map(str, value)) + "]`"
    return "`null`" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def stages(_: str) -> Iterator[str]:
    """Describe every stage with its keys and the batch keys that it reads."""
    for name, row in STAGES.items():
        starts = " or ".join(_codes(names) for names in row.starts_from)
        yield f"## {name}\n\n{row.summary[0].upper()}{row.summary[1:]}.\n"
        yield f"Reads of a batch: {_codes(row.batch_keys)}.\n"
        yield f"Starts from the published checkpoints of {starts}.\n" if starts else ""
        yield from _section(row.schema, "stage.")


def data_sets(_: str) -> Iterator[str]:
    """Describe every data set with its keys."""
    for name, schema in DATA.items():
        yield f"## {name}\n\n{schema.summary[0].upper()}{schema.summary[1:]}.\n"
        yield from _section(schema, "data.")


def experiments(_: str) -> Iterator[str]:
    """List the named studies by what their files say at the top."""
    yield "| `experiment=` | what |\n|---|---|"
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        said = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
        yield f"| `{path.stem}` | {_cell(' '.join(said))} |"


def extras(_: str) -> Iterator[str]:
    """List the extras of the package, and what each is for."""
    from hdrlab.inference.doctor import EXTRAS

    yield "| extra | for |\n|---|---|"
    for name, (_module, purpose) in EXTRAS.items():
        yield f"| `{name}` | {_cell(purpose)} |"


def operators(_: str) -> Iterator[str]:
    """List the tone-mapping operators."""
    from hdrlab.tonemapping import OPERATORS

    yield "| `operator=` | what | its own keys |\n|---|---|---|"
    for name, one in OPERATORS.items():
        own = _codes(one.parameters)
        yield f"| `{name}` | {one.summary}{' (extra `operators`)' if one.package else ''} | {own} |"
    yield "| `iqatm` | nets, image quality based tone mapping, 2021 | keys of nets |"


def methods(_: str) -> Iterator[str]:
    """List the classical expansions."""
    from hdrlab.tonemapping.inverse import EXPANSIONS

    yield "| `method=` | what | its own keys |\n|---|---|---|"
    for name, one in EXPANSIONS.items():
        own = _codes(one.parameters)
        yield f"| `{name}` | {one.title}: {one.summary} | {own} |"


def metrics(_: str) -> Iterator[str]:
    """List the names of metrics under which stages log."""
    from hdrlab.metrics.names import METRICS

    yield "| name | meaning |\n|---|---|"
    for name, meaning in METRICS.items():
        yield f"| `{name}` | {_cell(meaning)} |"


def notebook(path: str) -> Iterator[str]:
    """Show a notebook's cells; its outputs are not kept."""
    for cell in json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        yield f"\n{text}\n" if cell["cell_type"] == "markdown" else f"\n```python\n{text}\n```\n"


PARTS = {
    "commands": commands,
    "stages": stages,
    "data-sets": data_sets,
    "experiments": experiments,
    "extras": extras,
    "operators": operators,
    "methods": methods,
    "metrics": metrics,
    "notebook": notebook,
}


def fill(text: str) -> str:
    """Return a page with what it wants made in its place."""
    return MARK.sub(lambda found: "\n".join(PARTS[found[1]](found[2] or "")), text)


def _fill_page(app: Sphinx, name: str, content: list[str]) -> None:
    content[0] = fill(content[0])


# ---------------------------------------------------------------------------------------------------- links


def _repository_links(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to files that are no pages lead to the repository, instead of copying the files."""
    for node in [*doctree.findall(download_reference), *doctree.findall(pending_xref)]:
        target = unquote(str(node.get("reftarget", "")))
        if node.get("reftype") not in ("myst", None) and not isinstance(node, download_reference):
            continue
        page = Path(app.env.doc2path(app.env.docname)).resolve().parent
        base = ROOT if target.startswith("/") else page
        path = (base / target.lstrip("/").partition("#")[0]).resolve()
        if not target or not path.is_relative_to(ROOT) or not path.exists() or path.suffix == ".md":
            continue
        link = nodes.reference("", "", *node.children, refuri=GITHUB + path.relative_to(ROOT).as_posix())
        node.replace_self(link)


# ------------------------------------------------------------------------------------------------ docstrings


def _escape_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let |x| stand in docstrings, which reST takes for the name of a substitution."""
    lines[:] = [re.sub(r"(?<!`)\|", r"\\|", line) if "``" not in line else line for line in lines]


def _leave_out(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Describe errors where they are defined alone, and fields of named tuples in their class alone."""
    at_home = app.env.current_document.autodoc_module == "hdrlab.errors"
    is_field = str(getattr(obj, "__doc__", "")).startswith("Alias for field number")
    return True if is_field or (getattr(obj, "__module__", "") == "hdrlab.errors" and not at_home) else None


# -------------------------------------------------------------------------------------------------- formulas


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{_mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def _mathml(text: str, *, as_block: bool) -> str:
    return str(tex2mathml(text.strip(), as_block=as_block))


# ---------------------------------------------------------------------------------------------------- start


MOVED = """<!doctype html>
<meta charset="utf-8">
<title>hdrlab</title>
<meta http-equiv="refresh" content="0; url={target}">
<a href="{target}">hdrlab</a>
"""


def _front_page(app: Sphinx, exception: Exception | None) -> None:
    """Write the index.html at the top, since the pages lie where they lie in the repository."""
    if exception is None and app.builder.format == "html":
        target = escape(app.builder.get_target_uri(app.config.root_doc))
        Path(app.outdir, "index.html").write_text(MOVED.format(target=target), encoding="utf-8")


def setup(app: Sphinx) -> Mapping[str, Any]:
    """Connect the parts above."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("source-read", _fill_page)
    app.connect("autodoc-process-docstring", _escape_bars)
    app.connect("autodoc-skip-member", _leave_out)
    app.connect("doctree-read", _repository_links, priority=100)  # before files to copy are collected
    app.connect("build-finished", _front_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
