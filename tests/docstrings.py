"""Reads docstrings beside signatures: which arrays lack a shape or a range, which errors are not named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ARRAYS = re.compile(r"\b(Tensor|NDArray|ndarray|Pixels|Array|Floats|Bytes|Levels|Values|Matrix|ImageLike)\b")
NOT_ARRAYS = re.compile(r"Callable\[|DataLoader|TypeIs")
SHAPE = re.compile(
    r"\[(?:[A-Z0-9…]|num|\.\.\.)[^\]]*\]|\bshapes?\b|\bscalars?\b|\bany sizes?\b|\bPillow\b", re.IGNORECASE
)
RANGE = re.compile(
    r"\[[-−]?\d[^\]]*\)?|\(0, 1\)|[≥≤±<>] ?\d|\b(?:at least|above|from|below|about) \d"
    r"|\bany (?:range|unit|value|number|scale|domain|encoding)s?\b|\b(?:range|unit|domain|scale|same)\b"
    r"|\b(?:dB|cd/m²|stops?|EV|in pixels|sRGB|linear|encoded|uint8|uint16|8 bits|bytes)\b"
    r"|\b(?:NaN|finite|indices|positions|counts|weights|boolean|zeros|ones|differences|0 or 1)\b"
    r"|\bas (?:for|in|they|it)\b",
    re.IGNORECASE,
)
QUIET = {"StopIteration", "AttributeError", "NotImplementedError", "AssertionError"}


@dataclass(frozen=True)
class Function:
    """A public function, or a method of a public class, as it stands in its file."""

    name: str
    node: ast.FunctionDef
    module: ast.Module

    @cached_property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ""

    @cached_property
    def arrays(self) -> Mapping[str, str]:
        """Annotations of the arrays that it takes, and of what it gives as ``return``."""
        args = self.node.args
        listed = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        annotated = {one.arg: one.annotation for one in listed} | {"return": self.node.returns}
        texts = {name: ast.unparse(one) for name, one in annotated.items() if one is not None}
        return {
            name: text for name, text in texts.items() if ARRAYS.search(text) and not NOT_ARRAYS.search(text)
        }

    @cached_property
    def entries(self) -> Mapping[str, str]:
        """The text of each argument; ``return`` holds that of Returns or Yields."""
        texts: dict[str, str] = {}
        part, last = "", ""
        for line in self.doc.splitlines():
            if found := re.fullmatch(r"(Args|Returns|Yields|Raises|Attributes):", line):
                part, last = found[1], "return" if found[1] in ("Returns", "Yields") else ""
            elif not line.startswith(" ") and line:
                part = ""
            elif part == "Args" and (found := re.match(r"    \*{0,2}(\w+): (.*)", line)):
                last = found[1]
                texts[last] = found[2]
            elif part in ("Args", "Returns", "Yields") and last:
                texts[last] = texts.get(last, "") + " " + line.strip()
        return texts

    @property
    def lacks_shape(self) -> list[str]:
        return [name for name in self.arrays if not SHAPE.search(self._text(name))]

    @property
    def lacks_range(self) -> list[str]:
        return [name for name in self.arrays if not RANGE.search(self._text(name))]

    def _text(self, name: str) -> str:
        """What is said of an array: in its own place, or, where nothing has one, in the whole docstring."""
        if name in self.entries:
            return self.entries[name]
        if "Args:" not in self.doc:
            return self.doc
        return self.doc.partition("Args:")[0] if name == "return" else ""

    @property
    def lacks_raises(self) -> list[str]:
        """Errors that it raises, by itself or through private functions of its file, and does not name."""
        said = self.doc.partition("Raises:")[2]
        return sorted(error for error in self._raised(self.node, set()) if error not in said)

    def _raised(self, node: ast.AST, seen: set[str]) -> set[str]:
        raised, called = set(), set()
        for one in ast.walk(node):
            if (
                isinstance(one, ast.Raise)
                and isinstance(one.exc, ast.Call)
                and isinstance(one.exc.func, ast.Name)
            ):
                raised.add(one.exc.func.id)
            elif isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id.startswith("_"):
                called.add(one.func.id)
        for name in called - seen:
            seen.add(name)
            if (callee := self.private.get(name)) is not None:
                raised |= self._raised(callee, seen)
        return {name for name in raised if re.match(r"[A-Z]", name)} - QUIET

    @cached_property
    def private(self) -> Mapping[str, ast.FunctionDef]:
        return {one.name: one for one in self.module.body if isinstance(one, ast.FunctionDef)}


def functions(path: Path) -> Iterator[Function]:
    """List the public functions and methods of a file that take or give arrays."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    for node in module.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield from _public(Function(f"{node.name}.{inner.name}", inner, module))
        elif isinstance(node, ast.FunctionDef):
            yield from _public(Function(node.name, node, module))


def _public(one: Function) -> Iterator[Function]:
    decorated = {ast.unparse(decorator) for decorator in one.node.decorator_list}
    if (
        (not one.node.name.startswith("_") or one.node.name == "__call__")
        and "overload" not in decorated
        and one.arrays
    ):
        yield one
