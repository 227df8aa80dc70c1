"""The message catalog: every word a person reads, in English and Chinese.

Texts live in `catalog/<area>.toml`, one table per message: `[key] en = "..." zh = "..."`.
"""

import string
import tomllib
from functools import lru_cache
from pathlib import Path

LANGUAGES = ("en", "zh")
CATALOG = Path(__file__).parent / "catalog"


@lru_cache(maxsize=1)
def catalog() -> dict[str, dict[str, str]]:
    """Return all messages as `{"area.key": {"en": ..., "zh": ...}}`."""
    texts: dict[str, dict[str, str]] = {}
    for path in sorted(CATALOG.glob("*.toml")):
        for key, entry in tomllib.loads(path.read_text("utf-8")).items():
            texts[f"{path.stem}.{key}"] = entry
    return texts


def t(key: str, language: str, /, **facts: object) -> str:
    """Return the text of `key` in `language` ("en" or "zh"), its placeholders filled from `facts`.

    Raises KeyError for an unknown key or a missing fact: a test keeps the catalog whole.
    """
    return catalog()[key]["zh" if language.startswith("zh") else "en"].format(**facts)


def placeholders(text: str) -> set[str]:
    """Return the names in braces of a text."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def pick_language(*wishes: str | None) -> str:
    """Return the first supported language among `wishes` (cookies, profile, Accept-Language), else "en"."""
    for wish in wishes:
        for part in (wish or "").split(","):
            code = part.split(";")[0].strip().lower()[:2]
            if code in LANGUAGES:
                return code
    return "en"
