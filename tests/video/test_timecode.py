from __future__ import annotations

from fractions import Fraction

import pytest

from hdrlab.inference.video.timecode import TimeCode

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("start", "rate", "frame", "expected"),
    [
        (None, Fraction(24), 25, "00:00:01:01"),
        ("01:00:00:00", Fraction(25), 25 * 60, "01:01:00:00"),
        ("00:00:59;29", NTSC, 1, "00:01:00;02"),  # two numbers are left out
        ("00:09:59;29", NTSC, 1, "00:10:00;00"),  # but not in a tenth minute
        ("00:00:00;00", NTSC, 17982, "00:10:00;00"),
        ("00:00:59;59", Fraction(60000, 1001), 1, "00:01:00;04"),
        ("23:59:59:24", Fraction(25), 1, "00:00:00:00"),
    ],
)
def test_frames_are_counted_as_smpte_does(
    start: str | None, rate: Fraction, frame: int, expected: str
) -> None:
    assert TimeCode.parse(start, rate).text(frame) == expected


@pytest.mark.parametrize("start", ["01:02:03:04", "10:20:35;12"])
def test_what_a_file_holds_is_read_again(start: str) -> None:
    code = TimeCode.parse(start, NTSC)
    assert TimeCode.unpacked(code.packed(0), NTSC) == code
    assert hex(TimeCode.parse("01:02:03:04", NTSC).packed(0)) == "0x1020304"
