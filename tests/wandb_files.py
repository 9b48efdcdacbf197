"""Reads the files of offline wandb runs, and stands in for the server that they are sent to."""

from __future__ import annotations

import gzip
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    place, whole = 7, b""
    while place + 7 <= len(content):
        if (left := BLOCK - place % BLOCK) < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # complete, or the last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def of_kind(path: Path, kind: str) -> list[Any]:
    return [getattr(one, kind) for one in records(path) if one.WhichOneof("record_type") == kind]


def history(path: Path) -> list[dict[str, Any]]:
    """The rows of an offline run, images as ``panel/path`` and the like."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        for row in of_kind(path, "history")
    ]


class Server:
    """Answers ``wandb sync`` as far as runs without artifacts need, and keeps what comes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.files: set[str] = set()
        self.runs: set[str] = set()
        self.address = ""

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        values = asked.get("variables") or {}
        if "upsertBucket" in asked["query"]:
            self.runs.add(values["name"])
            project = {"id": "cA==", "name": "hdrlab", "entity": {"id": "ZQ==", "name": "someone"}}
            bucket = {"id": "aQ==", "name": values["name"], "displayName": "", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in asked["query"]:
            places = [{"name": one, "uploadUrl": f"{self.address}/{one}"} for one in values["files"]]
            return {"createRunFiles": {"runID": "aQ==", "uploadHeaders": [], "files": places}}
        return {}

    def stream(self, sent: dict[str, Any]) -> None:
        part = (sent.get("files") or {}).get("wandb-history.jsonl")
        if part:
            self.rows[part["offset"] :] = map(json.loads, part["content"])


@contextmanager
def served() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: Any) -> None:
            pass

        def content(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def reply(self, said: Any) -> None:
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.content()
            server.files.add(self.path.lstrip("/"))
            self.reply({})

        def do_POST(self) -> None:
            asked = json.loads(self.content())
            if self.path.endswith("file_stream"):
                server.stream(asked)
                self.reply({"exitcode": None, "limits": {}})
            else:
                self.reply({"data": server.answer(asked)})

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.address = f"http://127.0.0.1:{http.server_address[1]}"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield server
        http.shutdown()
