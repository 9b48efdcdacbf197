"""XMP packets: what they say, as attributes or as elements, and what of it is taken out or put in.

Source: ISO 16684-1 (XMP); Adobe's XMP Specification Part 3 for packets in files.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
_ABOUT = f"{{{RDF}}}about"
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
_END = b'<?xpacket end="w"?>'
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Value = str | Sequence[str]
"""A text, or an ordered list of them."""


class XmpError(ValueError):
    """A packet that cannot be read; the text says why."""


def parse_xmp(packet: bytes) -> Element:
    """Read a packet.

    Raises:
        XmpError: It is no XML, or declares a document type, with which small files can grow without a limit.
    """
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        raise XmpError("XMP with a document type")
    try:
        for _, (prefix, uri) in ElementTree.iterparse(io.BytesIO(_trimmed(packet)), ("start-ns",)):
            with contextlib.suppress(ValueError):  # prefixes that ElementTree keeps to itself
                ElementTree.register_namespace(prefix, uri)
        root = ElementTree.fromstring(_trimmed(packet))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise XmpError(f"XMP that is no XML ({error})") from error
    return root


def _trimmed(packet: bytes) -> bytes:
    return packet.strip(b"\0 \t\r\n")


def empty_xmp() -> Element:
    """Return a packet that says nothing."""
    root = Element(f"{{{META}}}xmpmeta")
    rdf = ElementTree.SubElement(root, f"{{{RDF}}}RDF")
    ElementTree.SubElement(rdf, f"{{{RDF}}}Description", {_ABOUT: ""})
    return root


def pack_xmp(root: Element) -> bytes:
    """Write a packet."""
    ElementTree.register_namespace("x", META)
    ElementTree.register_namespace("rdf", RDF)
    packet: bytes = ElementTree.tostring(root, encoding="utf-8")
    return _BEGIN + packet.strip() + _END


def properties(root: Element) -> Iterator[tuple[str, list[str]]]:
    """Yield the properties of the image, ``{namespace}Name``, each with its texts."""
    for node in _descriptions(root):
        for name, value in node.attrib.items():
            if not name.startswith(f"{{{RDF}}}"):
                yield name, [value]
        for child in node:
            items = [item.text or "" for item in child.iter(f"{{{RDF}}}li")]
            yield child.tag, items or [child.text or ""]


def find_text(root: Element, name: str) -> str | None:
    """Return the first text of a property, ``{namespace}Name``, or None."""
    return next((texts[0].strip() for found, texts in properties(root) if found == name), None)


def remove_properties(root: Element, is_unwanted: Callable[[str], bool]) -> None:
    """Take out the properties whose name, ``{namespace}Name``, is unwanted."""
    for node in _descriptions(root):
        for name in [name for name in node.attrib if is_unwanted(name)]:
            del node.attrib[name]
        for child in [child for child in node if is_unwanted(str(child.tag))]:
            node.remove(child)


def is_fit(name: str, value: str) -> bool:
    """Say whether a property may have a name (without its namespace) and a value."""
    return _NAME.fullmatch(name) is not None and _NO_XML.search(value) is None


def add_properties(root: Element, namespace: str, prefix: str, values: Mapping[str, Value]) -> Element:
    """Add properties of one namespace: texts as attributes, lists in ``rdf:Seq``; return their node."""
    ElementTree.register_namespace(prefix, namespace)
    parent = next(root.iter(f"{{{RDF}}}RDF"))
    node = ElementTree.SubElement(parent, f"{{{RDF}}}Description", {_ABOUT: ""})
    for name, value in values.items():
        if isinstance(value, str):
            node.set(f"{{{namespace}}}{name}", value)
            continue
        sequence = ElementTree.SubElement(
            ElementTree.SubElement(node, f"{{{namespace}}}{name}"), f"{{{RDF}}}Seq"
        )
        for text in value:
            ElementTree.SubElement(sequence, f"{{{RDF}}}li").text = text
    return node


def _descriptions(root: Element) -> Iterator[Element]:
    """Yield the descriptions of the image itself, not those within its properties."""
    for parent in root.iter(f"{{{RDF}}}RDF"):
        yield from parent.findall(f"{{{RDF}}}Description")


def is_packet(text: str | bytes) -> bool:
    """Say whether a text looks like a packet."""
    head = text[:4096].encode("utf-8", "replace") if isinstance(text, str) else text[:4096]
    return re.search(rb"<(?:\?xpacket|\w+:xmpmeta|rdf:RDF)", head) is not None
