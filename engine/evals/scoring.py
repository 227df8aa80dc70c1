"""Comparing texts: exact, contained, or close, for English and Chinese alike. Pure.

ROUGE-L is Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), with beta = 1.
"""

import math
import re
import unicodedata
from collections.abc import Sequence

# Words, numbers with their decimals, and each Chinese, Japanese or Korean character on its own.
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]"
    r"|\d+(?:[.,]\d+)*"
    r"|[^\W\d_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+"
)


def tokens(text: str) -> list[str]:
    """Return the tokens of `text` after NFKC and case folding; white space and punctuation fall away."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def exact(answer: str, expected: str) -> bool:
    """Return whether both say the same, letter for letter and digit for digit."""
    return "".join(tokens(answer)) == "".join(tokens(expected))


def contains(answer: str, expected: str) -> bool:
    """Return whether the tokens of `expected` stand in `answer` in one run. Nothing contains no tokens."""
    whole, part = tokens(answer), tokens(expected)
    starts = range(len(whole) - len(part) + 1) if part else ()
    return any(whole[at : at + len(part)] == part for at in starts)


def rouge_l(answer: str, expected: str) -> float:
    """Return the ROUGE-L F1 score between 0 and 1, on tokens."""
    ours, theirs = tokens(answer), tokens(expected)
    if not ours or not theirs:
        return float(ours == theirs)
    common = _longest_common(ours, theirs)
    return 2 * common / (len(ours) + len(theirs))


def _longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, in memory of one row."""
    row = [0] * (len(other) + 1)
    for left in one:
        diagonal = 0
        for n, right in enumerate(other, 1):
            above = row[n]
            row[n] = diagonal + 1 if left == right else max(above, row[n - 1])
            diagonal = above
    return row[-1]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that `share` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
