import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.datasets import reading
from engine.kit.errors import BadInput, TooLarge
from engine.kit.settings import settings

ROWS = [{"question": f"问 {n}?", "answer": f"答 {n}"} for n in range(3)]


def values(path: Path, filename: str | None = None) -> list[tuple[int, object]]:
    found = reading.records(reading.inspect(path, filename or path.name))
    return [(record.number, record.problem.reason if record.problem else record.value) for record in found]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        json.dumps({"version": 1, "about": {"a": [1, "]"]}, "data": ROWS, "more": 2}),
        "\ufeff" + json.dumps(ROWS),
        "\n".join(json.dumps(row) for row in ROWS),
    ],
)
def test_json_lists_objects_and_lines(home: Path, tmp_path: Path, content: str) -> None:
    assert values(written(tmp_path, "a.json", content)) == list(enumerate(ROWS, 1))


def test_jsonl_counts_lines_and_reports_broken_ones(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"a": 1}\n\n{"a": \n[1]\n')
    assert values(path) == [(1, {"a": 1}), (3, "datasets.not_json"), (4, [1])]


def test_an_endless_line_is_reported_and_the_next_one_read(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"a": "' + "x" * (reading.WIDEST + 9) + '"}\n{"a": 2}\n')
    assert values(path) == [(1, "datasets.too_long"), (2, {"a": 2})]


def test_a_json_list_broken_in_the_middle_gives_what_stands_before(home: Path, tmp_path: Path) -> None:
    assert values(written(tmp_path, "a.json", '[{"a": 1}, {"a": 2} {"a": 3}]')) == [
        (1, {"a": 1}),
        (2, {"a": 2}),
        (3, "datasets.broken_tail"),
    ]
    assert values(written(tmp_path, "b.json", '[{"a": 1}, {"a": ')) == [
        (1, {"a": 1}),
        (2, "datasets.broken_tail"),
    ]


def test_csv_counts_lines_through_quoted_line_breaks(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'question;answer\n"one\ntwo";x\n\nthree;y\nfour;z;more\n')
    assert values(path) == [
        (2, {"question": "one\ntwo", "answer": "x"}),
        (5, {"question": "three", "answer": "y"}),
        (6, "datasets.column_count"),
    ]


def test_parquet(home: Path, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == list(enumerate(ROWS, 1))
    with pytest.raises(BadInput) as caught:
        values(written(tmp_path, "b.parquet", b"PAR1 nonsense"))
    assert caught.value.key == "datasets.not_parquet"


def test_encodings(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "问题,答案\n几点？,九点\n".encode("gb18030"))
    assert reading.inspect(path, path.name).encoding == "gb18030"
    assert values(path) == [(2, {"问题": "几点？", "答案": "九点"})]
    with pytest.raises(BadInput) as caught:
        reading.inspect(written(tmp_path, "b.csv", b"question,answer\nok,ok\nbad \xff\xff,x\n"), "b.csv")
    assert caught.value.facts["line"] == 3


@pytest.mark.parametrize(
    ("filename", "clean"),
    [
        ("../../etc/rows.json", "rows.json"),
        ("C:\\data\\rows.json", "rows.json"),
        ("ro\x00w\n\x1bs.json", "rows.json"),
    ],
)
def test_file_names_are_cleaned(filename: str, clean: str) -> None:
    assert reading.clean_name(filename) == clean


@pytest.mark.parametrize("filename", ["", "..", "a/..", "\x00", "x" * 300 + ".json"])
def test_unusable_file_names_are_refused(filename: str) -> None:
    with pytest.raises(BadInput):
        reading.clean_name(filename)


def test_size_suffix_and_emptiness_are_checked_before_reading(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput) as caught:
        reading.inspect(written(tmp_path, "a.json", ""), "a.json")
    assert caught.value.key == "datasets.empty_file"
    with pytest.raises(BadInput) as caught:
        reading.inspect(written(tmp_path, "a.exe", "x"), "a.exe")
    assert caught.value.key == "datasets.wrong_suffix"
    monkeypatch.setenv("MBE_UPLOAD_LIMIT", "10")
    settings.cache_clear()
    with pytest.raises(TooLarge):
        reading.inspect(written(tmp_path, "b.json", b"\xff" * 11), "b.json")


@pytest.mark.parametrize("content", ["3", '"text"', '{"rows": []}', "{", "hello", '{"data": 3}'])
def test_json_without_a_list_is_refused(home: Path, tmp_path: Path, content: str) -> None:
    with pytest.raises(BadInput) as caught:
        values(written(tmp_path, "a.json", content))
    assert caught.value.key == "datasets.no_list"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(json_values, max_size=8), st.integers(1, 7), st.booleans(), st.sampled_from([None, 1]))
def test_any_json_list_is_read_back_at_any_buffer_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list, piece: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(rows, ensure_ascii=ascii_only, indent=indent)
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(text, "utf-8", errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch, path.open(encoding="utf-8", errors="surrogatepass") as file:
        patch.setattr(reading, "PIECE", piece)
        assert [record.value for record in reading._array(file, "a.json")] == rows
