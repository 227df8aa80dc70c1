"""Searching on the training page, without a browser."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.flows import search_training
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.training import searches
from engine.training.schemas import SearchView
from engine.training.search import Choice
from studio.handlers import data, search, train

NAME = "<img src=x onerror=alert(1)>"
REASON = {"key": "training.diverged", "facts": {"step": 1, "kept": 0, "rate": "<b>9</b>"}}


@pytest.fixture
def dataset_id(dana: Person, tmp_path: Path) -> str:
    path = tmp_path / "talks.jsonl"
    rows = [{"question": f"Question {n}", "answer": f"Answer {n}"} for n in range(40)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return data.import_file(dana, path, "Talks", "refuse")


def forms(person: Person, dataset_id: str, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the two forms as the page proposes them, some of them changed."""
    proposed = train.proposal(person, dataset_id, "quick", "en")
    assert proposed is not None
    training = {"name": NAME, "dataset": dataset_id, "kb_ids": None, "preset": "quick", "questions": ""}
    ranges = {**search.proposal(person, dataset_id, "quick"), "trials": 4}
    known = {name: changes.pop(name) for name in list(changes) if name in training}
    return {**training, **proposed.values, **known}, {**ranges, **changes}


@pytest.fixture
def found(dana: Person, dataset_id: str) -> SearchView:
    search_id = search.start(dana, *forms(dana, dataset_id))
    return search_training.watch(dana, search_id)[0]


def make(found: SearchView, *endings: tuple[str, float | None]) -> list[str]:
    made = []
    for number, (ended, loss) in enumerate(endings, 1):
        with unit_of_work() as uow:
            run = searches.begin(uow, found, number, Choice(16, 1e-3 * number, 10 + number))
            error = {"error": REASON} if ended == "failed" else {}
            if ended != "running":
                result = {"loss": 1.0, "eval_loss": loss, "seconds": 60.0, **error}
                searches.end(uow, run, ended, result)  # type: ignore[arg-type]
        made.append(run.id)
    return made


def test_a_preset_fills_in_where_a_search_looks(dana: Person, dataset_id: str) -> None:
    proposed = search.proposal(dana, dataset_id, "quick")
    assert set(proposed) == {"rank", "learning_rate", "highest_rate", "epochs", "most_epochs"}
    assert set(proposed["rank"]) <= set(search.ranks()) and max(search.ranks()) == 32
    assert proposed["learning_rate"] < 8e-3 < proposed["highest_rate"]


@pytest.mark.parametrize(("language", "said"), [("en", "about"), ("zh", "约")])
def test_the_time_is_said_before_a_search_starts(
    dana: Person, dataset_id: str, language: str, said: str
) -> None:
    shown = search.outlook(dana, *forms(dana, dataset_id), language)
    assert said in shown and "GB" in shown
    assert search_training.listing(dana) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": None}, "dataset"),
        ({"name": ""}, "name"),
        ({"rank": []}, "rank"),
        ({"learning_rate": None}, "learning_rate"),
        ({"highest_rate": 1e-9}, "learning_rate"),
        ({"most_epochs": 1}, "epochs"),
        ({"trials": None}, "trials"),
    ],
)
def test_a_mistake_is_refused_at_its_field(
    dana: Person, dataset_id: str, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        search.start(dana, *forms(dana, dataset_id, **changes))
    assert caught.value.field == field


def test_a_search_is_one_row_of_the_list(dana: Person, found: SearchView) -> None:
    runs = make(found, ("done", 2.0), ("done", 1.5))
    shown = train.listing(dana, "en")
    assert (
        f'href="/en/studio/train?search={found.id}"' in shown
        and "2 of 4 trials" in shown
        and "1.500" in shown
    )
    assert not any(run_id in shown for run_id in runs) and NAME not in shown


def test_before_its_first_trial_a_search_says_what_will_come(dana: Person, found: SearchView) -> None:
    now = search.watch(dana, found.id, "zh")
    assert now.losses is None and now.values == [None, None, None] and now.table == ""
    assert "试验会显示在这里" in now.verdict and NAME not in now.head


@pytest.mark.parametrize("language", ["en", "zh"])
def test_trials_are_drawn_listed_and_the_best_is_marked(
    dana: Person, found: SearchView, language: str
) -> None:
    endings = (("done", 2.0), ("done", 1.5), ("pruned", 3.0), ("failed", None), ("running", None))
    runs = make(found, *endings)
    now = search.watch(dana, found.id, language)
    assert now.losses is not None and all(now.values)
    drawn = {trace.name: list(trace.x) for trace in now.losses.data if trace.mode == "markers"}
    assert list(drawn.values()) == [[1], [3], [4], [2]]
    for run_id in runs:
        assert f'href="/{language}/studio/train?run={run_id}"' in now.table
    assert now.table.count("★") == 1 and f"compare={runs[1]},{runs[0]}" in now.table
    assert "1.500" in now.verdict and "2.000" in now.verdict
    everything = now.table + now.verdict + now.head + str(now.losses.to_json())
    assert "<b>9</b>" not in everything and "<img" not in everything and "&lt;b&gt;9" in now.table


def test_a_trials_own_page_leads_to_its_search_and_says_how_it_ended(dana: Person, found: SearchView) -> None:
    runs = make(found, ("done", 2.0), ("pruned", 3.0), ("running", None))
    for run_id, said in zip(runs, ("trained to its end", "ended early", ""), strict=True):
        now = train.watch(dana, run_id, "en")
        assert f'href="/en/studio/train?search={found.id}"' in now.head
        assert said in now.result and bool(said) == bool(now.result)


def test_another_tenant_sees_no_search(
    dana: Person, other: Person, found: SearchView, dataset_id: str
) -> None:
    with pytest.raises(NotFound):
        search.watch(other, found.id, "en")
    with pytest.raises(NotFound):
        search.proposal(other, dataset_id, "quick")
    for ask in (search.start, search.outlook):
        with pytest.raises(NotFound):
            ask(other, *forms(dana, dataset_id), *(("en",) if ask is search.outlook else ()))
    assert "mbe-empty" in train.listing(other, "en")
