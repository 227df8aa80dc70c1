"""The telling words of a question, and how much of them a passage holds. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

ALONE = 0.5  # what a Chinese character counts that a passage has, but next to other characters

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
_RUN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:['’][^\W_{_CJK}]+)?")
_FIRST_CJK = "\u3040"
_STOP_WORDS = """
    a about after all also am an and any are as at be been before but by can cannot could did do does
    doing done for from get give had has have he her hers him his how i if in into is it its it's just
    let like make many may me might more most much must my need no not of off on one only or our out
    over own per please possible say shall she should so some such take tell than that the their them
    then there these they this those to too under up us use very want was we were what what's when where
    whether which while who whom whose why will with within without would yes yet you your thanks thank
    hello hi okay ok long ever
"""
_STOP = frozenset(_STOP_WORDS.split())
# What only asks, and says nothing about what is asked for.
_ASKING = (
    "请问|什么时候|什么样|什么|怎么样|怎么办|怎么|怎样|如何|多少钱|多少|多长时间|多久|多大|多长|哪些|哪个|哪里|哪儿|哪种"
    "|为什么|是不是|有没有|能不能|可不可以|可以|能够|需要|应该|告诉我|我们|你们|他们|它们|一下|一共|总共|大概|大约"
    "|还有|那么|这个|那个|这些|那些|几个|几天|我想|想问|知道|谢谢|你好|您好"
)
_ASKING_WORDS = re.compile(
    rf"\b(?:what|which|who|whom|whose|when|where|why|how|many|much|does|did|do)\b|{_ASKING}"
)
_STOP_PHRASES = re.compile(f"{_ASKING}|请|您|吗|呢|啊|吧|嘛|呀|么|的|了|是|它|他|她|我|你|几")
_FOLLOW_UP = re.compile(
    r"\s*(?:and|but|or|what about|how about|what if|then|also|is it|does it)\b"
    r"|.*\b(?:it|its|they|them|their|that|those|this|these|one|ones|he|she|there)\b"
    r"|\s*(?:那|还有|另外|然后|如果|要是)|.*(?:它|他们|她|这个|那个|这些|那些|这款|那款|其中|呢[？?]?\s*$)",
    re.IGNORECASE | re.DOTALL,
)


def normalise(text: str) -> str:
    """Return `text` in one form for comparing: full-width letters as plain ones, lower case."""
    return unicodedata.normalize("NFKC", text).lower()


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return an English word without its plural or verb ending; both sides are treated alike."""
    word = word.removesuffix("'s").removesuffix("’s")
    for ending, instead in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    return word.removesuffix("e") if len(word) > 3 else word


def is_cjk(run: str) -> bool:
    """Return whether a run is of Chinese, Japanese or Korean characters."""
    return run[0] >= _FIRST_CJK


def runs(text: str) -> list[str]:
    """Return the words of `text` in order, and its CJK runs without function words between them."""
    found: list[str] = []
    for run in _RUN.findall(normalise(text)):
        if is_cjk(run):
            found += _STOP_PHRASES.sub(" ", run).split()
        else:
            found.append(run)
    return found


def terms(text: str) -> list[str]:
    """Return the telling terms of a question, once each: stems of words, and Chinese 2-grams."""
    found: dict[str, None] = {}
    for run in runs(text):
        if is_cjk(run):
            grams = [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]
            found.update(dict.fromkeys(grams))
        elif run not in _STOP:
            found[stem(run)] = None
    return list(found)


def sought(question: str) -> str:
    """Return what full-text search should look for: the question without the words that only ask.

    Single function characters stay: they may be part of a name, and BM25 weighs them by itself.
    """
    rest = " ".join(_ASKING_WORDS.sub(" ", normalise(question)).split())
    return rest if terms(rest) else question


def is_follow_up(question: str) -> bool:
    """Return whether a question says too little to be searched without the one before it."""
    telling = len(terms(question))
    return telling < 2 or (telling <= 3 and _FOLLOW_UP.match(question) is not None)


def shares(question: str, passages: Sequence[str]) -> list[float]:
    """Return for each passage the share (0 to 1) of the question that it holds.

    A word counts when the passage has it in any form, a Chinese character when the passage has it
    together with a neighbour, and half when it stands there alone: no dictionary tells where words
    end. Both are weighted by rarity among `passages`, as BM25 weighs them:
    ln(1 + (N - df + 0.5) / (df + 0.5)), where half a character counts half in df.
    """
    wanted = _parts(question)
    if not wanted or not passages:
        return [0.0] * len(passages)
    held = np.array([_held(wanted, passage) for passage in passages])
    df = held.sum(axis=0)
    weights = np.log1p((len(passages) - df + 0.5) / (df + 0.5))
    found: list[float] = (held @ weights / weights.sum()).tolist()
    return found


def _parts(question: str) -> list[tuple[str, ...]]:
    """Return the stems of the question's telling words, and its characters with their pairs, once each."""
    found: dict[tuple[str, ...], None] = {}
    for run in runs(question):
        if is_cjk(run):
            pairs = [run[i : i + 2] for i in range(len(run) - 1)]
            for i, character in enumerate(run):
                found[(character, *pairs[max(i - 1, 0) : i + 1])] = None
        elif run not in _STOP:
            found[(stem(run),)] = None
    return list(found)


def _held(wanted: Sequence[tuple[str, ...]], passage: str) -> list[float]:
    text = normalise(passage)
    words = {stem(run) for run in _RUN.findall(text) if not is_cjk(run)}
    return [_credit(part, text, words) for part in wanted]


def _credit(part: tuple[str, ...], text: str, words: set[str]) -> float:
    first, *pairs = part
    if not is_cjk(first):
        return float(first in words)
    if not pairs or any(pair in text for pair in pairs):
        return float(first in text)
    return ALONE if first in text else 0.0
