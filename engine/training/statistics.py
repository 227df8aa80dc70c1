"""How rows of training data are distributed: turns, lengths, languages."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from engine.kit.prompts import detect_language
from engine.training.schemas import RowStatistics, Spread


def row_statistics(path: Path) -> RowStatistics:
    """Return the statistics of a file of JSON lines `{"messages": [...]}` with at least one line."""
    turns: list[int] = []
    prompts: list[int] = []
    answers: list[int] = []
    languages: Counter[str] = Counter()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            messages = json.loads(line)["messages"]
            said = [len(m["content"]) for m in messages if m["role"] == "assistant"]
            answers += said
            prompts.append(sum(len(m["content"]) for m in messages) - sum(said))
            turns.append(sum(m["role"] != "system" for m in messages))
            languages[detect_language(messages[-1]["content"][:400])] += 1
    return RowStatistics(
        rows=len(turns),
        answers=len(answers),
        turns=_spread(turns),
        prompt=_spread(prompts),
        answer=_spread(answers),
        languages=dict(languages.most_common()),
    )


def _spread(values: Sequence[int]) -> Spread:
    ordered = sorted(values)
    return Spread(
        least=ordered[0],
        median=statistics.median(ordered),
        mean=round(statistics.fmean(ordered), 1),
        p95=ordered[min(len(ordered) - 1, len(ordered) * 19 // 20)],
        most=ordered[-1],
    )
