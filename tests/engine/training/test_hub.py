"""Pushing through the real client of the hub, over real HTTP, to a stand-in on this machine."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import _http

from engine.kit.errors import BadInput, Conflict, EngineError, Forbidden, UpstreamFailed
from engine.kit.messages import LANGUAGES
from engine.kit.settings import Settings, settings
from engine.training import hub as sending
from tests import hub as stand_in
from tests.hub import READ_ONLY, TOKEN, Hub

REPO = "dana/shop-helper"
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Words\n",
    "config.json": b"{}",
    "model.safetensors": os.urandom(300_000),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with stand_in.running() as found:
        yield found


@pytest.fixture
def hub(server: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty hub that the settings lead to."""
    for kept in (server.repos, server.stored, server.broken, server.asked):
        kept.clear()  # type: ignore[attr-defined]
    monkeypatch.setenv("MBE_HUB_ENDPOINT", server.address)
    settings.cache_clear()
    return server


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again without waiting in between."""
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for name, data in FILES.items():
        (made / name).write_bytes(data)
    return made


def send(
    folder: Path, repo: str = REPO, token: str = TOKEN, private: bool = True, ours: tuple[str, ...] = ()
) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    sending.send(
        folder,
        repo,
        token=token,
        private=private,
        message="shop-helper 1.0.0",
        ours=ours,
        seen=lambda done, total: told.append((done, total)),
    )
    return told


def test_what_arrives_is_what_was_sent_in_one_commit(hub: Hub, folder: Path) -> None:
    told = send(folder)
    repo = hub.repos[REPO]
    assert repo.files == {".gitattributes": b"", **FILES}
    assert repo.private and repo.commits == ["shop-helper 1.0.0"]
    total = sum(map(len, FILES.values()))
    assert told == sorted(told) and told[-1] == (total, total) and len(told) > 4
    send(folder, "dana/open", private=False)
    assert not hub.repos["dana/open"].private


def test_the_next_push_takes_away_what_is_ours_and_no_longer_there(hub: Hub, folder: Path) -> None:
    send(folder)
    hub.repos[REPO].files |= {
        "adapter_config.json": b"{}",
        sending.MARK: b"ours",
        "picture.png": b"mine",
        "adapter_notes/1": b"mine",
    }
    (folder / "config.json").unlink()
    send(folder, ours=("adapter_*", "*.json", "model*.safetensors"))
    names = set(hub.repos[REPO].files)
    mine = {".gitattributes", "picture.png", "adapter_notes/1", sending.MARK}
    assert names == {*mine, "README.md", "model.safetensors"}


def test_a_model_that_no_push_of_ours_made_stays_whole(hub: Hub, folder: Path) -> None:
    hub.repos[REPO] = stand_in.Repo(private=True)
    hub.repos[REPO].files |= {"model-00001.safetensors": b"theirs", "tokenizer.json": b"theirs"}
    send(folder, ours=("model*.safetensors", "tokenizer*"))
    assert hub.repos[REPO].files["model-00001.safetensors"] == b"theirs"
    assert "tokenizer.json" in hub.repos[REPO].files


def test_a_private_push_does_not_go_into_a_public_repository(hub: Hub, folder: Path) -> None:
    hub.repos[REPO] = stand_in.Repo(private=False)
    with pytest.raises(Conflict) as caught:
        send(folder)
    assert caught.value.field == "private" and hub.repos[REPO].files == {} and not hub.stored


def refused(error: type[EngineError], key: str, folder: Path, **given: str) -> EngineError:
    with pytest.raises(error) as caught:
        send(folder, **given)  # type: ignore[arg-type]
    assert caught.value.key == key
    # Whatever logs it, no chain of causes leads to the request and its header.
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    for language in LANGUAGES:
        assert "hf_" not in caught.value.message(language)
    assert "hf_" not in repr(caught.value.facts)
    return caught.value


def test_whom_the_hub_does_not_let_in_is_told_at_the_field(hub: Hub, folder: Path) -> None:
    error = refused(BadInput, "takealong.token_refused", folder, token="hf_nobody")
    assert error.field == "token" and not hub.repos
    send(folder)
    assert refused(Forbidden, "takealong.not_allowed", folder, token=READ_ONLY).field == "repo"
    assert refused(Forbidden, "takealong.not_allowed", folder, repo="otto/theirs").field == "repo"
    hub.repos["otto/theirs"] = stand_in.Repo(private=True)
    refused(Forbidden, "takealong.not_allowed", folder, repo="otto/theirs")
    assert hub.repos["otto/theirs"].files == {} and len(hub.repos[REPO].commits) == 1


@pytest.mark.parametrize(
    ("place", "status", "key"),
    [
        ("/api/models/dana", 0, "takealong.hub_unreachable"),
        ("create", 500, "takealong.hub_unreachable"),
        ("preupload", 503, "takealong.hub_broke_off"),
        ("storage", 0, "takealong.hub_broke_off"),
        ("storage", 500, "takealong.hub_broke_off"),
        ("commit", 0, "takealong.hub_unclear"),
        ("commit", 500, "takealong.hub_unclear"),
        ("commit", 409, "takealong.hub_refused"),
        ("preupload", 413, "takealong.hub_refused"),
    ],
)
def test_a_hub_that_breaks_off_leaves_the_repository_as_it_was(
    hub: Hub, at_once: None, folder: Path, place: str, status: int, key: str
) -> None:
    hub.broken = {place: status}
    error = refused(UpstreamFailed, key, folder)
    assert error.facts["repo"] == REPO
    assert key != "takealong.hub_refused" or "…" in str(error.facts["why"])
    assert all(not repo.commits for repo in hub.repos.values())
    hub.broken = {}
    send(folder)
    assert hub.repos[REPO].commits == ["shop-helper 1.0.0"]


def test_no_network_is_said(hub: Hub, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_HUB_ENDPOINT", "http://127.0.0.1:9")
    settings.cache_clear()
    refused(UpstreamFailed, "takealong.hub_unreachable", folder)


def test_a_machine_that_stays_off_hubs_says_so(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(Conflict, "takealong.offline", folder)
    assert not hub.asked


@pytest.mark.parametrize(
    "repo",
    ["", "shop", "a/b/c", "../b", "a/", "dana/shop helper", "dana/a..b", "dana/x.git", "达/x", "a/b\n"],
)
def test_what_is_no_repository_is_refused(repo: str) -> None:
    if repo.strip() == "a/b":
        assert sending.checked_repo(repo) == "a/b"
        return
    with pytest.raises(BadInput) as caught:
        sending.checked_repo(repo)
    assert caught.value.field == "repo"


@pytest.mark.parametrize("token", ["", "  ", "hf_a b", "hf_\nx", "hf_é", "x" * 501])
def test_what_is_no_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(BadInput) as caught:
        sending.checked_token(token)
    assert caught.value.field == "token" and "hf_" not in f"{caught.value} {caught.value.facts}"
    assert sending.checked_token(" hf_x\n") == "hf_x"


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("https://huggingface.co", True),
        ("https://hub.example.com:8443/mirror", True),
        ("http://127.0.0.1:9000", True),
        ("http://localhost", True),
        ("http://[::1]:8080", True),
        ("http://hub.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost@example.com", False),
        ("https://user:secret@example.com", False),
        ("ftp://example.com", False),
        ("", False),
    ],
)
def test_a_token_travels_only_encrypted_or_within_this_machine(
    home: Path, endpoint: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_HUB_ENDPOINT", endpoint)
    if allowed:
        assert Settings().hub_endpoint == endpoint
        return
    with pytest.raises(ValueError, match="hub_endpoint"):
        Settings()
