"""An expert that leaves the house: merged by a job, as a zip, in a repository, and never another tenant's."""

import io
import logging
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from typer.testing import CliRunner

from engine.accounts.schemas import Person
from engine.cli import app
from engine.flows import prepare_knowledge, take_along
from engine.inference.base_model import STARTER
from engine.jobs import service as jobs
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, Forbidden, NotFound, UpstreamFailed
from engine.kit.settings import settings
from engine.market.schemas import ExpertView
from engine.training import packing, registry
from tests.experts import as_if_merged, plain_adapter, random_adapter, sha256, trained_expert
from tests.hub import TOKEN, Hub
from tests.support import make_person, run_queued_jobs

REPO = "dana/shop-helper"
PAPERS = {"README.md", "registry.yaml"}
ADAPTER = {packing.CONFIG, packing.WEIGHTS}


@pytest.fixture
def expert(dana: Person, tmp_path: Path) -> ExpertView:
    return trained_expert(dana, plain_adapter(tmp_path / "adapter"))


@pytest.mark.model
def test_an_expert_is_merged_downloaded_and_pushed_and_loads_as_a_model(
    dana: Person, hub: Hub, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = random_adapter(STARTER, tmp_path / "adapter")
    expert = trained_expert(dana, adapter)
    job = take_along.merge(dana, expert.id)
    assert take_along.merged(dana, expert.id).under_way and job.queue == "low"
    with pytest.raises(Conflict):
        take_along.merge(dana, expert.id)
    run_queued_jobs()
    found = take_along.merged(dana, expert.id)
    assert found.model is not None and not found.under_way
    take_along.push(dana, expert.id, repo=REPO, token=TOKEN, what="merged")
    repo = hub.repos[REPO]
    assert repo.private and repo.commits == ["shop-helper 1.0.0 (merged)"]
    assert set(repo.files) == {".gitattributes", *found.model.files, *PAPERS}
    folder = tmp_path / "pulled"
    folder.mkdir()
    for name, data in repo.files.items():
        (folder / name).write_bytes(data)
    archive = take_along.download(dana, expert.id, "en")
    data = b"".join(archive.pieces)
    assert len(data) == archive.size
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        assert zipped.testzip() is None
        assert {info.compress_type for info in zipped.infolist()} == {zipfile.ZIP_STORED}
        for name in zipped.namelist():
            top, _, inner = name.partition("/")
            assert top == "shop-helper-1.0.0" and zipped.read(name) == repo.files[inner]
    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        pulled = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
        base = AutoModelForCausalLM.from_pretrained(STARTER)
        together = PeftModel.from_pretrained(base, str(adapter)).eval()(ids).logits
    assert (pulled - together).abs().max() < 1e-4


def test_an_adapter_is_pushed_as_it_is_stored_with_card_and_registry(
    dana: Person, expert: ExpertView, hub: Hub
) -> None:
    told: list[tuple[int, int]] = []
    pushed = take_along.push(
        dana, expert.id, repo=REPO, token=TOKEN, seen=lambda done, total: told.append((done, total))
    )
    files = hub.repos[REPO].files
    assert set(pushed.files) == ADAPTER | PAPERS == set(files) - {".gitattributes"}
    assert pushed.address == f"{hub.address}/{REPO}" and told[-1][0] == told[-1][1]
    for name in ADAPTER:
        assert files[name] == blobs().read(f"{expert.adapter_prefix}/{name}")
    (entry,) = registry.parse(files["registry.yaml"].decode())
    assert entry.name == "shop-helper" and entry.adapter.files[packing.CONFIG] == sha256(
        files[packing.CONFIG]
    )
    assert b"library_name: peft" in files["README.md"] and b"127.0.0.1" not in files["README.md"]
    as_if_merged(expert)
    take_along.push(dana, expert.id, repo=REPO, token=TOKEN, what="merged", language="zh")
    names = set(hub.repos[REPO].files) - {".gitattributes"}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"} | PAPERS
    assert "基础模型" in hub.repos[REPO].files["README.md"].decode()
    assert not list((settings().home / "outgoing").iterdir())


def test_a_folder_of_this_machine_leaves_under_its_last_name(
    dana: Person, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "secret" / "shop-base"
    base.parent.mkdir()
    base.symlink_to(STARTER)
    monkeypatch.setenv("MBE_BASE_MODEL", str(base))
    settings.cache_clear()
    adapter = plain_adapter(tmp_path / "adapter")
    (adapter / packing.CONFIG).write_text(f'{{"base_model_name_or_path": "{base}"}}')
    expert = trained_expert(dana, adapter)
    take_along.push(dana, expert.id, repo=REPO, token=TOKEN)
    files = hub.repos[REPO].files
    assert not [name for name, data in files.items() if str(tmp_path).encode() in data]
    assert b"shop-base" in files[packing.CONFIG] and b"shop-base" in files["README.md"]
    (entry,) = registry.parse(files["registry.yaml"].decode())
    assert list(entry.adapter.files) == [packing.WEIGHTS]


def test_the_token_is_kept_nowhere(
    dana: Person, expert: ExpertView, hub: Hub, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as heard:
        take_along.push(dana, expert.id, repo=REPO, token=TOKEN)
        hub.broken = {"commit": 409}
        with pytest.raises(UpstreamFailed) as caught:
            take_along.push(dana, expert.id, repo=REPO, token=TOKEN)
    assert heard and TOKEN not in f"{heard}{caplog.text}{caught.value}{caught.value.facts}"
    with unit_of_work() as uow:
        tables = uow.scalars(text("select tablename from pg_tables where schemaname = 'public'")).all()
        for table in tables:
            rows = uow.scalars(text(f'select t::text from "{table}" t')).all()
            assert not [row for row in rows if TOKEN in row], table
    assert not [p for p in home.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"repo": "shop"}, "repo"),
        ({"token": " "}, "token"),
        ({"token": "hf_é"}, "token"),
        ({"what": "all"}, "what"),
    ],
)
def test_bad_input_is_refused_before_the_hub_is_asked(
    dana: Person, expert: ExpertView, hub: Hub, given: dict[str, str], field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        take_along.push(dana, expert.id, **{"repo": REPO, "token": TOKEN, **given})
    assert caught.value.field == field and not hub.asked


def test_without_a_whole_merged_model_there_is_none(dana: Person, expert: ExpertView, hub: Hub) -> None:
    with pytest.raises(Conflict):
        take_along.download(dana, expert.id, "en")
    with pytest.raises(Conflict):
        take_along.push(dana, expert.id, repo=REPO, token=TOKEN, what="merged")
    as_if_merged(expert)
    blobs().put(f"merged/{expert.run_id}/model.safetensors", b"v" * 3_000_000)
    with pytest.raises(Conflict):
        take_along.push(dana, expert.id, repo=REPO, token=TOKEN, what="merged")
    with pytest.raises(Conflict):
        b"".join(take_along.download(dana, expert.id, "en").pieces)
    blobs().put(f"{expert.adapter_prefix}/{packing.WEIGHTS}", b"another")
    with pytest.raises(Conflict):
        take_along.push(dana, expert.id, repo=REPO, token=TOKEN)
    assert not hub.asked


def test_a_zip_is_read_piece_by_piece(dana: Person, expert: ExpertView) -> None:
    as_if_merged(expert)
    archive = take_along.download(dana, expert.id, "en")
    sizes = [len(piece) for piece in archive.pieces]
    assert sum(sizes) == archive.size > 3_000_000 and max(sizes) <= 1 << 20


def test_of_two_merges_at_once_one_is_refused(dana: Person, expert: ExpertView) -> None:
    outcomes: list[object] = []

    def go() -> None:
        try:
            outcomes.append(take_along.merge(dana, expert.id).id)
        except Conflict as error:
            outcomes.append(error.key)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("takealong.under_way") == 3
    job = take_along.merged(dana, expert.id).job
    assert job is not None
    prepare_knowledge.change_job(dana, job.id, jobs.cancel)
    assert take_along.merge(dana, expert.id).id != job.id


def doors(expert: ExpertView) -> list[Callable[[Person], object]]:
    return [
        lambda who: take_along.merge(who, expert.id),
        lambda who: take_along.merged(who, expert.id),
        lambda who: take_along.download(who, expert.id, "en"),
        lambda who: take_along.push(who, expert.id, repo=REPO, token=TOKEN),
        lambda who: take_along.find(who, expert.id),
        lambda who: take_along.find(who, expert.name),
    ]


def test_nobody_elses_expert_is_taken_along(dana: Person, eva: Person, expert: ExpertView, hub: Hub) -> None:
    as_if_merged(expert)
    rival = make_person("rival@example.com", "developer", "reviewer")
    for door in doors(expert):
        for who, error in ((rival, NotFound), (eva, Forbidden)):
            with pytest.raises(error):
                door(who)
    assert not hub.asked
    for wish in (expert.id, expert.name, expert.run_id):
        assert take_along.find(dana, wish) == expert


def test_the_command_pushes_with_the_token_of_the_environment(
    dana: Person, expert: ExpertView, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.flows import people

    monkeypatch.setattr(people, "by_key", lambda key: dana)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    told = CliRunner().invoke(app, ["push", "shop-helper", REPO, "--key", "k"])
    assert told.exit_code == 0 and f"{hub.address}/{REPO}" in told.stdout and hub.repos[REPO].private
    as_if_merged(expert)
    told = CliRunner().invoke(app, ["push", expert.id, "dana/open", "--merged", "--public", "--key", "k"])
    assert told.exit_code == 0 and not hub.repos["dana/open"].private
    assert "model.safetensors" in hub.repos["dana/open"].files
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    for words, said in ((["shop-helper", REPO], "访问令牌"), (["nothing", REPO], "nothing")):
        told = CliRunner().invoke(app, ["push", *words, "--key", "k", "--language", "zh"])
        assert told.exit_code == 1 and said in told.output and "hf_nobody" not in told.output


def test_every_error_names_what_was_kept(hub: Hub) -> None:
    keys = (
        "hub_unreachable",
        "hub_broke_off",
        "hub_unclear",
        "token_refused",
        "not_allowed",
        "already_public",
    )
    for key in keys:
        error = EngineError(f"takealong.{key}", repo=REPO, hub=hub.address)
        assert len(error.message("en").split(". ")) > 1 and "。" in error.message("zh")
