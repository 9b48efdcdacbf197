"""What a page asks a server for, in a few words, and pictures to send to it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from starlette.testclient import TestClient


class Client(TestClient):
    """What a page asks for, in a few words."""

    def give(self, content: bytes, name: str = "a.jpg", **headers: str) -> Any:
        return self.post("/api/pictures", content=content, headers={"X-File-Name": name, **headers})

    def state(self, key: str) -> dict[str, Any] | None:
        found = self.get("/api/pictures", params={"key": key}).json()["pictures"]
        return found[0] if found else None

    def until(self, key: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until a picture's state is as wanted."""
        end = time.monotonic() + 60
        while True:
            state = self.state(key)
            assert state is not None, "the picture is gone"
            if reached(state):
                return state
            assert time.monotonic() < end, state
            time.sleep(0.02)

    def developed(self, content: bytes, name: str = "a.jpg") -> dict[str, Any]:
        """Send a picture and wait for everything that is made of it."""
        sent = self.give(content, name)
        assert sent.status_code == 201, sent.text
        done = self.until(
            sent.json()["key"], lambda state: state.get("complete") or state["state"] == "failed"
        )
        assert done["state"] == "ready", done
        return done

    @property
    def kept(self) -> list[str]:
        """The folders of pictures that are on the disk."""
        return sorted(one.name for one in self.folder.iterdir() if one.is_dir())

    @property
    def folder(self) -> Path:
        return Path(self.app.state.server.pictures._folder.name)  # type: ignore[attr-defined]


Serve = Callable[..., Client]


def jpeg(width: int, height: int) -> bytes:
    y, x = np.mgrid[:height, :width]
    ramp = 20 + 180 * x / width  # 8 bits hold what is darker in steps of stops
    levels = np.where(np.hypot(x - 0.7 * width, y - 0.5 * height) < 0.2 * height, 255, ramp)
    stream = io.BytesIO()
    PillowImage.fromarray(np.repeat(levels[..., None], 3, axis=2).astype(np.uint8)).save(
        stream, "JPEG", quality=95
    )
    return stream.getvalue()
