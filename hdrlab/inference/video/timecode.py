"""Time code: the number of a frame as hours, minutes, seconds and frames, and as files hold it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_FORM = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")


@dataclass(frozen=True)
class TimeCode:
    """Where a clip begins.

    Attributes:
        first: Number of its first frame since midnight.
        rate: Frames a second, in whole numbers: 30 for 29.97 too.
        drop: Whether numbers are left out so that 29.97 and 59.94 keep the time of day.
    """

    first: int
    rate: int
    drop: bool = False

    @classmethod
    def parse(cls, text: str | None, rate: Fraction) -> TimeCode:
        """Take ``01:00:00:00``, or ``01:00:00;00`` where numbers are dropped; None is midnight."""
        nominal = max(1, round(rate))
        found = _FORM.fullmatch(text or "")
        if not found:
            return cls(0, nominal)
        hours, minutes, seconds, frames = (int(found[number]) for number in (1, 2, 3, 5))
        drop = found[4] in ";." and nominal % 30 == 0
        first = ((hours * 60 + minutes) * 60 + seconds) * nominal + frames
        if drop:
            total = hours * 60 + minutes
            first -= nominal // 15 * (total - total // 10)
        return cls(first, nominal, drop)

    def at(self, frame: int) -> tuple[int, int, int, int]:
        """Return hours, minutes, seconds and frames of a frame, counted from 0.

        Source: SMPTE ST 12-1; of dropped numbers the first two (of 60: four) of each minute but every tenth.
        """
        number = self.first + frame
        if self.drop:
            dropped, ten = self.rate // 15, 600 * self.rate - 9 * (self.rate // 15)
            tens, rest = divmod(number, ten)
            number += 9 * dropped * tens
            if rest >= 60 * self.rate:
                number += dropped * ((rest - 60 * self.rate) // (60 * self.rate - dropped) + 1)
        seconds, frames = divmod(number, self.rate)
        return seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, frames

    def text(self, frame: int) -> str:
        """Write it as people read it."""
        hours, minutes, seconds, frames = self.at(frame)
        return f"{hours:02}:{minutes:02}:{seconds:02}{';' if self.drop else ':'}{frames:02}"

    @classmethod
    def unpacked(cls, packed: int, rate: Fraction) -> TimeCode:
        """Take what `packed` gives for the first frame."""
        fields = ((24, 3), (16, 7), (8, 7), (0, 3))  # where each begins, and the bits of its tens
        values = [10 * (packed >> shift + 4 & tens) + (packed >> shift & 15) for shift, tens in fields]
        sign = ";" if packed >> 6 & 1 else ":"
        return cls.parse("{:02}:{:02}:{:02}{sign}{:02}".format(*values, sign=sign), rate)

    def packed(self, frame: int) -> int:
        """Write it as OpenEXR's ``timeCode`` does: decimal digits, four bits each, and the drop flag."""
        hours, minutes, seconds, frames = self.at(frame)
        digits = [value // 10 << 4 | value % 10 for value in (frames % 40, seconds, minutes, hours)]
        return digits[0] | self.drop << 6 | digits[1] << 8 | digits[2] << 16 | digits[3] << 24
