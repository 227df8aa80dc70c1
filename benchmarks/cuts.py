"""Uploads over a connection that is cut: part of `python -m benchmarks.ingest`.

The gateway runs as the product runs it, in a process of its own. Between it and `engine.sender` lies a
network of ours, which breaks once during each upload: in the middle of a part's bytes, when a request
has arrived and is being worked on, or when its answer is on the way back. Sometimes one connection
breaks, sometimes all do; sometimes at once another can be made, sometimes the sender gives up and is
started again. The network reads the requests that pass, and so knows which parts were sent again.
"""

import hashlib
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal
from unittest import mock

import httpx

from benchmarks.rows import Row, at_most
from engine import sender
from engine.kit.errors import UpstreamFailed
from engine.kit.settings import REPOSITORY

SEED = 20_261_121
PIECE = 1 << 16
START_SECONDS = 120
PAUSES = (0.1, 0.1, 0.1)
"""Seconds between two tries: a person's network stays away for longer, a benchmark cannot wait for it."""
PER_BASE = 20
"""Uploads into one base, which is looked through and deleted then, so that the disk holds few of them."""

Kind = Literal["sending", "working", "answering"]
KINDS: tuple[Kind, ...] = ("sending", "working", "answering")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where an upload is cut.

    `at` counts from 1: for "sending" the bytes of the sender, else its requests, those that arrived
    whole ("working") or those whose answer sets out ("answering"). `whole`: every connection breaks,
    not only that one. `stays`: none can be made until the sender has given up.
    """

    kind: Kind
    at: int
    whole: bool
    stays: bool


class Wire:
    """A connection: the sender's end, the gateway's end, and what is known of the request on it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.head = b""
        self.left = 0
        self.waits = False


class Network:
    """What lies between the sender and the gateway at `gateway_port`; connect to `port` instead of it."""

    def __init__(self, gateway_port: int) -> None:
        self._gateway = gateway_port
        self._lock = threading.Lock()
        self._wires: set[Wire] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self.port = int(self._listener.getsockname()[1])
        self.failures = 0
        self._stop = False
        self.expect(None)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def expect(self, cut: Cut | None) -> None:
        """Begin to count anew, and break at `cut`."""
        with self._lock:
            self.cut = cut
            self.away = False
            self.requests: list[str] = []
            self._sent = self._arrived = self._answered = 0

    def close(self) -> None:
        """Break every connection for good."""
        self._stop = True
        self._thread.join()
        for wire in list(self._wires):
            self._drop(wire)
        self._selector.close()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.data is None:
                        self._connect()
                    elif key.data in self._wires:
                        self._carry(key.data, upward=key.fileobj is key.data.client)

    def _connect(self) -> None:
        client, _ = self._listener.accept()
        if self.away:
            client.close()
            return
        wire = Wire(client, socket.create_connection(("127.0.0.1", self._gateway)))
        self._wires.add(wire)
        for end in (wire.client, wire.server):
            self._selector.register(end, selectors.EVENT_READ, wire)

    def _drop(self, wire: Wire) -> None:
        self._wires.discard(wire)
        for end in (wire.client, wire.server):
            self._selector.unregister(end)
            end.close()

    def _carry(self, wire: Wire, *, upward: bool) -> None:
        """Pass on what one end has said, or break here."""
        source, target = (wire.client, wire.server) if upward else (wire.server, wire.client)
        try:
            data = source.recv(PIECE)
            passing = self._upward(wire, data) if upward else self._downward(wire, data)
            target.sendall(data[:passing])
        except OSError:
            data, passing = b"", 0
        if passing < len(data) or (self.cut and self.cut.kind == "working" and self._arrived >= self.cut.at):
            self._break(wire)
        elif not data:
            self._drop(wire)

    def _upward(self, wire: Wire, data: bytes) -> int:
        """Follow the sender's requests; returns how many of these bytes get through."""
        self._sent += len(data)
        if wire.left:
            wire.left -= len(data)
        else:
            wire.head += data
            head, end, body = wire.head.partition(b"\r\n\r\n")
            if not end:
                return len(data)
            wire.head = b""
            self.requests.append(head.split(b" ", 2)[1].decode())
            wire.left = _content_length(head) - len(body)
        if not wire.left and data:
            wire.waits = True
            self._arrived += 1
        if self.cut and self.cut.kind == "sending" and self._sent >= self.cut.at:
            return len(data) - (self._sent - self.cut.at) - 1
        return len(data)

    def _downward(self, wire: Wire, data: bytes) -> int:
        """Follow the gateway's answers; returns how many of these bytes get through."""
        if wire.waits and data:
            wire.waits = False
            self._answered += 1
            self.failures += data[9:10] == b"5"
            if self.cut and self.cut.kind == "answering" and self._answered >= self.cut.at:
                return 0
        return len(data)

    def _break(self, wire: Wire) -> None:
        assert self.cut
        self.away = self.cut.stays
        for one in list(self._wires) if self.cut.whole else [wire]:
            self._drop(one)
        self.cut = None


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@contextmanager
def gateway(home: Path) -> Iterator[int]:
    """The gateway in a process of its own; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    env = os.environ | {"MBE_GATEWAY_PORT": str(port), "MBE_SUPERVISOR": str(os.getpid())}
    with (home / "gateway.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "apps.gateway"], cwd=REPOSITORY, env=env, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home / "gateway.log").read_text()[-2_000:])
            time.sleep(0.2)
        yield port
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=10).is_success
    except httpx.TransportError:
        return False


@contextmanager
def _network(gateway_port: int) -> Iterator[Network]:
    made = Network(gateway_port)
    try:
        yield made
    finally:
        made.close()


def uploads(home: Path, count: int) -> list[Row]:
    """Send `count` files, each over a connection that is cut once; in a home with a database."""
    from engine.accounts import keys
    from engine.accounts import service as accounts
    from engine.accounts.schemas import KeyTerms
    from engine.kit.database import unit_of_work
    from engine.knowledge import service as knowledge

    with unit_of_work() as uow:
        person = accounts.create_person(
            uow,
            email="u@example.com",
            name="U",
            password="correct horse",
            roles=["developer"],
            plan="enterprise",
        )
        _, key = keys.create(uow, person=person, terms=KeyTerms(name="benchmark"))
    lost = doubled = 0
    again: dict[bool, list[int]] = {False: [0], True: [0]}
    quick = mock.patch.object(sender, "PAUSES", PAUSES)
    with gateway(home) as port, _network(port) as network, quick:
        started = time.perf_counter()
        for first in range(0, count, PER_BASE):
            with unit_of_work() as uow:
                base_id = knowledge.create_base(
                    uow, person_id=person.id, tenant_id=person.tenant_id, name="Cut", language="en"
                ).id
            sent: set[str] = set()
            for number in range(first, min(first + PER_BASE, count)):
                rng = Random(f"{SEED}/{number}")
                file, sha256 = _file(home / f"{number}.txt", rng)
                cut = _cut(rng, file.stat().st_size)
                again[cut.whole].append(_send(network, key, file, base_id, cut))
                sent.add(sha256)
                file.unlink()
            wrong = _compare(base_id, person.tenant_id, sent)
            lost, doubled = lost + wrong[0], doubled + wrong[1]
            with unit_of_work() as uow:
                knowledge.delete_base(uow, base_id, person.tenant_id)
        seconds = time.perf_counter() - started
    return [
        Row(name=f"{count} uploads, each cut once", value=round(seconds), unit="s"),
        at_most("cut uploads: lost", lost, 0, "documents"),
        at_most("cut uploads: duplicated", doubled, 0, "documents"),
        at_most("cut uploads: most sent again for one connection", max(again[False]), 1, "parts"),
        at_most("cut uploads: most sent again for all", max(again[True]), sender.AT_ONCE, "parts"),
        at_most("cut uploads: failures of the gateway", network.failures, 0, "answers 5xx"),
    ]


def _file(path: Path, rng: Random) -> tuple[Path, str]:
    """Write a text of two to four parts, the last of up to half a megabyte; returns it and its SHA-256."""
    from engine.uploads.service import PART_SIZE

    half = (rng.randint(1, 3) * PART_SIZE + rng.randint(2, PART_SIZE // 10)) // 2
    text = rng.randbytes(half).hex().encode()
    path.write_bytes(text)
    return path, hashlib.sha256(text).hexdigest()


def _cut(rng: Random, size: int) -> Cut:
    from engine.uploads.service import PART_SIZE

    kind = rng.choice(KINDS)
    requests = -(-size // PART_SIZE) + 2
    at = rng.randint(1, size) if kind == "sending" else rng.randint(1, requests)
    return Cut(kind=kind, at=at, whole=rng.random() < 0.5, stays=rng.random() < 0.5)


def _send(network: Network, key: str, file: Path, base_id: str, cut: Cut) -> int:
    """Send a file as `mbe upload` does, started again when it gives up; returns the parts sent again."""
    network.expect(cut)
    with httpx.Client(base_url=f"http://127.0.0.1:{network.port}", timeout=60) as http:
        connected = sender.Sender(key, http)
        while True:
            try:
                connected.send(file, base_id, lambda done, size: None)
                break
            except UpstreamFailed:
                network.away = False
    if network.cut:
        raise RuntimeError(f"the upload ended before {cut}")
    route = f"{sender.ROUTE}/"
    parts = Counter(path for path in network.requests if path.removeprefix(route)[:3] == "up_")
    return sum(times - 1 for times in parts.values())


def _compare(base_id: str, tenant_id: str, sent: set[str]) -> tuple[int, int]:
    """Return how many of the files sent are not stored as they were, and how many are stored twice."""
    from engine.kit.blobs import blobs
    from engine.kit.database import unit_of_work
    from engine.knowledge import service as knowledge

    with unit_of_work() as uow:
        documents = knowledge.documents(uow, base_id, tenant_id)
    kept = {
        hashlib.sha256(blobs().read(knowledge.blob_key(base_id, one.id))).hexdigest() for one in documents
    }
    stored = blobs().keys(f"knowledge/{base_id}")
    return len(sent - kept), max(len(documents), len(stored)) - len(kept & sent)
