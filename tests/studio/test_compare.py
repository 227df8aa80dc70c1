"""Runs side by side on the page, without a browser."""

import json
from pathlib import Path

import pytest

from engine.accounts.schemas import Person
from engine.flows import train_expert
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.training import service as training
from engine.training.schemas import Point, Sample
from studio.handlers import compare, data

NAME = "<img src=x onerror=alert(1)>"


@pytest.fixture
def run_ids(dana: Person, tmp_path: Path) -> list[str]:
    """Two runs with hostile names, questions and answers; the second one does better."""
    path = tmp_path / "talks.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"Q{n}", "answer": "A"}) for n in range(10)), "utf-8")
    dataset_id = data.import_file(dana, path, "Talks", "refuse")
    made = []
    for rank, loss in ((4, 3.0), (8, 2.0)):
        run, _ = train_expert.start(
            dana, name=NAME, dataset_id=dataset_id, changes={"rank": rank}, questions=["<b>Why</b>?"]
        )
        answer = Sample(step=1, number=0, question="<b>Why</b>?", answer=f"<script>{rank}</script>")
        with unit_of_work() as uow:
            training.add_points(uow, run.id, [Point(step=1, epoch=1.0, loss=1.0, eval_loss=loss)])
            training.add_samples(uow, run.id, [answer])
        made.append(run.id)
    return made


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "has the lowest held-out loss: 2.000"), ("zh", "的留出集损失最低：2.000")],
)
def test_runs_stand_side_by_side_and_whatever_people_wrote_is_escaped(
    dana: Person, run_ids: list[str], language: str, said: str
) -> None:
    shown = compare.side(dana, ",".join(run_ids), language)
    assert f"B · &lt;img src=x onerror=alert(1)&gt; {said}" in shown.head.replace("&gt;的", "&gt; 的")
    assert shown.curves is not None
    assert [list(trace.y) for trace in shown.curves.data] == [[3.0], [2.0]]
    everything = shown.head + shown.facts + str(shown.curves.to_json())
    for hostile in ("<img", "<b>Why", "<script>"):
        assert hostile not in everything
    assert "&lt;script&gt;4&lt;/script&gt;" in shown.facts and "&lt;b&gt;Why&lt;/b&gt;?" in shown.facts
    assert f'href="/{language}/studio/train?run={run_ids[0]}"' in shown.facts
    rank = "Rank of the adapter" if language == "en" else "适配器的秩"
    settings = shown.facts.split("<tbody>")[2].split("</tbody>")[0]
    assert settings == f"<tr><td>{rank}</td><td>4</td><td>8</td></tr>"


def test_runs_that_are_the_same_but_for_nothing_say_so(dana: Person, run_ids: list[str]) -> None:
    dataset_id = train_expert.runs(dana)[0][0].dataset_id
    twins = [train_expert.start(dana, name="Twin", dataset_id=dataset_id)[0].id for _ in range(2)]
    shown = compare.side(dana, ",".join(twins), "en")
    assert shown.curves is None and "Not all of them have a held-out loss yet" in shown.head
    assert "All settings are the same." in shown.facts and "no question in common" in shown.facts


def test_only_runs_of_the_own_tenant_can_be_compared(dana: Person, other: Person, run_ids: list[str]) -> None:
    assert [run_id for _, run_id in compare.choices(dana, "en")] == run_ids[::-1]
    assert compare.choices(other, "en") == []
    for wanted in (",".join(run_ids), "run_none,run_other"):
        with pytest.raises(NotFound):
            compare.side(other, wanted, "en")


def test_two_to_four_have_to_be_chosen() -> None:
    assert compare.chosen(["a", "b"]) == "a,b"
    for wrong in ([], ["a"], list("abcde")):
        with pytest.raises(BadInput) as caught:
            compare.chosen(wrong)
        assert caught.value.field == "runs"
        assert "选择两到 4 个" in caught.value.message("zh")
