import pytest

from engine.training.examples import examples, sides

ASKED, HERE = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}
THERE = {"role": "assistant", "content": "There."}
PREFERENCE = {"messages": [ASKED, HERE], "rejected": "There."}


def test_each_assistant_turn_is_an_example() -> None:
    turns = [{"role": role, "content": str(n)} for n, role in enumerate(["user", "assistant"] * 2)]
    assert list(examples({"messages": turns})) == [
        {"prompt": turns[:1], "completion": [turns[1]]},
        {"prompt": turns[:3], "completion": [turns[3]]},
    ]


def test_nobody_learns_to_give_an_answer_that_was_found_bad() -> None:
    row = {"messages": [ASKED, HERE]}
    assert list(examples({**row, "label": False})) == []
    assert list(examples({**row, "label": True})) == list(examples(row)) != []
    assert [e["completion"] for e in examples(PREFERENCE)] == [[HERE]]


def test_a_preference_is_a_pair_or_two_verdicts() -> None:
    assert list(examples(PREFERENCE, "dpo")) == [{"prompt": [ASKED], "chosen": [HERE], "rejected": [THERE]}]
    assert list(examples(PREFERENCE, "kto")) == [
        {"prompt": [ASKED], "completion": [HERE], "label": True},
        {"prompt": [ASKED], "completion": [THERE], "label": False},
    ]


def test_a_verdict_is_no_pair() -> None:
    row = {"messages": [ASKED, HERE], "label": False}
    assert list(examples(row, "dpo")) == []
    assert list(examples(row, "kto")) == [{"prompt": [ASKED], "completion": [HERE], "label": False}]


@pytest.mark.parametrize(
    ("method", "seen"), [("sft", [(None, HERE)]), ("dpo", [(True, HERE), (False, THERE)])]
)
def test_a_model_reads_each_side_of_an_example(method: str, seen: list) -> None:
    (example,) = examples(PREFERENCE, method)
    assert list(sides(example)) == [(good, {"prompt": [ASKED], "completion": [m]}) for good, m in seen]


def test_a_verdict_is_read_as_good_or_bad() -> None:
    assert [good for e in examples(PREFERENCE, "kto") for good, _ in sides(e)] == [True, False]
