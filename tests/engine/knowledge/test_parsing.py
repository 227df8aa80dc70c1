import time
from pathlib import Path

import psutil
import pytest

from engine.kit.errors import BadInput
from engine.kit.settings import settings
from engine.knowledge.parsing import parse
from tests.engine.knowledge import files

# Rows that keep the reader busy for many seconds and many megabytes.
HEAVY = files.workbook(("a", [[f"cell {n} {m}" for m in range(20)] for n in range(20_000)]))


def go_on() -> None:
    pass


def test_a_file_is_read_in_another_process_and_tells_where_its_pages_begin(home: Path) -> None:
    found = parse(files.slides(), ".pptx", go_on)
    assert found.page_starts is not None and len(found.page_starts) == 2
    assert found.text[found.page_starts[1] :].startswith("# 价格")
    assert parse(files.word(), ".docx", go_on).page_starts is None
    assert list((home / "tmp").iterdir()) == []


def test_what_is_wrong_with_a_file_comes_back_as_words(home: Path) -> None:
    with pytest.raises(BadInput) as caught:
        parse(files.scan(), ".pdf", go_on)
    assert "OCR" in caught.value.message("en") and "OCR" in caught.value.message("zh")


@pytest.mark.parametrize(
    ("name", "value"), [("MBE_PARSE_SECONDS", "1"), ("MBE_PARSE_MEMORY", str(60 * 2**20))]
)
def test_a_file_that_takes_too_much_is_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    settings.cache_clear()
    with pytest.raises(BadInput) as caught:
        parse(HEAVY, ".xlsx", go_on)
    assert caught.value.key == "knowledge.parse_limit"
    assert list((home / "tmp").iterdir()) == []


def test_a_stop_ends_the_process_that_reads(home: Path) -> None:
    began = time.monotonic()

    def stop() -> None:
        if time.monotonic() - began > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parse(HEAVY, ".xlsx", stop)
    assert time.monotonic() - began < 5
    assert not [child for child in psutil.Process().children() if "parsers" in " ".join(child.cmdline())]
