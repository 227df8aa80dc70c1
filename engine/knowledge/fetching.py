"""Fetch a web page for somebody else, without becoming their way into our network.

The address of every connection is checked at the moment it is made, and that very address is
connected to: a name that resolves to something else a moment later gains nothing. Redirects are new
connections and are checked alike. (OWASP, "Server-Side Request Forgery Prevention".)
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpcore
import httpx

from engine.kit.errors import BadInput, TooLarge
from engine.kit.settings import settings

REDIRECTS = 5
CONNECT_SECONDS, WHOLE_SECONDS = 10.0, 60.0
LONGEST_LINK = 2_000
PORTS = {"http": 80, "https": 443}
KINDS = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "application/pdf": ".pdf",
}
_MOVED = (301, 302, 303, 307, 308)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a link led to: its bytes, a file name for them, and the address it was found at last."""

    data: bytes
    name: str
    url: str


class _Refused(httpcore.ConnectError):
    """The name leads to an address that is not public."""


class _PublicOnly(httpcore.NetworkBackend):
    """Connects to public addresses only, whatever a name resolves to."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve `host` once and connect to what was checked."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses or not all(_public(address) for address in addresses):
            raise _Refused(host)
        return self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)


def _public(address: str) -> bool:
    """Return whether an address is one of the open internet; IPv4 inside IPv6 counts as what it is."""
    if settings().fetch_private:
        return True
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        # 64:ff9b::/96 is translated to the IPv4 address in its last four bytes (RFC 6052).
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            inside = ipaddress.IPv4Address(ip.packed[-4:])
        if inside is not None:
            return inside.is_global and not inside.is_multicast
    return ip.is_global and not ip.is_multicast


def fetch(link: str) -> Fetched:
    """Return what `link` leads to, a web page, a text or a PDF.

    Raises BadInput when it is no such link, leads to an address that is not public, answers with an
    error or with another kind of file; TooLarge above the limit for uploads.
    """
    url, deadline = _plain(link.strip()), time.monotonic() + WHOLE_SECONDS
    context = ssl.create_default_context()
    with httpcore.ConnectionPool(ssl_context=context, network_backend=_PublicOnly(), retries=0) as pool:
        for _ in range(REDIRECTS + 1):
            try:
                answer = _get(pool, url, deadline)
            except _Refused as error:
                raise _no("knowledge.link_not_public", url) from error
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
                raise _no("knowledge.link_unreachable", url) from error
            if isinstance(answer, Fetched):
                return answer
            url = _plain(urljoin(url, answer))
    raise _no("knowledge.link_unreachable", url)


def _plain(link: str) -> str:
    """Return `link` in ASCII, without its fragment. Raises BadInput unless it leads to a public port."""
    try:
        url = httpx.URL(link[: LONGEST_LINK + 1])
    except httpx.InvalidURL as error:
        raise _no("knowledge.bad_link", link) from error
    if len(link) > LONGEST_LINK or url.scheme not in PORTS or not url.host or url.userinfo:
        raise _no("knowledge.bad_link", link)
    # Other ports belong to other services, and a fetch is not to talk to those.
    if url.port not in (None, *PORTS.values()) and not settings().fetch_private:
        raise _no("knowledge.link_not_public", link)
    return str(url.copy_with(fragment=None))


def _get(pool: httpcore.ConnectionPool, url: str, deadline: float) -> Fetched | str:
    """Return what stands at `url`, or where it has moved to."""
    left = max(0.1, deadline - time.monotonic())
    seconds = {"connect": min(CONNECT_SECONDS, left), "read": min(CONNECT_SECONDS, left), "pool": left}
    headers: dict[bytes | str, bytes | str] = {
        "User-Agent": "MBE-Studio",
        "Accept": ", ".join(KINDS),
        "Accept-Encoding": "identity",
    }
    with pool.stream("GET", url, headers=headers, extensions={"timeout": seconds}) as answer:
        named = {key.lower(): value.decode("latin-1") for key, value in answer.headers}
        if answer.status in _MOVED and named.get(b"location"):
            return named[b"location"]
        if answer.status != 200:
            raise _no("knowledge.link_error", url, status=answer.status)
        kind = named.get(b"content-type", "").partition(";")[0].strip().lower()
        if kind not in KINDS or named.get(b"content-encoding", "identity") != "identity":
            raise _no("knowledge.link_other_kind", url, kind=kind[:40] or "?")
        return Fetched(data=_body(answer, url, deadline), name=_name(url, KINDS[kind]), url=url)


def _body(answer: httpcore.Response, url: str, deadline: float) -> bytes:
    limit, parts, size = settings().upload_limit, [], 0
    for part in answer.iter_stream():
        size += len(part)
        if size > limit:
            raise TooLarge("knowledge.link_too_large", field="link", link=url[:200], limit=limit // 2**20)
        if time.monotonic() > deadline:
            raise _no("knowledge.link_unreachable", url)
        parts.append(part)
    return b"".join(parts)


def _name(url: str, suffix: str) -> str:
    """Return a name that people recognise the page by: its host and the last part of its path."""
    parts = urlsplit(url)
    last = unquote(parts.path.rstrip("/").rpartition("/")[2])
    stem = last.removesuffix(suffix).removesuffix(".htm") or "index"
    return f"{parts.hostname} {stem}"[: 100 - len(suffix)] + suffix


def _no(key: str, url: str, **facts: object) -> BadInput:
    return BadInput(key, field="link", link=url[:200], **facts)
