"""Documents on their way: `mbe upload` with the gateway killed, a page whose network goes away."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from engine.kit.messages import t
from engine.kit.settings import REPOSITORY
from tests.house.conftest import House, eventually
from tests.house.pages import Walk, button, walking

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


@pytest.fixture
def walk(house: House) -> Iterator[Walk]:
    with walking(house) as walk:
        yield walk


def words(state: str, **facts: object) -> str:
    return t(f"studio.upload_{state}", "en", **{"name": "", "share": "0", **facts})


@pytest.mark.browser
def test_a_page_goes_on_after_a_lost_network_a_pause_and_a_reload(
    house: House, walk: Walk, tmp_path: Path
) -> None:
    path, wrong = tmp_path / "manual.txt", tmp_path / "photo.png"
    path.write_text("".join(f"Line {n} of the manual of this walk.\n" for n in range(400_000)))
    wrong.write_bytes(b"not a document")
    parts = -(-path.stat().st_size // PART)
    developer = house.enter("developer")
    base = developer.post("/admin/knowledge", json={"name": "Dropped", "language": "en"}).json()["id"]
    page = walk.enter("developer")
    walk.open(page, f"studio/?base={base}")
    rows = page.locator(".mbe-uploads li")
    cut = [True]

    def network(route: Route) -> None:
        """Let the first part through and cut every other while `cut` says so."""
        if cut[0] and not route.request.url.endswith("/0"):
            route.abort()
        else:
            route.continue_()

    page.route("**/upload-chunk/up_*/*", network)
    drop(page, path, wrong)
    expect(rows.nth(1)).to_contain_text("photo.png”")
    away = rows.first.locator(".mbe-up-words")
    expect(away).to_contain_text(words("away").split(" at ")[0])
    button(page, t("studio.pause", "en")).click()
    expect(away).to_contain_text(words("paused").split(" at ")[0])

    page.reload()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("Drop the same file again")
    cut[0] = False
    sent: list[str] = []
    page.on(
        "request", lambda request: sent.append(request.url) if "/upload-chunk/up_" in request.url else None
    )
    drop(page, path)
    expect(page.get_by_text(words("kept", name=path.name))).to_be_visible()
    numbers = {url.rsplit("/", 1)[-1] for url in sent if "/upload-chunk/up_" in url}
    assert numbers == {str(n) for n in range(1, parts)}
    expect(page.get_by_role("cell", name=path.name)).to_be_visible()
    (document,) = developer.get(f"/admin/knowledge/{base}/documents").json()
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.browser
def test_a_page_that_is_not_served_over_tls_hashes_by_itself(
    house: House, walk: Walk, tmp_path: Path
) -> None:
    path = tmp_path / "care.md"
    path.write_text("# Care\n\nDry the tent before you fold it. " + "青川 " * 5_000)
    developer = house.enter("developer")
    base = developer.post("/admin/knowledge", json={"name": "Plain", "language": "en"}).json()["id"]
    page = walk.enter("developer")
    page.add_init_script("Object.defineProperty(window.crypto, 'subtle', {value: undefined})")
    walk.open(page, f"studio/?base={base}")
    drop(page, path)
    expect(page.get_by_text(words("kept", name=path.name))).to_be_visible()
    (document,) = developer.get(f"/admin/knowledge/{base}/documents").json()
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def drop(page: Page, *files: Path) -> None:
    page.locator(".mbe-dropzone input").set_input_files(list(files))
