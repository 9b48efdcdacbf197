"""Who may ask, and what a browser may do with the answers."""

from __future__ import annotations

import pytest
from serving import Client, Serve


@pytest.mark.parametrize(
    "host", ["localhost:8210", "127.0.0.1:8210", "[::1]:8210", "192.168.1.7", "LOCALHOST"]
)
def test_its_own_names_are_answered(client: Client, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8210", "127.0.0.1.evil.example", "", "a]b", "[::1"]
)
def test_a_foreign_name_that_points_here_is_refused(client: Client, host: str) -> None:
    asked = client.get("/api", headers={"Host": host})
    assert asked.status_code == 403
    assert "not a name of this server" in asked.json()["error"]


def test_a_name_that_was_given_is_answered(serve: Serve) -> None:
    client = serve(hosts=("Demo.example.org",))
    assert client.get("/", headers={"Host": "demo.example.org"}).status_code == 200
    assert client.get("/", headers={"Host": "other.example.org"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "http://127.0.0.1:8210"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_pages_of_other_origins_are_refused(
    client: Client, photograph: bytes, headers: dict[str, str]
) -> None:
    assert client.give(photograph, **headers).status_code == 403
    assert client.get("/api", headers=headers).status_code == 403
    assert client.delete("/api/pictures/x", headers=headers).status_code == 403
    assert client.kept == []


def test_a_link_from_elsewhere_opens_the_page(client: Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200


def test_the_page_itself_may_ask(client: Client) -> None:
    headers = {"Origin": "http://localhost:8210", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/api", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/api", "/api/pictures/none", "/nothing"])
def test_every_answer_forbids_requests_to_anywhere_else(client: Client, path: str) -> None:
    headers = client.get(path, headers={"Accept": "*/*"}).headers
    policy = dict(part.split(None, 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    allowed = {"'none'", "'self'", "blob:", "data:"}
    assert {source for sources in policy.values() for source in sources.split()} <= allowed
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_preflight_gets_no_permission(client: Client) -> None:
    asked = client.options(
        "/api/pictures",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Headers": "x-file-name"},
    )
    assert asked.status_code == 403


def test_a_form_cannot_send_a_picture(client: Client, photograph: bytes) -> None:
    # Forms cannot set the header that gives the name; whoever can is asked for leave first.
    sent = client.post("/api/pictures", files={"file": ("a.jpg", photograph)})
    assert sent.status_code == 400
    assert "X-File-Name" in sent.json()["error"]
