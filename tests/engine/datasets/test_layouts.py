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
    assert normalise(row, layout) == PAIR


def test_instruction_and_input_are_joined_and_system_goes_first() -> None:
    row = {"instruction": "Sum up.", "input": "A long text.", "output": "Short.", "system": "Be brief."}
    assert normalise(row, "instruction") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum up.\nA long text."},
        {"role": "assistant", "content": "Short."},
    ]


def test_the_layout_of_most_rows_wins() -> None:
    assert detect([{"junk": 1}, {"question": "a", "answer": "b"}]) == "question_answer"
    assert detect([{"text": "a"}, {"prompt": "a", "chosen": "b"}]) is None


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
