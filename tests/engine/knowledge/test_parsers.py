from datetime import datetime
from pathlib import Path

import pytest

from engine.knowledge.parsers import result
from tests.engine.knowledge import files

PRICES = "| Model | Price |\n| --- | --- |\n| K100 | 39.90 |\n| K200 | 59.90 |"


def read(tmp_path: Path, suffix: str, data: bytes | str) -> list[str]:
    found = result(suffix, saved(tmp_path, suffix, data))
    assert "error" not in found, found
    pages: list[str] = found["pages"]
    return pages


def refused(tmp_path: Path, suffix: str, data: bytes | str) -> str:
    return str(result(suffix, saved(tmp_path, suffix, data))["error"])


def saved(tmp_path: Path, suffix: str, data: bytes | str) -> Path:
    file = tmp_path / f"file{suffix}"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def test_a_pdf_keeps_pages_headings_tables_and_lists_without_its_running_heads(tmp_path: Path) -> None:
    first, second, third = read(tmp_path, ".pdf", files.pdf())
    heading, paragraph, table, after = first.split("\n\n")
    assert (heading, table, after) == ("# Returns", PRICES, "Prices hold until May.")
    assert paragraph.count("five working days after the parcel has arrived at our warehouse.") == 3
    assert second == f"# 保修政策\n\n{files.CHINESE}"
    assert third == "## Delivery\n\n- We deliver on weekdays.\n\n- Islands take two days more."


def test_the_columns_of_a_pdf_are_read_one_after_the_other(tmp_path: Path) -> None:
    assert read(tmp_path, ".pdf", files.columns()) == [
        "Tea is grown on the hills of the north. It is picked by hand and dried in the sun. "
        "Coffee grows in the south, where it is warmer."
    ]


def test_a_scan_a_locked_and_a_damaged_pdf_are_told_apart(tmp_path: Path) -> None:
    assert refused(tmp_path, ".pdf", files.scan()) == "knowledge.scanned_pdf"
    assert refused(tmp_path, ".pdf", files.pdf(password="secret")) == "knowledge.locked_pdf"
    assert refused(tmp_path, ".pdf", files.pdf()[:1000]) == "knowledge.damaged_file"


def test_a_word_document_keeps_headings_lists_and_tables(tmp_path: Path) -> None:
    assert read(tmp_path, ".docx", files.word()) == [
        "# Staff handbook\n\n# Leave\n\nEvery employee has twenty-five days of leave.\n\n"
        "- Ask your lead.\n- Enter it in the calendar.\n\n"
        "| 年 | 天数 |\n| --- | --- |\n| 第一年 | 25 |"
    ]


def test_each_slide_is_a_page_with_its_notes(tmp_path: Path) -> None:
    assert read(tmp_path, ".pptx", files.slides()) == [
        "# Roadmap 2027\n\n- Spring: beta\n- Autumn: launch\n\nMention the budget.",
        f"# 价格\n\n{PRICES}",
    ]


def test_each_sheet_is_a_heading_and_each_block_of_rows_a_table(tmp_path: Path) -> None:
    rows = [
        ["Model", "Price"],
        ["K|100", 39.9],
        [],
        ["City", None, "Since"],
        ["北京", None, datetime(2026, 1, 2)],
    ]
    data = files.workbook(("Prices", rows), ("Empty", []))
    assert read(tmp_path, ".xlsx", data) == [
        "# Prices\n\n| Model | Price |\n| --- | --- |\n| K/100 | 39.9 |\n\n"
        "| City | Since |\n| --- | --- |\n| 北京 | 2026-01-02 |"
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_and_the_encoding_of_a_csv_are_found(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    text = separator.join(["名称", "价格"]) + "\n" + separator.join(["绿茶", "35"]) + "\n"
    assert read(tmp_path, ".csv", text.encode(encoding)) == ["| 名称 | 价格 |\n| --- | --- |\n| 绿茶 | 35 |"]


def test_a_web_page_gives_what_it_says_and_nothing_around_it(tmp_path: Path) -> None:
    page = """<html><head><title>Shop</title><script>alert(1)</script></head><body>
    <nav>Home | About</nav><main><p>We <b>open</b> at <a href="/x">nine</a>.</p><p hidden>Not shown</p>
    <ul><li>Mon</li><li>Tue</li></ul></main><footer>All rights reserved</footer></body></html>"""
    assert read(tmp_path, ".html", page) == ["# Shop\n\nWe open at nine.\n\n- Mon\n- Tue"]


def test_a_web_page_in_another_encoding_says_so_itself(tmp_path: Path) -> None:
    page = '<html><head><meta charset="gb2312"></head><body><p>营业时间九点</p></body></html>'
    assert read(tmp_path, ".html", page.encode("gb2312")) == ["营业时间九点"]


@pytest.mark.parametrize("suffix", [".docx", ".pptx", ".xlsx"])
@pytest.mark.parametrize("data", [b"PK\x03\x04 and no more", files.workbook(("a", [["b"]]))[:-40]])
def test_damaged_office_files_say_so(tmp_path: Path, suffix: str, data: bytes) -> None:
    assert refused(tmp_path, suffix, data) == "knowledge.damaged_file"


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.knowledge.parsers.LARGEST_UNPACKED", 1000)
    assert refused(tmp_path, ".xlsx", files.workbook(("a", [["b"]]))) == "knowledge.parse_limit"


@pytest.mark.parametrize(
    ("suffix", "data"), [(".csv", ",,\n,,"), (".html", "<body><script>x</script></body>")]
)
def test_a_file_that_says_nothing_says_so(tmp_path: Path, suffix: str, data: str) -> None:
    assert refused(tmp_path, suffix, data) == "knowledge.no_text_inside"
