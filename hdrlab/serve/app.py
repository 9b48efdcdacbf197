"""The application: addresses in, answers out. What they are about is done elsewhere in this room."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hdrlab.errors import HdrlabError, ImageError, OperatorError, ResourceError, __version__
from hdrlab.serve.developing import EXR, FORMATS, SIZES, ULTRAHDR, Caps, Developer, preview_of, write_jpeg
from hdrlab.serve.guard import Guard
from hdrlab.serve.operators import Operators, describe, settings_of
from hdrlab.serve.pictures import Picture, Pictures
from hdrlab.serve.queue import Advance, Cancelled, Queue

UPLOAD_SECONDS = 600
GONE = "is not there (any more): pictures are deleted after some time"
MOST_RENDERINGS = 24  # of a picture
_PAGE = {
    "index.html": ("hdrlab.serve", "page/index.html", "text/html"),
    "app.js": ("hdrlab.serve", "page/app.js", "text/javascript"),
    "app.css": ("hdrlab.serve", "page/app.css", "text/css"),
    "example.jpg": ("hdrlab.serve", "page/example.jpg", "image/jpeg"),
    "viewer.js": ("hdrlab.evaluation.report", "viewer.js", "text/javascript"),
    "viewer.css": ("hdrlab.evaluation.report", "viewer.css", "text/css"),
}
_ASSETS = {
    "photograph.jpg": "image/jpeg",
    "thumbnail.jpg": "image/jpeg",
    "clipped.png": "image/png",
    "alpha.png": "image/png",
    "light.bin": "application/octet-stream",
}
_DOWNLOADS = {EXR: (".exr", "image/x-exr"), ULTRAHDR: ("_ultrahdr.jpg", "image/jpeg")}
_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "ultrahdr": "image/jpeg"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the server is started with.

    Attributes:
        file_mb: Megabytes that a file may have.
        megapixels: That a picture may declare.
        pictures: How many are kept at a time.
        queue: How many may wait.
        minutes: After which a picture is deleted that nobody asks for.
        hosts: Further names by which the server may be called.
        weights: Of the nets; None: those that come along.
        memory: What the nets' tiles may take.
        device: Where nets compute.
    """

    file_mb: float = 200
    megapixels: float = 100
    pictures: int = 40
    queue: int = 40
    minutes: float = 60
    hosts: tuple[str, ...] = ()
    weights: str | None = None
    memory: str = "2GB"
    device: str = "auto"


class Server:
    """What all answers share.

    Args:
        settings: See there.
        ready: Called when the first request can come.
    """

    def __init__(self, settings: Settings, ready: Callable[[], None]) -> None:
        self.settings, self.ready = settings, ready
        self.caps = Caps(round(settings.file_mb * 1e6), round(settings.megapixels * 1e6))
        self.operators = Operators(settings.device)
        self.developer = Developer(
            self.caps, self.operators, settings.weights, settings.memory, settings.device
        )
        self.pictures = Pictures(settings.pictures, 60 * settings.minutes)
        self.queue = Queue(settings.queue)
        self._previews = ThreadPoolExecutor(2, "previews")

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Load the nets before the first answer; in the end delete everything."""
        await asyncio.to_thread(self.developer.load)
        self.ready()
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            self._previews.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self.queue.close)
            self.pictures.close()

    async def _sweep(self) -> None:
        """Delete what nobody asks for any more."""
        while True:
            await asyncio.sleep(min(10, self.pictures.seconds / 4))
            for picture in self.pictures.expired():
                self.discard(picture)

    def discard(self, picture: Picture) -> None:
        """Delete a picture; work on it ends."""
        for task in picture.tasks:
            self.queue.cancel(task)
        self.pictures.remove(picture)
        self.operators.forget(picture.key)

    # ---------------------------------------------------------------------------------------- pictures

    async def describe(self, _: Request) -> Response:
        """Answer with what the page must know."""
        settings = self.settings
        return JSONResponse(
            {
                "version": __version__,
                "file_mb": settings.file_mb,
                "megapixels": settings.megapixels,
                "pictures": settings.pictures,
                "minutes": settings.minutes,
                "operators": describe(),
                "formats": [*FORMATS],
                "photographs": ["JPEG", "PNG", "TIFF", *_of_extras(pillow_heif="HEIC", rawpy="camera raw")],
                "scenes": [
                    "OpenEXR",
                    "Radiance",
                    "PFM",
                    "TIFF",
                    "Ultra HDR",
                    *_of_extras(imagecodecs="JPEG XL, AVIF"),
                ],
            }
        )

    async def receive(self, request: Request) -> Response:
        """Take a picture: the body is its file, the header X-File-Name its name."""
        name = request.headers.get("x-file-name")
        if name is None:
            raise HTTPException(400, "the header X-File-Name must give the file's name")
        if int(request.headers.get("content-length") or 0) > self.caps.file_bytes:
            raise self._too_large()
        picture = self.pictures.add(unquote(name))
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                await self._store(request, picture)
            await asyncio.to_thread(self.developer.check, picture)
            if await request.is_disconnected():  # nobody will ever know its key
                raise ClientDisconnect
            self._enqueue(picture)
        except BaseException:
            self.discard(picture)
            raise
        return JSONResponse(self.state_of(picture), 201)

    async def _store(self, request: Request, picture: Picture) -> None:
        length = 0
        with picture.source.open("wb") as file:
            async for part in request.stream():
                length += len(part)
                if length > self.caps.file_bytes:
                    raise self._too_large()
                await asyncio.to_thread(file.write, part)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"is larger than the {self.settings.file_mb:g} MB that are accepted")

    def _enqueue(self, picture: Picture) -> None:
        def work(advance: Advance) -> None:
            try:
                self.developer.open(picture, advance)
            except Cancelled:
                raise
            except Exception as error:
                picture.reason = _reason(error)
                picture.state = "failed"
            finally:
                if picture.is_gone:
                    self.pictures.remove(picture)

        picture.state = "waiting"
        picture.tasks.append(self.queue.put(work, picture.size[0] * picture.size[1]))

    async def states(self, request: Request) -> Response:
        """Answer with the state of pictures: ``?key=…&key=…``; those that are gone are left out.

        The one named by ``used=…`` is being looked at, and is kept for it.
        """
        self.pictures.find(request.query_params.get("used", ""))
        found = (self.pictures.find(key, touch=False) for key in request.query_params.getlist("key")[:1000])
        return JSONResponse({"pictures": [self.state_of(one) for one in found if one]})

    def state_of(self, picture: Picture) -> dict[str, Any]:
        """Return what the page shows of a picture."""
        state: dict[str, Any] = {
            "key": picture.key,
            "name": picture.name,
            "state": picture.state,
            "size": picture.size,
            "deleted_in": round(self.pictures.seconds_left(picture)),
            "renderings": {},
        }
        if picture.state in ("waiting", "working"):
            task = picture.tasks[0]
            ahead, seconds = self.queue.place(task)
            state |= {"ahead": ahead, "share": round(task.share, 3), "seconds_left": round(seconds, 1)}
        if picture.state == "ready":
            state["facts"] = picture.facts
            state["files"] = {
                name: (picture.folder / name).stat().st_size
                for name in _DOWNLOADS
                if picture.tasks[0].is_done and (picture.folder / name).is_file()
            }
            state["complete"] = picture.tasks[0].is_done
            state["renderings"] = picture.renderings
        if picture.reason:
            state["reason"] = picture.reason
        return state

    async def delete(self, request: Request) -> Response:
        """Delete a picture."""
        self.discard(self._found(request))
        return Response(status_code=204)

    def _found(self, request: Request) -> Picture:
        picture = self.pictures.find(request.path_params["key"])
        if picture is None:
            raise HTTPException(404, GONE)
        return picture

    def _ready(self, request: Request) -> Picture:
        picture = self._found(request)
        if picture.state != "ready":
            raise HTTPException(409, "is not ready yet")
        return picture

    # ------------------------------------------------------------------------------------------- files

    async def asset(self, request: Request) -> Response:
        """Answer with a file of a picture."""
        picture, name = self._ready(request), request.path_params["name"]
        file = picture.folder / name
        if name in _ASSETS:
            headers = {"Content-Encoding": "gzip"} if name == "light.bin" else {}
            return _file(file, _ASSETS[name], headers)
        if name in _DOWNLOADS and picture.tasks[0].is_done:
            ending, kind = _DOWNLOADS[name]
            headers = {} if "shown" in request.query_params else _saved_as(picture.stem + ending)
            return _file(file, kind, headers)
        if picture.renderings.get(name) == "ready":
            _, operator, format = file.stem.split("~")
            return _file(file, _TYPES[format], _saved_as(f"{picture.stem}_{operator}{FORMATS[format]}"))
        raise HTTPException(404, f"{name}: no such file")

    async def preview(self, request: Request) -> Response:
        """Answer with a tone-mapped preview: ``?size=draft&exposure=1&…``, the size one of `SIZES`."""
        picture, operator = self._ready(request), request.path_params["operator"]
        given = dict(request.query_params)
        size = given.pop("size", SIZES[0])
        if size not in SIZES:
            raise HTTPException(400, f"size={size}: must be {' | '.join(SIZES)}")
        settings = settings_of(operator, given)

        def work() -> bytes:
            try:
                hdr = preview_of(picture, size)
            except OSError:
                raise HTTPException(404, GONE) from None
            stream = io.BytesIO()
            write_jpeg(stream, self.operators.show(operator, hdr, settings, (picture.key, size)))
            if picture.is_gone:
                self.operators.forget(picture.key)
            return stream.getvalue()

        content = await asyncio.get_running_loop().run_in_executor(self._previews, work)
        return Response(content, media_type="image/jpeg")

    async def render(self, request: Request) -> Response:
        """Begin a file in full size: ``?format=png&exposure=1&…``; the state says when it is there."""
        picture, operator = self._ready(request), request.path_params["operator"]
        given = dict(request.query_params)
        format = given.pop("format", "png")
        if format not in FORMATS:
            raise HTTPException(400, f"format={format}: must be {' | '.join(FORMATS)}")
        settings = settings_of(operator, given)
        if len(picture.renderings) >= MOST_RENDERINGS:
            raise ResourceError(
                f"{MOST_RENDERINGS} files were made of this picture; delete it and begin anew"
            )
        name = f"{len(picture.renderings)}~{operator}~{format}{FORMATS[format][-4:]}"

        def work(advance: Advance) -> None:
            try:
                self.developer.render(picture, operator, settings, format, picture.folder / name)
                picture.renderings[name] = "ready"
            except Exception as error:
                picture.renderings[name] = _reason(error)
            finally:
                if picture.is_gone:
                    self.pictures.remove(picture)

        picture.renderings[name] = "waiting"
        try:
            picture.tasks.append(self.queue.put(work, picture.size[0] * picture.size[1]))
        except ResourceError:
            del picture.renderings[name]
            raise
        return JSONResponse({"name": name}, 202)


def create_app(settings: Settings | None = None, ready: Callable[[], None] = lambda: None) -> Starlette:
    """Make the application, ready for any ASGI server.

    Args:
        settings: See `Settings`.
        ready: Called when the first request can come.
    """
    settings = settings or Settings()
    server = Server(settings, ready)
    picture = "/api/pictures/{key}"
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/page/{name}", page),
            Route("/health", lambda _: PlainTextResponse("ok")),
            Route("/api", server.describe),
            Route("/api/pictures", server.receive, methods=["POST"]),
            Route("/api/pictures", server.states),
            Route(picture, server.delete, methods=["DELETE"]),
            Route(picture + "/files/{name}", server.asset),
            Route(picture + "/shown/{operator}", server.preview),
            Route(picture + "/shown/{operator}", server.render, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, hosts=settings.hosts)],
        exception_handlers={
            HTTPException: _refused,
            HdrlabError: _mistaken,
            TimeoutError: _too_slow,
            ClientDisconnect: _too_slow,
        },
        lifespan=server.lifespan,
    )
    app.state.server = server
    return app


async def page(request: Request) -> Response:
    """Answer with a file of the page."""
    name = request.path_params.get("name", "index.html")
    if name not in _PAGE:
        raise HTTPException(404, f"{name}: no such file")
    package, path, kind = _PAGE[name]
    content = files(package).joinpath(path).read_bytes()
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def _of_extras(**formats: str) -> list[str]:
    """List the formats whose packages, which extras bring, are there."""
    return [what for package, what in formats.items() if find_spec(package)]


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _mistaken(_: Request, error: Exception) -> Response:
    status = {ImageError: 415, OperatorError: 400, ResourceError: 503}
    code = next((code for kind, code in status.items() if isinstance(error, kind)), 400)
    return JSONResponse({"error": _reason(error)}, code)


async def _too_slow(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "did not arrive in time"}, 408)


def _reason(error: Exception) -> str:
    """Say what went wrong, without the paths of this machine."""
    if isinstance(error, ImageError):
        return error.reason.splitlines()[0] if error.reason else "cannot be read"
    if isinstance(error, HdrlabError):
        return error.problems[0]
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    _log.error("a picture failed", exc_info=error)
    return "the server failed on this picture; its log says more"


def _file(path: Path, kind: str, headers: Mapping[str, str]) -> Response:
    """Answer with a file, which may be deleted meanwhile.

    Raises:
        HTTPException: It is not there.
    """
    try:
        file = path.open("rb")
    except OSError:
        raise HTTPException(404, f"{path.name}: no such file") from None
    length = {"Content-Length": str(os.fstat(file.fileno()).st_size)}
    parts = iter(partial(file.read, 1 << 18), b"")
    return StreamingResponse(
        parts, media_type=kind, headers={**headers, **length}, background=BackgroundTask(file.close)
    )


def _saved_as(name: str) -> dict[str, str]:
    """Return the header by which browsers save an answer under a name."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
