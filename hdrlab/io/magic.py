"""What a file that is not what its name says begins like, for messages."""

from __future__ import annotations

from pathlib import Path

_HEAD = 512
_KINDS = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF document",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"version https://git-lfs": "a pointer of Git LFS, not what it points to",
}


def begins_like(path: Path) -> str:
    """Say what a file begins like: ``it is empty``, ``it begins like a web page`` and the like."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "it is empty"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "it begins like a web page, as downloads that ask for a confirmation leave: download it again"
    kind = next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), None)
    return f"it begins like {kind}" if kind else f"it begins with the bytes {head[:8].hex(' ')}"
