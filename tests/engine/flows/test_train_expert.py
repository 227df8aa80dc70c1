"""A training reads, and its expert keeps, all of its knowledge bases."""

import json
from io import BytesIO
from pathlib import Path

import pytest

from engine.accounts.schemas import Person
from engine.flows import ground_rows, import_dataset, prepare_knowledge, publish_expert, train_expert
from engine.flows.speak import Speaker
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from tests.support import make_person, run_queued_jobs

HELP = {"冰箱": "青川冰箱的价格为3699元。", "洗衣机": "松涧洗衣机的价格为2499元。"}
ANSWER = "按价目表。"
RESULT = {
    "adapter_prefix": "adapters/r",
    "steps": 9,
    "loss": 0.5,
    "eval_loss": None,
    "seconds": 1.0,
    "tokens": 90,
}


@pytest.fixture
def dataset_id(dana: Person) -> str:
    rows = [{"question": f"{name}的价格是多少？", "answer": ANSWER} for name in HELP]
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return import_dataset.import_file(
        dana, name="Talks", filename="t.jsonl", source=BytesIO(data.encode())
    ).id


@pytest.fixture
def base_ids(dana: Person) -> list[str]:
    """Two prepared bases, each with the answer to one question."""
    made = [prepare_knowledge.create_base(dana, name=name, language="zh").id for name in HELP]
    for base_id, (name, text) in zip(made, HELP.items(), strict=True):
        prepare_knowledge.add_document(dana, base_id, f"{name}.md", text.encode())
        prepare_knowledge.start(dana, base_id)
    run_queued_jobs()
    return made


def test_each_row_is_read_with_what_the_bases_together_find(
    dana: Person, dataset_id: str, base_ids: list[str], tmp_path: Path
) -> None:
    run, _ = train_expert.start(
        dana, name="Prices", dataset_id=dataset_id, knowledge_base_ids=base_ids, preset="quick"
    )
    assert run.knowledge_base_ids == base_ids
    seen = ""
    for path in train_expert.data_source(run.id, dana.tenant_id, tmp_path):
        seen += path.read_text("utf-8")
    assert seen.count(ANSWER) == len(HELP)
    assert "3699" in seen and "2499" in seen


def test_the_expert_of_a_run_may_quote_its_bases(dana: Person, dataset_id: str, base_ids: list[str]) -> None:
    _, job = train_expert.start(dana, name="Prices", dataset_id=dataset_id, knowledge_base_ids=base_ids)
    with unit_of_work() as uow:
        train_expert.finish(uow, job, RESULT)
    (expert,) = publish_expert.mine(dana)
    assert expert.knowledge_base_ids == base_ids


def test_one_base_of_another_tenant_is_enough_to_be_refused(
    dana: Person, dataset_id: str, base_ids: list[str]
) -> None:
    rival = make_person("rival@example.com", "developer")
    theirs = prepare_knowledge.create_base(rival, name="Theirs", language="zh").id
    for missing in (theirs, "kb_none"):
        with pytest.raises(NotFound, match=missing) as caught:
            train_expert.start(
                dana, name="Prices", dataset_id=dataset_id, knowledge_base_ids=[*base_ids, missing]
            )
        assert caught.value.field == "kb_ids"
    assert train_expert.runs(dana) == []


def test_a_question_is_asked_with_what_the_bases_find_for_it(
    dana: Person, dataset_id: str, base_ids: list[str]
) -> None:
    question = "冰箱的价格是多少？"
    given = {"name": "Prices", "dataset_id": dataset_id, "questions": [question]}
    grounded, _ = train_expert.start(dana, knowledge_base_ids=base_ids, **given)
    plain, _ = train_expert.start(dana, **given)
    assert "3699" in train_expert.asked(grounded)[question][-1]["content"]
    assert train_expert.asked(plain) == {question: [{"role": "user", "content": question}]}


ROWS = {
    "conversations": {"question": "Where?", "answer": "Here."},
    "feedback": {"question": "Where?", "answer": "Here.", "label": True},
    "preference": {"prompt": "Where?", "chosen": "Here.", "rejected": "There."},
}


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
@pytest.mark.parametrize("kind", ROWS)
def test_a_method_needs_data_that_it_can_learn_from(dana: Person, kind: str, method: str) -> None:
    data = "\n".join(json.dumps({**ROWS[kind], "system": f"{n}"}) for n in range(4)).encode()
    dataset = import_dataset.import_file(dana, name="Rows", filename="t.jsonl", source=BytesIO(data))
    able = train_expert.methods(dataset.layout)
    if method in able:
        run, _ = train_expert.start(dana, name="Helper", dataset_id=dataset.id, method=method)
        assert run.recipe["method"] == method
        return
    assert (kind, method) in {("conversations", "dpo"), ("conversations", "kto"), ("feedback", "dpo")}
    for given in ({"method": method}, {"changes": {"method": method}}):
        with pytest.raises(BadInput) as caught:
            train_expert.start(dana, name="Helper", dataset_id=dataset.id, **given)
        assert caught.value.field == "method" and "Rows" in caught.value.message("zh")


def test_preferences_keep_their_other_answers_beside_passages(
    dana: Person, base_ids: list[str], tmp_path: Path
) -> None:
    rows = [{"prompt": f"{name}的价格是多少？", "chosen": ANSWER, "rejected": "不知道。"} for name in HELP]
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    pairs = import_dataset.import_file(dana, name="Pairs", filename="t.jsonl", source=BytesIO(data))
    reader = Speaker(name="Prices", knowledge_base_ids=tuple(base_ids), knowledge_tenant_id=dana.tenant_id)
    for path in ground_rows.write_rows(reader, pairs.id, tmp_path):
        (row,) = (json.loads(line) for line in path.read_text("utf-8").splitlines())
        assert row["rejected"] == "不知道。" and row["messages"][-1]["content"] == ANSWER
        assert len(row["messages"]) == 3 and "[1]" in row["messages"][1]["content"]
