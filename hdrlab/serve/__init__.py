"""A page to drop photographs on: ``python -m hdrlab.serve port=8210``."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from importlib.util import find_spec

from hdrlab.config.cli import Command
from hdrlab.config.schema.commands import ServeConfig
from hdrlab.errors import ResourceError, install


def serve(config: ServeConfig) -> int:
    """Answer until somebody ends it; then everything that was kept is deleted."""
    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise ResourceError(f"hdrlab serve needs an extra: {install('serve')}")
    with _listening(config.host, config.port) as door:
        import uvicorn

        from hdrlab.serve.app import Settings, create_app

        settings = Settings(
            file_mb=config.file_mb,
            megapixels=config.megapixels,
            pictures=config.pictures,
            queue=config.queue,
            minutes=config.minutes,
            hosts=(*(config.hosts or ()), config.host),
            weights=config.weights,
            memory=config.memory,
            device=config.device,
        )
        address, port = door.getsockname()[:2]
        name = f"[{address}]" if ":" in address else address.replace("0.0.0.0", "localhost")
        line = f"hdrlab: open http://{name}:{port}/ in a browser; Ctrl+C ends it"
        app = create_app(settings, ready=lambda: print(line, flush=True))
        options = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            limit_concurrency=200,
            timeout_graceful_shutdown=3,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(options).run(sockets=[door])
    return 0


def _listening(host: str, port: int) -> socket.socket:
    """Open the port, before anything takes time.

    Raises:
        ResourceError: It is taken, or there is no such address.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ResourceError(f"port={port}: taken by another program; port=0 takes a free one") from error
        reason = error.strerror or str(error)
        raise ResourceError(f"host={host} port={port}: cannot listen there ({reason})") from error


COMMAND = Command(
    "serve",
    ServeConfig,
    serve,
    (
        "                             # for you alone, at http://127.0.0.1:8210/",
        "host=0.0.0.0 hosts=demo.example.org file_mb=30 megapixels=16 minutes=15",
    ),
    (),
)
