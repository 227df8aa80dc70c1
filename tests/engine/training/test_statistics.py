import json
from pathlib import Path

from engine.training.statistics import row_statistics


def test_turns_lengths_and_languages_are_counted(tmp_path: Path) -> None:
    def turn(role: str, content: str) -> dict[str, str]:
        return {"role": role, "content": content}

    rows = [
        [turn("system", "Be kind"), turn("user", "Hi"), turn("assistant", "Hello")],
        [turn("user", "价格?"), turn("assistant", "十元")],
        [turn("user", "a"), turn("assistant", "bb"), turn("user", "c"), turn("assistant", "dddd")],
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), "utf-8")
    found = row_statistics(path)
    assert (found.rows, found.answers) == (3, 4)
    assert (found.turns.least, found.turns.median, found.turns.most) == (2, 2, 4)
    assert (found.answer.least, found.answer.mean, found.answer.most) == (2, 3.2, 5)
    assert (found.prompt.least, found.prompt.most, found.prompt.p95) == (2, 9, 9)
    assert found.languages == {"en": 2, "zh": 1}
