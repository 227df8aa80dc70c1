import ast
from pathlib import Path

import pytest

from engine.kit.messages import LANGUAGES, catalog, pick_language, placeholders, t
from engine.kit.settings import REPOSITORY

SOURCES = [p for part in ("engine", "apps", "studio", "arena") for p in (REPOSITORY / part).rglob("*.py")]


@pytest.mark.parametrize("key", sorted(catalog()))
def test_every_message_is_in_both_languages_with_the_same_facts(key: str) -> None:
    entry = catalog()[key]
    assert set(entry) == set(LANGUAGES)
    assert placeholders(entry["en"]) == placeholders(entry["zh"])
    assert all(text.strip() for text in entry.values())


def literal_keys(path: Path) -> set[str]:
    """Return the message keys that a file names: first argument of `t` and of errors."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            key = node.args[0].value
            errors = {"BadInput", "Conflict", "Forbidden", "NotFound", "NotReady", "NotSignedIn", "TooLarge"}
            named = name in {"t", "UpstreamFailed", "InsufficientCredit", *errors}
            if named and isinstance(key, str) and "." in key:
                found.add(key)
    return found


def test_every_key_that_the_code_names_exists() -> None:
    named = {key for path in SOURCES for key in literal_keys(path)}
    assert named - set(catalog()) == set()


def test_a_text_is_filled_in_the_wanted_language() -> None:
    assert t("money.unit", "en", amount="1.00") == "1.00 credits"
    assert t("money.unit", "zh-CN", amount="1.00") == "1.00 点"


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        (("zh", "en"), "zh"),
        ((None, "fr-FR,zh-CN;q=0.8"), "zh"),
        (("", "fr"), "en"),
        (("en-GB",), "en"),
    ],
)
def test_the_first_language_we_speak_is_chosen(wishes: tuple[str | None, ...], language: str) -> None:
    assert pick_language(*wishes) == language
