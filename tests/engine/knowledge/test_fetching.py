import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from engine.kit.errors import BadInput, TooLarge
from engine.kit.settings import settings
from engine.knowledge.fetching import fetch

PAGE = b"<html><body><p>Open at nine.</p></body></html>"
# What each path of the test's web server answers: status, headers, body.
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/help": (200, {"Content-Type": "text/html; charset=utf-8"}, PAGE),
    "/%E5%B8%AE%E5%8A%A9.txt": (200, {"Content-Type": "text/plain"}, "九点".encode()),
    "/moved": (302, {"Location": "/help"}, b""),
    "/circle": (302, {"Location": "/circle"}, b""),
    "/inward": (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""),
    "/file": (302, {"Location": "file:///etc/passwd"}, b""),
    "/missing": (404, {"Content-Type": "text/html"}, b"no"),
    "/picture": (200, {"Content-Type": "image/png"}, b"\x89PNG"),
    "/endless": (200, {"Content-Type": "text/html"}, b"a" * 3_000_000),
}


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, headers, body = ANSWERS[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a web server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def private_allowed(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_FETCH_PRIVATE", "1")
    settings.cache_clear()


def test_a_link_gives_bytes_and_a_name_that_people_recognise(private_allowed: None, site: str) -> None:
    found = fetch(f" {site}/moved#part ")
    assert (found.data, found.name, found.url) == (PAGE, "127.0.0.1 help.html", f"{site}/help")
    assert fetch(f"{site}/帮助.txt").name == "127.0.0.1 帮助.txt"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/circle", "link_unreachable"),
        ("/file", "bad_link"),
        ("/missing", "link_error"),
        ("/picture", "link_other_kind"),
    ],
)
def test_what_cannot_be_used_is_refused_naming_the_link(
    private_allowed: None, site: str, path: str, key: str
) -> None:
    with pytest.raises(BadInput) as caught:
        fetch(site + path)
    assert (caught.value.key, caught.value.field) == (f"knowledge.{key}", "link")
    assert all("http" in caught.value.message(language) or "file:" in caught.value.message(language)
               for language in ("en", "zh"))  # fmt: skip


def test_a_page_over_the_limit_is_not_read_to_its_end(
    private_allowed: None, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_UPLOAD_LIMIT", str(2**20))
    settings.cache_clear()
    with pytest.raises(TooLarge):
        fetch(f"{site}/endless")


def test_nobody_there_is_said(private_allowed: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BadInput) as caught:
        fetch(f"http://127.0.0.1:{port}/")
    assert caught.value.key == "knowledge.link_unreachable"


@pytest.mark.parametrize(
    "link",
    ["", "help", "ftp://example.org/a", "file:///etc/passwd", "http://", "http://user:word@example.org/",
     "javascript:alert(1)", "http://[::1", "https://example.org/" + "a" * 2001],
)  # fmt: skip
def test_only_plain_web_addresses_are_links(home: object, link: str) -> None:
    with pytest.raises(BadInput) as caught:
        fetch(link)
    assert caught.value.key == "knowledge.bad_link"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0",
     "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[::ffff:127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]",
     "2130706433", "0x7f.1", "017700000001", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_no_way_of_writing_a_private_address_is_connected_to(
    home: object, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(*_: object, **__: object) -> None:
        raise AssertionError(f"connected to {host}")

    monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", connected)
    with pytest.raises(BadInput) as caught:
        fetch(f"http://{host}/")
    assert caught.value.key in (
        "knowledge.link_not_public",
        "knowledge.bad_link",
        "knowledge.link_unreachable",
    )


def test_other_ports_are_other_services(home: object) -> None:
    with pytest.raises(BadInput) as caught:
        fetch("http://example.org:5432/")
    assert caught.value.key == "knowledge.link_not_public"


def test_a_name_with_one_private_address_is_refused_whole(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda *_, **__: [(2, 1, 6, "", (ip, 80)) for ip in ("93.184.216.34", "127.0.0.1")],
    )
    with pytest.raises(BadInput) as caught:
        fetch("http://both.example.org/")
    assert caught.value.key == "knowledge.link_not_public"


def test_a_redirect_inward_is_not_followed(home: object, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The test's own server counts as public here; what it points to does not.
    monkeypatch.setattr("engine.knowledge.fetching._public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(
        "engine.knowledge.fetching.PORTS", {"http": int(site.rpartition(":")[2]), "https": 80}
    )
    with pytest.raises(BadInput) as caught:
        fetch(f"{site}/inward")
    assert caught.value.key == "knowledge.link_not_public" and "169.254" in caught.value.message("en")
