"""Sends files to a knowledge base in parts, and goes on where a cut left off: `mbe upload`."""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from engine.kit.errors import BadInput, NotFound, UpstreamFailed
from engine.kit.settings import settings

AT_ONCE = 3
PAUSES = (0.5, 1, 2, 4, 8, 15, 30)  # seconds between tries while the network or the server is away
ROUTE = "/admin/knowledge/upload-chunk"


class Sender:
    """A developer's connection to the gateway: with an API key, or as this machine's starter developer."""

    def __init__(self, key: str = "", http: httpx.Client | None = None) -> None:
        self.http = http or httpx.Client(base_url=settings().gateway_url, timeout=120)
        if key:
            self.http.headers["Authorization"] = f"Bearer {key}"
        else:
            self.call("POST", "/auth/continue-as", json={"role": "developer"})

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Return the JSON of an answer; waits while the server is away.

        Raises BadInput with the server's reason for a request that it refuses, UpstreamFailed when it
        stays away.
        """
        why = ""
        for pause in (*PAUSES, None):
            try:
                answer = self.http.request(method, path, **body)
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
            else:
                if not answer.is_server_error and answer.status_code != 429:
                    return _checked(answer)
                why = _reason(answer)
            if pause is not None:
                time.sleep(pause)
        raise UpstreamFailed("uploads.server_away", url=str(self.http.base_url), why=why)

    def base_id(self, wish: str) -> str:
        """Return the id of the base with this id or name. Raises NotFound, naming those there are."""
        bases = self.call("GET", "/admin/knowledge")
        found = [base["id"] for base in bases if wish in (base["id"], base["name"])]
        if len(found) != 1:
            names = ", ".join(f"{base['name']} ({base['id']})" for base in bases) or "-"
            raise NotFound("uploads.which_base", field="base", name=wish, names=names)
        return str(found[0])

    def send(self, path: Path, base_id: str, seen: Callable[[int, int], None]) -> dict[str, Any]:
        """Send a file and return the document it has become; `seen` is told the bytes done and all bytes.

        Parts that arrived before, from any earlier try, are not sent again.
        """
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        given = {"filename": path.name, "size": path.stat().st_size, "sha256": sha256}
        upload = self.call("POST", f"{ROUTE}/init/{base_id}", json=given)
        done = upload["size"] - sum(_length(upload, number) for number in upload["missing"])
        seen(done, upload["size"])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for sent in pool.map(lambda number: self._part(path, upload, number), upload["missing"]):
                done += sent
                seen(done, upload["size"])
        return dict(self.call("POST", f"{ROUTE}/complete/{upload['upload_id']}"))

    def _part(self, path: Path, upload: dict[str, Any], number: int) -> int:
        with path.open("rb") as file:
            file.seek(number * upload["part_size"])
            data = file.read(_length(upload, number))
        headers = {"X-Chunk-SHA256": hashlib.sha256(data).hexdigest()}
        headers["Content-Type"] = "application/octet-stream"
        self.call("POST", f"{ROUTE}/{upload['upload_id']}/{number}", content=data, headers=headers)
        return len(data)


def _length(upload: dict[str, Any], number: int) -> int:
    return int(min(upload["part_size"], upload["size"] - number * upload["part_size"]))


def _checked(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise BadInput("uploads.refused", why=_reason(answer))
    return answer.json()


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
