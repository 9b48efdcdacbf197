"""The segments of a JPEG before its pixels: Exif, XMP, profile, IPTC and what else programs put there.

Source: ITU-T T.81 (JPEG), Exif 3.0, Adobe's XMP Specification Part 3, ICC.1:2022 annex B, CIPA DC-007 (MPF).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SOI = b"\xff\xd8"
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
ICC, MPF, ISO_GAIN_MAP = b"ICC_PROFILE\0", b"MPF\0", b"urn:iso:std:iso:ts:21496:-1\0"
PHOTOSHOP = b"Photoshop 3.0\0"
APP0, APP1, APP2, APP13, COM = 0xE0, 0xE1, 0xE2, 0xED, 0xFE
MOST_BYTES = 65_533
"""What a segment holds at most."""

_SOS, _EOI = 0xDA, 0xD9
_SCAN_OR_END = re.compile(rb"\xff[\xd9\xda]")
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class Segment:
    """A marker with what follows it.

    Attributes:
        marker: Second byte of the marker.
        content: Without marker and length.
        place: Where the content begins in the file.
    """

    marker: int
    content: bytes
    place: int = 0

    def is_named(self, name: bytes) -> bool:
        """Say whether it is an application's segment of this name."""
        return 0xE0 <= self.marker <= 0xEF and self.content.startswith(name)

    def pack(self) -> bytes:
        """Return its bytes.

        Raises:
            ValueError: It is too long.
        """
        if len(self.content) > MOST_BYTES:
            raise ValueError(f"a JPEG segment holds {MOST_BYTES} bytes at most, not {len(self.content)}")
        return struct.pack(">BBH", 0xFF, self.marker, len(self.content) + 2) + self.content


def read_segments(data: bytes) -> list[Segment]:
    """List the segments of a JPEG before its pixels, as far as they are whole."""
    return [segment for segment, _ in _walk(data)]


def _walk(data: bytes) -> Iterator[tuple[Segment, int]]:
    """Yield each segment with the place behind it."""
    place = len(SOI)
    while data.startswith(SOI) and place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in (_SOS, _EOI):
            return
        else:
            end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
            if end > len(data) or end < place + 4:
                return
            yield Segment(marker, data[place + 4 : end], place + 4), end
            place = end


def with_segments(data: bytes, segments: Iterable[Segment]) -> bytes:
    """Replace all application segments and comments of a JPEG; tables and pixels stay byte for byte.

    Args:
        data: The JPEG.
        segments: In their order, all that it is to have.
    """
    parts = [SOI, *(segment.pack() for segment in segments)]
    end = len(SOI)
    for segment, end in _walk(data):  # noqa: B007 - the last one's end is used
        if not (0xE0 <= segment.marker <= 0xEF or segment.marker == COM):
            parts.append(segment.pack())
    return b"".join([*parts, data[end:]])


def first_named(segments: Iterable[Segment], name: bytes) -> bytes | None:
    """Return the first segment's content behind its name."""
    return next((one.content[len(name) :] for one in segments if one.is_named(name)), None)


def icc_profile(segments: Iterable[Segment]) -> bytes | None:
    """Put the parts of an ICC profile together; None where there is none or a part is missing."""
    parts = {one.content[12]: one.content for one in segments if one.is_named(ICC) and len(one.content) > 14}
    if not parts or sorted(parts) != list(range(1, next(iter(parts.values()))[13] + 1)):
        return None
    return b"".join(content[14:] for _, content in sorted(parts.items()))


def icc_segments(profile: bytes) -> list[Segment]:
    """Return the segments that hold a profile."""
    step = MOST_BYTES - len(ICC) - 2
    parts = [profile[start : start + step] for start in range(0, len(profile), step)]
    return [
        Segment(APP2, ICC + bytes((number, len(parts))) + part) for number, part in enumerate(parts, start=1)
    ]


def end_of_image(data: bytes, start: int = 0) -> int:
    """Return the place behind a JPEG's end marker, where another image may follow; the end if it has none."""
    end = start + len(SOI)
    for _, behind in _walk(data[start:]):
        end = start + behind
    while (found := data.find(b"\xff", end)) >= 0 and found + 1 < len(data):
        marker = data[found + 1]
        if marker == _EOI:
            return found + 2
        # Between scans of a progressive JPEG lie tables with a length of their own.
        skips = 0 if marker in (0x00, 0xFF, *_ALONE) else int.from_bytes(data[found + 2 : found + 4])
        end = found + (1 if marker == 0xFF else 2) + skips
    return len(data)


def count_scans(data: bytes) -> int:
    """Count the passes over its pixels that a JPEG consists of: 1, or some ten if it is progressive."""
    begin, scans = len(SOI), 0
    for _, begin in _walk(data):  # noqa: B007 - the last one's end is used
        pass
    for marker in _SCAN_OR_END.finditer(data, begin):
        if marker[0][1] == _EOI:
            break
        scans += 1
    return scans
