"""`mbe upload`, with the gateway killed while the parts arrive."""

import hashlib
import subprocess
import sys
from pathlib import Path

from engine.kit.settings import REPOSITORY
from tests.house.conftest import House, eventually

PART = 5 * 2**20
ROUTE = "/admin/knowledge/upload-chunk"


def test_an_upload_goes_on_where_a_killed_gateway_left_it(house: House, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("".join(f"Line {n} of a very long manual.\n" for n in range(400_000)))
    data = path.read_bytes()
    parts = -(-len(data) // PART)
    assert parts >= 3
    whole = hashlib.sha256(data).hexdigest()

    developer = house.enter("developer")
    base = developer.post("/admin/knowledge", json={"name": "Manuals", "language": "en"}).json()["id"]
    given = {"filename": path.name, "size": len(data), "sha256": whole}
    upload = developer.post(f"{ROUTE}/init/{base}", json=given).json()["upload_id"]
    first = {"X-Chunk-SHA256": hashlib.sha256(data[:PART]).hexdigest()}
    first["Content-Type"] = "application/octet-stream"
    developer.post(f"{ROUTE}/{upload}/0", content=data[:PART], headers=first).raise_for_status()

    for process in house.descendants("apps.gateway"):
        process.kill()
    sending = subprocess.Popen(
        [sys.executable, "-m", "engine.cli", "upload", str(path), "--base", "Manuals"],
        cwd=REPOSITORY,
        env=house.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, said = sending.communicate(timeout=120)
    assert sending.returncode == 0, said
    eventually("the gateway", lambda: bool(house.health()))

    ended = developer.get(f"{ROUTE}/status/{upload}").json()
    assert ended["state"] == "complete" and ended["sha256"] == whole
    (document,) = developer.get(f"/admin/knowledge/{base}/documents").json()
    assert document["id"] == ended["result_id"] and document["sha256"] == whole
    developer.delete(f"/admin/knowledge/{base}/documents/{document['id']}").raise_for_status()
