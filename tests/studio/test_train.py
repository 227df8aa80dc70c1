"""The training page: what it shows and does, without a browser."""

import asyncio
import json
from pathlib import Path

import pytest

from apps import costs
from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import meter_training, prepare_knowledge, report_training, schedule_jobs, train_expert
from engine.jobs import service as queue
from engine.jobs.models import Job
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, InsufficientCredit, NotFound
from engine.kit.messages import t
from engine.kit.money import CREDIT
from engine.kit.settings import settings
from engine.knowledge import service
from engine.training import service as training
from engine.training.kept import Kept
from engine.training.schemas import Point, Sample
from studio.handlers import data, jobs, knowledge, search, train, trial
from studio.views import checkpoints, preview
from studio.views import train as views
from tests.engine.flows.test_try_checkpoint import write
from tests.support import run_queued_jobs


@pytest.fixture
def dataset_id(dana: Person, tmp_path: Path) -> str:
    path = tmp_path / "talks.jsonl"
    rows = [{"question": f"Question {n}", "answer": f"Answer {n}"} for n in range(40)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return data.import_file(dana, path, "Talks", "refuse")


def test_a_preset_proposes_numbers_that_fit_the_dataset(dana: Person, dataset_id: str) -> None:
    assert train.proposal(dana, "", "quick", "en") is None
    quick = train.proposal(dana, dataset_id, "quick", "en")
    thorough = train.proposal(dana, dataset_id, "thorough", "en")
    assert quick and thorough and set(quick.values) == set(train.ADVANCED)
    assert thorough.values["epochs"] > quick.values["epochs"]
    assert f"{quick.values['epochs']} passes" in quick.words


@pytest.mark.parametrize("language", ["en", "zh"])
def test_preferences_can_be_learnt_in_three_ways(dana: Person, tmp_path: Path, language: str) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Q{n}", "chosen": f"<b>yes {n}", "rejected": f"<script>no {n}"} for n in range(40)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    pairs = data.import_file(dana, path, "Pairs", "refuse")
    shown = data.detail(dana, pairs, language)
    assert "&lt;script&gt;no" in shown and "<script>" not in shown
    offered = train.proposal(dana, pairs, "quick", language)
    assert offered and offered.method == "dpo" and [m for _, m in offered.methods] == ["dpo", "kto", "sft"]
    kto = train.proposal(dana, pairs, "quick", language, "kto")
    assert kto and kto.method == "kto" and "74" in kto.words and "37" in offered.words
    found = train.check(dana, pairs, [], "quick", {}, language, "dpo")
    assert 'class="mbe-seen bad"' in found.examples and 'class="mbe-seen"' in found.examples
    run_id = train.start(dana, "Polite", pairs, [], "quick", {"beta": 0.2}, (), "kto")
    run, _, _ = train_expert.watch(dana, run_id)
    assert (run.recipe["method"], run.recipe["beta"]) == ("kto", 0.2)
    assert "KTO" in train.watch(dana, run_id, language).head


def test_a_plain_dataset_offers_one_way(dana: Person, dataset_id: str) -> None:
    offered = train.proposal(dana, dataset_id, "quick", "en", "dpo")
    assert offered and offered.method == "sft" and len(offered.methods) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_data_is_shown_as_the_model_will_see_it(dana: Person, tmp_path: Path, language: str) -> None:
    path = tmp_path / "talks.jsonl"
    rows = [{"question": f"<script>Q{n}", "answer": f"<img>A{n}"} for n in range(40)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    dataset = data.import_file(dana, path, "Talks", "refuse")
    found = train.check(dana, dataset, [], "quick", {"max_length": 200}, language)
    assert found.examples.count('class="mbe-seen"') == 3 and "&lt;" in found.examples
    assert "<script>" not in found.examples and "<img>" not in found.examples
    assert "GB" in found.figures
    assert len(found.lengths.data[0].x) > 30


def test_a_check_names_what_is_cut_and_what_is_missing(dana: Person, dataset_id: str) -> None:
    found = train.check(dana, dataset_id, [], "quick", {"max_length": 32, "epochs": None}, "en")
    assert "examples" in found.figures
    with pytest.raises(BadInput) as refused:
        train.check(dana, "", [], "quick", {}, "en")
    assert refused.value.field == "dataset"
    with pytest.raises(BadInput) as refused:
        train.check(dana, dataset_id, [], "quick", {"rank": 0}, "en")
    assert refused.value.field == "rank"


def test_questions_for_the_way_are_lines(dana: Person, dataset_id: str) -> None:
    run_id = train.start(dana, "Asked", dataset_id, [], "quick", {}, ["When? ", "", " Where?"])
    run, _, _ = train_expert.watch(dana, run_id)
    assert run.questions == ["When?", "Where?"]
    with pytest.raises(BadInput) as refused:
        train.start(dana, "Asked", dataset_id, [], "quick", {}, [f"{n}?" for n in range(6)])
    assert refused.value.field == "questions"


def test_a_training_starts_and_can_be_watched_and_paused(dana: Person, dataset_id: str) -> None:
    assert train.choices(dana, "en").datasets[0][1] == dataset_id
    run_id = train.start(dana, "Helper", dataset_id, [], "quick", {"rank": 4, "alpha": None})
    watch = train.watch(dana, run_id, "en")
    assert watch.job.state == "queued" and watch.curve is None and watch.result == ""
    assert "rank 4" in watch.head and "Knowledge bases" not in watch.head
    assert jobs.change(dana, watch.job.id, "pause").state == "paused"
    assert f"/en/studio/train?run={run_id}" in train.listing(dana, "en")


@pytest.mark.parametrize(
    ("name", "dataset", "values", "field"),
    [
        ("Helper", "", {}, "dataset"),
        ("", "given", {}, "name"),
        ("Helper", "given", {"epochs": 0}, "epochs"),
        ("Helper", "given", {"rank": 2.5}, "rank"),
    ],
)
def test_a_mistake_is_refused_at_its_field(
    dana: Person, dataset_id: str, name: str, dataset: str, values: dict[str, float], field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        train.start(dana, name, dataset_id if dataset else "", [], "quick", values)
    assert caught.value.field == field


def test_another_tenant_sees_neither_run_nor_dataset(dana: Person, other: Person, dataset_id: str) -> None:
    run_id = train.start(dana, "Helper", dataset_id, [], "quick", {})
    with pytest.raises(NotFound):
        train.watch(other, run_id, "en")
    with pytest.raises(NotFound):
        train.start(other, "Helper", dataset_id, [], "quick", {})
    assert "mbe-empty" in train.listing(other, "en")


def test_a_run_names_all_of_its_knowledge_bases_also_those_that_are_gone(
    dana: Person, dataset_id: str
) -> None:
    tents, boots = (knowledge.create(dana, name, "en") for name in ("Tents <b>", "Boots"))
    run_id = train.start(dana, "Helper", dataset_id, [tents, boots], "quick", {})
    head = train.watch(dana, run_id, "en").head
    assert f'<a href="/en/studio/?base={tents}">Tents &lt;b&gt;</a>' in head
    assert f'<a href="/en/studio/?base={boots}">Boots</a>' in head
    with unit_of_work() as uow:
        service.delete_base(uow, tents, dana.tenant_id)
    head = train.watch(dana, run_id, "zh").head
    assert "已删除的知识库" in head and ">Boots</a>" in head


def test_only_prepared_bases_of_the_own_tenant_can_be_chosen(dana: Person, other: Person) -> None:
    made = {}
    for person, name in ((dana, "Ready"), (dana, "Empty"), (other, "Theirs")):
        made[name] = knowledge.create(person, name, "zh")
        if name != "Empty":
            prepare_knowledge.add_document(person, made[name], "care.md", "帐篷要晾干。".encode())
            knowledge.prepare(person, made[name])
    run_queued_jobs()
    assert train.choices(dana, "en").bases == [("Ready", made["Ready"])]


def test_another_tenants_base_is_refused_at_its_field(dana: Person, other: Person, dataset_id: str) -> None:
    theirs = knowledge.create(other, "Theirs", "en")
    with pytest.raises(NotFound) as caught:
        train.start(dana, "Helper", dataset_id, [knowledge.create(dana, "Mine", "en"), theirs], "quick", {})
    assert caught.value.field == "kb_ids"


def test_a_finished_run_offers_its_files(dana: Person, dataset_id: str) -> None:
    run_id = train.start(dana, "Helper", dataset_id, [], "quick", {})
    job = train.watch(dana, run_id, "zh").job
    assert "/registry" not in train.listing(dana, "zh")
    result = {"adapter_prefix": "a", "steps": 1, "loss": 1.0, "eval_loss": None, "seconds": 1.0, "tokens": 1}
    with unit_of_work() as uow:
        row = uow.get(Job, job.id)
        assert row is not None
        row.state, row.result = "succeeded", result
        train_expert.finish(uow, job, result)
    shown = train.watch(dana, run_id, "zh").result
    for file in (
        "report?format=html&amp;language=zh",
        "report?format=md&amp;language=zh",
        "card?language=zh",
        "registry?format=yaml",
        "registry?format=json",
    ):
        assert f'href="/api/admin/training/{job.id}/{file}"' in shown
    assert 'href="/api/admin/training/registry?format=yaml"' in train.listing(dana, "zh")


def test_what_a_run_measured_and_answered_is_shown_to_its_tenant_only(
    dana: Person, other: Person, dataset_id: str
) -> None:
    run, _ = train_expert.start(
        dana, name="Helper", dataset_id=dataset_id, preset="quick", questions=["When <b>?"]
    )
    watch = train.watch(dana, run.id, "en")
    assert not any(watch.course) and "end of an epoch" in watch.samples
    answer = Sample(step=1, number=0, question="When <b>?", answer="<script>alert(1)</script>")
    with unit_of_work() as uow:
        training.add_points(uow, run.id, [Point(step=1, epoch=0.1, loss=1.0, memory=1 << 30)])
        training.add_samples(uow, run.id, [answer])
    for language, title in (
        ("en", "Memory in GB: 1 now, 1 at its peak"),
        ("zh", "内存（GB）：当前 1，最高 1"),
    ):
        watch = train.watch(dana, run.id, language)
        [memory] = [figure for figure in watch.course if figure is not None]
        assert memory.layout.title.text == title
        assert "When &lt;b&gt;?" in watch.samples and "&lt;script&gt;" in watch.samples
    with pytest.raises(NotFound):
        train_expert.samples(other, run.id)


def points(*losses: float, held_out: tuple[float, ...] = ()) -> list[Point]:
    curve = [Point(step=n, epoch=n / 10, loss=loss) for n, loss in enumerate(losses, 1)]
    return curve + [Point(step=n * 10, epoch=n, eval_loss=loss) for n, loss in enumerate(held_out, 1)]


def test_the_title_of_a_curve_says_what_it_shows() -> None:
    def title(found: list[Point], finished: bool = True) -> str:
        return str(views.curve(found, finished, "en").layout.title.text)

    assert title(points(3.0, 2.0, 1.5)) == "The loss fell from 3.00 to 1.50 in 3 steps"
    assert title(points(3.0, 2.0), finished=False).endswith("so far")
    assert title(points(3.0, 3.1)).startswith("The loss did not fall")
    assert "by heart" in title(points(3.0, 1.0, held_out=(2.0, 1.0, 1.6)))
    assert title(points(3.0)) == "The first steps are measured"


def test_a_curve_draws_each_measured_value_once() -> None:
    figure = views.curve(points(3.0, 2.0, held_out=(2.5,)), True, "zh")
    assert [list(trace.x) for trace in figure.data] == [[1, 2], [10]]


def test_checkpoints_are_offered_in_words_and_what_was_chosen_stays() -> None:
    best = Kept(
        step=1200, epoch=3.0, eval_loss=1.2345, seconds=1.0, tokens=1, size=1, newest=False, best=True
    )
    plain = best.model_copy(update={"step": 1300, "epoch": 3.254, "eval_loss": None, "best": False})
    newest = plain.model_copy(update={"step": 1400, "epoch": None, "newest": True})
    found = [newest, plain, best]
    assert checkpoints.choices(found, None, "en") == [
        ("step 1,400 · newest", 1400),
        ("step 1,300 · epoch 3.25", 1300),
        ("step 1,200 · epoch 3 · held-out loss 1.234 · best", 1200),
    ]
    assert checkpoints.first_choice(found) == 1200 and checkpoints.first_choice(found[:2]) == 1400
    assert checkpoints.first_choice([]) is None and checkpoints.choices([], None, "en") == []
    assert len(checkpoints.choices(found, 1300, "zh")) == 3
    assert checkpoints.choices(found, 7, "zh")[-1] == ("第 7 步 · 已不再保留", 7)


def test_a_checkpoint_is_asked_on_the_page_and_says_which_one_it_was(
    dana: Person, other: Person, dataset_id: str, tmp_path: Path, model: None
) -> None:
    run_id = train.start(dana, "Helper", dataset_id, [], "quick", {})
    run, _, _ = train_expert.watch(dana, run_id)
    assert trial.offered(dana, run_id, None, "en") == trial.Offer([], None)
    write(run, 1200, tmp_path / "work")
    assert trial.offered(dana, run_id, None, "en") == trial.Offer([("step 1,200 · newest", 1200)], 1200)
    assert [step for _, step in trial.offered(dana, run_id, 7, "en").checkpoints] == [1200, 7]
    before = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"text": "Hello"}, {"text": "<span>step 7 answered</span>"}]},
    ]
    assert [m["content"] for m in trial.plain(before)] == ["Hi", "Hello"]

    async def ask(person: Person, step: int | None, question: str) -> list[trial.Spoken]:
        stream = trial.speak_checkpoint(person, run_id, step, before, question, "en")
        return [spoken async for spoken in stream]

    said = asyncio.run(ask(dana, 1200, "When? "))[-1]
    assert said.text and said.line.startswith("step 1,200 answered ·")
    for step, question, field in ((1200, " ", "question"), (None, "When?", "step"), (7, "When?", "step")):
        with pytest.raises((BadInput, NotFound)) as refused:
            asyncio.run(ask(dana, step, question))
        assert refused.value.field == field
    with pytest.raises(NotFound):
        asyncio.run(ask(other, 1200, "When?"))
    with pytest.raises(NotFound):
        trial.offered(other, run_id, None, "en")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_check_shows_the_price_and_the_job_what_it_was_charged(
    dana: Person, dataset_id: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = train.check(dana, dataset_id, [], "quick", {}, language).figures
    assert t("machine.free_here", language) in free and "mbe-note bad" not in free
    monkeypatch.setenv("MBE_CPU_HOUR_MICRO", "36000000")
    settings.cache_clear()
    found = train.check(dana, dataset_id, [], "quick", {}, language).figures
    assert t("machine.price", language) in found and 'mbe-note bad" role="alert"' in found
    ranges = {"rank": [8], "trials": 4, "learning_rate": 1e-4, "highest_rate": 1e-3}
    ranges |= {"epochs": 1, "most_epochs": 2}
    values = dict.fromkeys(train.ADVANCED) | {"dataset": dataset_id, "kb_ids": [], "preset": "quick"}
    values |= {"name": "Shop", "questions": "", "method": "sft"}
    several = search.outlook(dana, values, ranges, language)
    assert t("machine.price", language) in several and "mbe-note bad" in several
    with pytest.raises(InsufficientCredit):
        train.start(dana, "Shop", dataset_id, [], "quick", {})
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=dana.tenant_id, amount_micro=90 * CREDIT, key="k", by=dana.id)
    assert "mbe-note bad" not in train.check(dana, dataset_id, [], "quick", {}, language).figures
    run_id = train.start(dana, "Shop", dataset_id, [], "quick", {})
    claim = schedule_jobs.next_job(("training",), "here")
    assert claim is not None
    with unit_of_work() as uow:
        queue.beat(uow, claim.job.id, claim.token, cpu_ms=100_000)
    meter_training.chore()
    job = train.watch(dana, run_id, language).job
    assert t("cards.charged", language, amount="1.00") in jobs.card(job, language)
    asked = costs.cancel_words(job, schedule_jobs.cost(job), language)
    assert t("costs.charged", language, amount="1.00") in asked
    told = report_training.report(dana, job.id, "html", language).text
    assert t("report.charged", language) in told


def test_an_estimate_is_told_with_two_figures() -> None:
    shown = {7: "0.000007", 16_667: "0.017", 123_456: "0.13", 4_000_001: "4.10", 0: "0.00"}
    assert {micro: preview.about(micro) for micro in shown} == shown
