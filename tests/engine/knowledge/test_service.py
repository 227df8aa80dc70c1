import hashlib
import io
import threading

import pytest

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError, NotFound, TooLarge
from engine.kit.settings import settings
from engine.knowledge import adding, service
from engine.knowledge.schemas import BaseView, DocumentView


def new_base(language: str = "en", tenant_id: str = "t1") -> BaseView:
    with unit_of_work() as uow:
        return service.create_base(uow, person_id="p1", tenant_id=tenant_id, name="Help", language=language)


def add(base: BaseView, filename: str, source: bytes) -> DocumentView:
    return adding.add_document(base_id=base.id, tenant_id=base.tenant_id, filename=filename, source=source)


def test_a_base_shows_its_language_embedder_and_counts(db: str) -> None:
    english, chinese = new_base("en"), new_base("zh")
    assert (english.embedder, chinese.embedder) == ("minilm", "ngram")
    add(english, "a.txt", b"One fact.")
    with unit_of_work() as uow:
        newest_first = service.bases(uow, "t1")
    assert [b.id for b in newest_first] == [chinese.id, english.id]
    assert (newest_first[1].documents, newest_first[1].chunks, newest_first[1].indexed_chunks) == (1, 0, 0)


@pytest.mark.parametrize(("name", "language"), [("", "en"), ("  \n", "zh"), ("x" * 81, "en"), ("ok", "fr")])
def test_a_base_needs_a_name_and_a_known_language(db: str, name: str, language: str) -> None:
    with pytest.raises(BadInput), unit_of_work() as uow:
        service.create_base(uow, person_id="p1", tenant_id="t1", name=name, language=language)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_common_encodings_of_chinese_give_the_same_text(db: str, encoding: str) -> None:
    text = "青川冰箱的价格为3699元。\n送货上门，请静置2小时。"
    document = add(new_base("zh"), "说明.txt", text.encode(encoding))
    with unit_of_work() as uow:
        assert service.document_text(uow, document.id, "t1") == text


@pytest.mark.parametrize(
    ("data", "byte"),
    [
        (b"caf\xe9 closed", 3),  # Latin-1
        (b"na\xefve caf\xe9s", 2),  # Latin-1 that GB 18030 could read, as a rare character
        ("好的，今天天气真不错".encode() + b"\xff" + "以及更多".encode(), 30),  # damaged UTF-8
        (b"\xff\xfea\x00b", 4),  # UTF-16 cut in the middle of a character
        (b"%PDF\x00\x01", 4),  # not a text
    ],
)
def test_unreadable_bytes_are_refused_with_their_place(db: str, data: bytes, byte: int) -> None:
    base = new_base()
    with pytest.raises(BadInput) as caught:
        add(base, "a.txt", data)
    assert caught.value.facts["byte"] == byte
    assert str(byte) in caught.value.message("en") and f"第 {byte} 个字节" in caught.value.message("zh")
    assert blobs().keys("knowledge") == []


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\xef\xbb\xbf", "　\n".encode()])
def test_a_file_without_text_is_refused(db: str, data: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        add(new_base(), "empty.md", data)
    assert caught.value.key == "knowledge.empty_file"


@pytest.mark.parametrize("name", ["a.exe", "a", ".txt", "..\\..\\x.exe", "", "a.txt.zip", "../../etc/passwd"])
def test_other_kinds_of_files_are_refused_naming_what_is_accepted(db: str, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        add(new_base(), name, b"text")
    for language in ("en", "zh"):
        assert ".md, .txt, .csv, .docx" in caught.value.message(language)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/notes.txt", "notes.txt"),
        ("C:\\docs\\plan.MD", "plan.MD"),
        ("a\x00b\n\u202ec.txt", "abc.txt"),
        ("说明 书.md", "说明 书.md"),
        ("n" * 300 + ".txt", "n" * 116 + ".txt"),
    ],
)
def test_only_the_clean_base_name_is_kept_and_nothing_is_stored_by_it(db: str, given: str, kept: str) -> None:
    base = new_base()
    document = add(base, given, b"text")
    assert document.name == kept
    assert blobs().keys("knowledge") == [f"knowledge/{base.id}/{document.id}"]


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.pdf", b"PK\x03\x04"), ("a.docx", b"%PDF-1.7"), ("a.xlsx", b"\xd0\xcf\x11\xe0"), ("a.pptx", b"text")],
)
def test_a_file_that_is_another_kind_inside_is_refused(db: str, name: str, data: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        add(new_base(), name, data)
    assert name in caught.value.message("en") and name in caught.value.message("zh")
    assert blobs().keys("knowledge") == []


def test_a_file_over_the_limit_is_refused_without_reading_it_all(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_UPLOAD_LIMIT", str(2 * 2**20))
    settings.cache_clear()
    base = new_base()
    endless = io.BytesIO(b"a" * (50 * 2**20))
    with pytest.raises(TooLarge) as caught:
        adding.add_document(base_id=base.id, tenant_id="t1", filename="big.txt", source=endless)
    assert endless.tell() <= 3 * 2**20
    assert "2 MB" in caught.value.message("en") and "2 MB" in caught.value.message("zh")
    assert blobs().keys("knowledge") == []


def test_the_same_content_twice_is_the_same_document(db: str) -> None:
    base, data = new_base(), b"The price is 5 pounds."
    first, second = add(base, "a.txt", data), add(base, "b.txt", data)
    assert first == second
    assert first.sha256 == hashlib.sha256(data).hexdigest()
    assert add(new_base(), "a.txt", data).id != first.id


def test_two_people_adding_the_same_content_at_once_store_it_once(db: str) -> None:
    base, data = new_base(), b"The price is 5 pounds."
    together = threading.Barrier(4)
    found: list[str] = []

    def run() -> None:
        together.wait()
        found.append(add(base, "a.txt", data).id)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert blobs().keys("knowledge") == [f"knowledge/{base.id}/{found[0]}"]


def test_another_tenant_sees_and_changes_nothing(db: str) -> None:
    base = new_base()
    document = add(base, "a.txt", b"A secret.")
    with unit_of_work() as uow:
        attempts = [
            lambda: service.get_base(uow, base.id, "t2"),
            lambda: service.delete_base(uow, base.id, "t2"),
            lambda: service.documents(uow, base.id, "t2"),
            lambda: service.chunks(uow, base.id, "t2"),
            lambda: service.document_text(uow, document.id, "t2"),
            lambda: service.delete_document(uow, document.id, "t2"),
            lambda: adding.add_document(base_id=base.id, tenant_id="t2", filename="x.txt", source=b"x"),
        ]
        for attempt in attempts:
            with pytest.raises(NotFound):
                attempt()
        assert service.bases(uow, "t2") == []
        assert [d.id for d in service.documents(uow, base.id, "t1")] == [document.id]


def test_deleting_a_document_or_a_base_removes_its_bytes_once_committed(db: str) -> None:
    base = new_base()
    first, second = add(base, "a.txt", b"one"), add(base, "b.txt", b"two")
    with pytest.raises(RuntimeError), unit_of_work() as uow:
        service.delete_document(uow, first.id, "t1")
        raise RuntimeError
    assert len(blobs().keys("knowledge")) == 2
    with unit_of_work() as uow:
        service.delete_document(uow, first.id, "t1")
    assert blobs().keys("knowledge") == [f"knowledge/{base.id}/{second.id}"]
    with unit_of_work() as uow:
        service.delete_base(uow, base.id, "t1")
    assert blobs().keys("knowledge") == []
    with pytest.raises(EngineError), unit_of_work() as uow:
        service.get_base(uow, base.id, "t1")


def test_labels_of_a_document_are_plain_words_once_each(db: str) -> None:
    base = new_base()
    add(base, "a.txt", b"One fact.")
    with unit_of_work() as uow:
        [document] = service.documents(uow, base.id, "t1")
        given = [" two  words ", "x", "x", "\0y"]
        assert service.set_labels(uow, document.id, "t1", given).labels == ["two words", "x", "y"]
        assert service.labels(uow, base.id, "t1") == ["two words", "x", "y"]
        for bad in ([""], ["\ud800"], ["x" * 41], [str(n) for n in range(11)]):
            with pytest.raises(BadInput) as caught:
                service.set_labels(uow, document.id, "t1", bad)
            assert caught.value.field == "labels"
        assert service.get_document(uow, document.id, "t1").labels == ["two words", "x", "y"]
        with pytest.raises(NotFound):
            service.set_labels(uow, document.id, "t2", ["x"])
        assert service.set_labels(uow, document.id, "t1", []).labels == []


def test_a_file_leaves_no_bytes_when_its_base_goes_meanwhile(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = new_base()
    put = blobs().put

    def deleted_meanwhile(key: str, data: bytes) -> None:
        put(key, data)
        with unit_of_work() as uow:
            service.delete_base(uow, base.id, "t1")
        put(key, data)

    with monkeypatch.context() as slow:
        slow.setattr(blobs(), "put", deleted_meanwhile)
        with pytest.raises(NotFound):
            add(base, "a.txt", b"One fact.")
    assert blobs().keys("knowledge") == []


def test_of_two_who_add_the_same_content_at_once_both_get_the_first_document(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, firsts = new_base(), []
    put = blobs().put

    def overtaken(key: str, data: bytes) -> None:
        put(key, data)
        slow.undo()
        firsts.append(add(base, "first.txt", data))

    with monkeypatch.context() as slow:
        slow.setattr(blobs(), "put", overtaken)
        second = add(base, "second.txt", b"One fact.")
    assert [second] == firsts
    assert blobs().keys("knowledge") == [service.blob_key(base.id, second.id)]
