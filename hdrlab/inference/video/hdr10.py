"""Static metadata of HDR10, in the pictures themselves (HEVC, AV1) and in the container's description."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hdrlab.ops.colour_spaces import PQ_PEAK, REC2020

MASTERING_PEAKS = (1000.0, 2000.0, 4000.0, PQ_PEAK)
"""Luminances in cd/m² of displays that content is made for; a clip's is the least that shows all of it."""

DARKEST = 0.0001
"""Luminance in cd/m² of their black."""

_DESCRIBED = (b"hvc1", b"hev1", b"av01")
_SAMPLE_ENTRY = 86  # bytes of a visual sample entry before the boxes in it
_ADDED = 8 + 24 + 8 + 4
_SEI_PREFIX, _OBU_SEQUENCE, _OBU_METADATA = 39, 1, 5


@dataclass(frozen=True)
class LightLevel:
    """How bright a clip is, and the display that it is meant for.

    Attributes:
        most: MaxCLL, the greatest of all pixels' brightest channels, in whole cd/m².
        frame: MaxFALL, the greatest mean of a frame's, likewise.
    """

    most: int
    frame: int

    @property
    def mastering_peak(self) -> float:
        """The least of `MASTERING_PEAKS` that is not below MaxCLL."""
        return next((peak for peak in MASTERING_PEAKS if peak >= self.most), MASTERING_PEAKS[-1])

    @property
    def content(self) -> bytes:
        """MaxCLL and MaxFALL, as HEVC, AV1 and MP4 write them. Source: CTA-861.3."""
        return struct.pack(">HH", self.most, self.frame)

    def mastering(self, order: str, unit: int, peak_unit: int, black_unit: int) -> bytes:
        """The mastering display, with BT.2020's primaries. Source: SMPTE ST 2086.

        Args:
            order: Of the primaries, ``gbr`` or ``rgb``.
            unit: Steps of a chromaticity in 1.
            peak_unit: Steps of the greatest luminance in 1 cd/m².
            black_unit: Of the least.
        """
        points = {"r": REC2020.red, "g": REC2020.green, "b": REC2020.blue}
        places = [*(points[name] for name in order), REC2020.white]
        chromaticities = [round(value * unit) for place in places for value in place]
        luminances = round(self.mastering_peak * peak_unit), round(DARKEST * black_unit)
        return struct.pack(">8H2I", *chromaticities, *luminances)


def in_hevc(packet: bytes, light: LightLevel) -> bytes:
    """Put the metadata into a key frame of HEVC, whose units follow their lengths.

    Source: ITU-T H.265, D.2.28 and D.2.35; units 7.3.1.
    """
    mastering = light.mastering("gbr", 50_000, 10_000, 10_000)
    payload = bytes((137, len(mastering))) + mastering + bytes((144, len(light.content))) + light.content
    unit = bytes((_SEI_PREFIX << 1, 1)) + _without_start_codes(payload + b"\x80")
    place = 0
    while place < len(packet) and (packet[place + 4] >> 1) & 63 >= 32:  # parameter sets and the like
        place += 4 + int.from_bytes(packet[place : place + 4])
    return packet[:place] + struct.pack(">I", len(unit)) + unit + packet[place:]


def in_av1(packet: bytes, light: LightLevel) -> bytes:
    """Put the metadata into a key frame of AV1, behind its sequence header.

    Source: AV1 Bitstream Specification, 5.8.3 and 5.8.4.
    """
    mastering = light.mastering("rgb", 1 << 16, 1 << 8, 1 << 14)
    units = b"".join(
        bytes((_OBU_METADATA << 3 | 2, 2 + len(body), kind)) + body + b"\x80"
        for kind, body in ((1, light.content), (2, mastering))
    )
    for kind, stop in _av1_units(packet):
        if kind == _OBU_SEQUENCE:
            return packet[:stop] + units + packet[stop:]
    return packet


def in_mp4(file: bytes, light: LightLevel) -> bytes:
    """Put the metadata into the description of the video stream of an MP4 file.

    Args:
        file: Its content, the index (moov) behind the samples, whose places then do not change.
        light: What it is to say.

    Source: ISO/IEC 14496-12, 12.1.5 and 12.1.6.
    """
    boxes = struct.pack(">I", 32) + b"mdcv" + light.mastering("gbr", 50_000, 10_000, 10_000)
    boxes += struct.pack(">I", 12) + b"clli" + light.content
    assert len(boxes) == _ADDED
    content, place = bytearray(file), 0
    end = len(content)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b""):
        start, size = _box(content, place, end, name)
        content[start : start + 4] = struct.pack(">I", size + _ADDED)
        # What precedes the boxes inside: a header; of stsd also its version and a count.
        place, end = start + (16 if name == b"stsd" else 8), start + size
    content[end:end] = boxes
    return bytes(content)


def _box(content: bytes | bytearray, place: int, end: int, name: bytes) -> tuple[int, int]:
    """Find a box by its name, or the description of the video by none; return where it is and its size."""
    while place < end:
        size = int.from_bytes(content[place : place + 4])
        found = bytes(content[place + 4 : place + 8])
        size = int.from_bytes(content[place + 8 : place + 16]) if size == 1 else size
        if found == name or (not name and found in _DESCRIBED):
            return place, size
        place += size
    raise AssertionError(f"no {name!r} in a file of our own")


def _without_start_codes(payload: bytes) -> bytes:
    """Put a 3 between two zeros and a byte up to 3, which would look like the start of a unit."""
    escaped, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(escaped)


def _av1_units(packet: bytes) -> Iterator[tuple[int, int]]:
    """Yield the kind of each unit of a packet and where it ends."""
    place = 0
    while place < len(packet):
        header = packet[place]
        place += 2 if header & 4 else 1
        size, shift = 0, 0
        while True:
            byte = packet[place]
            size |= (byte & 127) << shift
            place, shift = place + 1, shift + 7
            if not byte & 128:
                break
        place += size
        yield header >> 3 & 15, place
