"""Who may ask, and what a browser may do with the answers: a layer around the whole application.

The server listens on this computer, where any page that is open in a browser can send requests to it. So a
request must name the server as its own host, by an address or a name that the user knows of (a foreign name
that was made to point here is DNS rebinding), and must not come from a page of another origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Of every answer. By the first the page can load nothing from, and send nothing to, anywhere else."""


class Guard:
    """Refuses what comes from elsewhere, and writes `HEADERS`.

    Args:
        app: The application.
        hosts: Names beside localhost and plain addresses by which the server may be called.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self.app, self.hosts = app, {"localhost", *map(str.lower, hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if reason := self._refusal(scope["method"], scope["path"], Headers(scope=scope)):
            await JSONResponse({"error": reason}, 403)(scope, receive, answer)
        else:
            await self.app(scope, receive, answer)

    def _refusal(self, method: str, path: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if not (name in self.hosts or _is_address(name)):
            return f"{name or 'no host'}: not a name of this server; hosts=NAME adds one"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "requests from pages of other origins are refused"
        by_link = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not by_link:
            return "requests from other sites are refused"
        return None


def _is_address(name: str) -> bool:
    """Say whether a host is an IP address, which no foreign page can have made to point here."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
