from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_image, write_image


@pytest.mark.parametrize(("order", "scale"), [("<f4", b"-1.0"), (">f4", b"1.0")])
@pytest.mark.parametrize(("kind", "channels"), [(b"PF", 3), (b"Pf", 1)])
def test_rows_run_upwards_in_either_byte_order(
    tmp_path: Path, order: str, scale: bytes, kind: bytes, channels: int
) -> None:
    pixels = np.arange(2 * 3 * channels, dtype=order).reshape(2, 3, channels)
    path = tmp_path / "x.pfm"
    path.write_bytes(kind + b"\n3 2\n" + scale + b"\n" + pixels[::-1].tobytes())
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, np.broadcast_to(pixels, (2, 3, 3)))
    assert (image.domain, image.format) == ("linear", "pfm")
    assert probe_image(path).width == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_written_bits_return(tmp_path: Path, hdr: np.ndarray, channels: int) -> None:
    pixels = -hdr[..., :channels] * 1e6
    write_image(tmp_path / "x.pfm", pixels)
    again = read_image(tmp_path / "x.pfm").pixels
    np.testing.assert_array_equal(again, np.broadcast_to(pixels, hdr.shape))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PF\n2 2\n-1.0\n" + bytes(47), "truncated"),
        (b"PF\n20000 19999\n-1.0\n" + bytes(47), "truncated"),
        (b"PF\n2 -2\n-1.0\n" + bytes(48), "header"),
        (b"PF\n2 0\n-1.0\n" + bytes(48), "2 × 0"),
        (b"PF\n1000000000 1000000000\n-1.0\n", "the limit is"),
        (b"PF\n2 2\n0\n" + bytes(48), "byte order"),
        (b"PF\n2 2\n1-e\n" + bytes(48), "byte order"),
        (b"PF", "header"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.pfm"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        read_image(path)


def test_there_is_no_room_for_metadata(tmp_path: Path, hdr: np.ndarray) -> None:
    with pytest.raises(ImageError, match="no room for metadata"):
        write_image(tmp_path / "x.pfm", hdr, metadata={"a": 1})
