import json

import pytest

from engine.datasets.layouts import Unusable, detect, normalise

PAIR = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]


@pytest.mark.parametrize(
    ("row", "layout"),
    [
        ({"messages": PAIR}, "messages"),
        (
            {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]},
            "messages",
        ),
        ({"messages": json.dumps(PAIR)}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Where?"}]}, PAIR[1]]},
            "messages",
        ),
        ({"prompt": "Where?", "completion": " Here.\r\n"}, "prompt_completion"),
        ({"prompt": PAIR[:1], "completion": PAIR[1:]}, "prompt_completion"),
        ({"instruction": "Where?", "input": "", "output": "Here.", "history": [["a", "b"]]}, "instruction"),
        ({"question": "Where?", "answer": "Here."}, "question_answer"),
        ({"query": "Where?", "response": "Here."}, "question_answer"),
        ({"问题": "Where?", "答案": "Here."}, "question_answer"),
    ],
)
def test_every_usual_layout_becomes_the_same_messages(row: dict, layout: str) -> None:
    assert detect([row]) == layout
    assert normalise(row, layout) == {"messages": PAIR}


def test_instruction_and_input_are_joined_and_system_goes_first() -> None:
    row = {"instruction": "Sum up.", "input": "A long text.", "output": "Short.", "system": "Be brief."}
    assert normalise(row, "instruction")["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum up.\nA long text."},
        {"role": "assistant", "content": "Short."},
    ]


def test_the_layout_of_most_rows_wins() -> None:
    assert detect([{"junk": 1}, {"question": "a", "answer": "b"}]) == "question_answer"
    assert detect([{"text": "a"}, {"prompt": "a", "chosen": "b"}]) is None


THERE = {"role": "assistant", "content": "There."}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Where?", "chosen": "Here.", "rejected": "There."},
        {"question": "Where?", "chosen": "Here.", "rejected": "There."},
        {"instruction": "Where?", "input": "", "chosen": "Here.", "rejected": "There."},
        {
            "conversations": [{"from": "human", "value": "Where?"}],
            "chosen": {"from": "gpt", "value": "Here."},
            "rejected": {"from": "gpt", "value": "There."},
        },
        {"prompt": PAIR[:1], "chosen": PAIR[1:], "rejected": [THERE]},
        {"chosen": PAIR, "rejected": [PAIR[0], THERE]},
        {"prompt": "Where?", "chosen": PAIR, "rejected": [PAIR[0], THERE]},
        {"prompt": "Where?", "chosen": [{"type": "text", "text": "Here."}], "rejected": "There."},
    ],
)
def test_two_answers_of_which_one_is_better_are_a_preference(row: dict) -> None:
    assert detect([row]) == "preference"
    assert normalise(row, "preference") == {"messages": PAIR, "rejected": "There."}


def test_a_system_message_goes_in_front_of_a_preference() -> None:
    row = {"system": "Be brief.", "prompt": "Where?", "chosen": "Here.", "rejected": "There."}
    assert normalise(row, "preference")["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Where?", "chosen": "Here."}, "missing_column"),
        ({"chosen": "Here.", "rejected": "There."}, "missing_column"),
        ({"prompt": "Where?", "chosen": "Here.", "rejected": "Here. "}, "same_answers"),
        ({"prompt": "Where?", "chosen": "Here.", "rejected": " "}, "empty_answer"),
        ({"prompt": "Where?", "chosen": "", "rejected": "There."}, "empty_answer"),
        ({"prompt": "Where?", "chosen": [], "rejected": []}, "empty_answer"),
        ({"prompt": " ", "chosen": "Here.", "rejected": "There."}, "empty_question"),
        ({"prompt": PAIR, "chosen": "Here.", "rejected": "There."}, "role_order"),
        ({"prompt": "Where?", "chosen": PAIR[0], "rejected": THERE}, "role_order"),
        ({"prompt": "Where?", "chosen": "Here.", "rejected": 3.5 * 2 == 7}, "not_text"),
        (
            {"chosen": PAIR, "rejected": [{"role": "user", "content": "What?"}, THERE]},
            "other_prompts",
        ),
    ],
)
def test_a_bad_preference_says_why(row: dict, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        normalise(row, "preference")
    assert caught.value.reason == f"datasets.{reason}"


@pytest.mark.parametrize("label", [True, 1, "True", " yes", "1", "good", "是"])
def test_an_answer_with_a_yes_or_no_is_feedback(label: object) -> None:
    for row in ({"messages": PAIR}, {"prompt": "Where?", "completion": "Here."}):
        assert detect([{**row, "label": label}]) == "feedback"
        assert normalise({**row, "label": label}, "feedback") == {"messages": PAIR, "label": True}
    assert normalise({"messages": PAIR, "kto_tag": False}, "feedback")["label"] is False


def test_a_label_that_is_no_verdict_leaves_a_conversation_what_it_is() -> None:
    row = {"question": "Where?", "answer": "Here.", "label": "geography"}
    assert detect([row]) == "question_answer"
    assert normalise(row, "question_answer") == {"messages": PAIR}
    with pytest.raises(Unusable) as caught:
        normalise(row, "feedback")
    assert caught.value.reason == "datasets.not_truth"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["not", "an", "object"], "not_object"),
        ({"text": "x"}, "missing_column"),
        ({"messages": []}, "no_turns"),
        ({"messages": "{"}, "not_json"),
        ({"messages": 3}, "not_text"),
        ({"messages": [{"role": "user"}]}, "missing_column"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "unknown_role"),
        ({"messages": [PAIR[1], PAIR[0]]}, "role_order"),
        ({"messages": [PAIR[0], PAIR[0], PAIR[1]]}, "role_order"),
        ({"messages": [*PAIR, PAIR[0]]}, "last_not_assistant"),
        ({"messages": [PAIR[0], {"role": "assistant", "content": " \n"}]}, "empty_answer"),
        ({"messages": [{"role": "user", "content": ""}, PAIR[1]]}, "empty_question"),
        ({"messages": [PAIR[0], {"role": "assistant", "content": None}]}, "not_text"),
        ({"messages": [PAIR[0], {"role": "assistant", "content": "x" * 100_001}]}, "too_long"),
        ({"messages": [PAIR[0], {"role": "assistant", "content": "bad \ud83d half"}]}, "invalid_unicode"),
        ({"messages": [PAIR[0], {"role": "assistant", "content": "nul \0"}]}, "invalid_unicode"),
    ],
)
def test_a_bad_row_says_why(row: object, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        normalise(row, "messages")
    assert caught.value.reason == f"datasets.{reason}"
