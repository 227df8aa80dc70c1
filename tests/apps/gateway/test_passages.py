"""Citations over HTTP: each names where its passage is shown in its document."""

import json
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import openai
import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import KeyTerms, Person
from engine.billing import service as billing
from engine.flows import edit_chunks, manage_keys
from engine.flows import prepare_knowledge as flow
from engine.kit.database import unit_of_work
from engine.kit.money import CREDIT
from engine.kit.settings import settings
from engine.market.schemas import ExpertView
from tests.support import run_queued_jobs

Gateway = Callable[[Person | None], TestClient]
TEXT = "# 帮助\n\n## 退货\n\n签收后7天内可以退货。\n\n## 发票\n\n可以开具电子发票。"
QUESTION = {"model": "help-desk", "messages": [{"role": "user", "content": "几天内可以退货？"}]}


@pytest.fixture
def base_ids(developer: Person) -> list[str]:
    base = flow.create_base(developer, name="帮助", language="zh")
    flow.add_document(developer, base.id, "帮助.md", TEXT.encode())
    flow.start(developer, base.id)
    run_queued_jobs()
    return [base.id]


def asked(client: TestClient, person: Person) -> dict[str, object]:
    """Return the first citation of a paid answer."""
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=person.tenant_id, amount_micro=10 * CREDIT, key="f", by=person.id)
    first: dict[str, object] = client.post("/v1/chat/completions", json=QUESTION).json()["citations"][0]
    return first


def test_a_citation_leads_to_its_passage_in_its_document(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    client = gateway(consumer)
    cited = asked(client, consumer)
    url = urlsplit(str(cited["url"]))
    assert f"{url.scheme}://{url.netloc}" == settings().gateway_url
    shown = client.get(url.path).json()
    for name in ("document", "document_id", "chunk_id", "heading", "page", "text", "start", "end"):
        assert shown[name] == cited[name], name
    assert shown["before"] + shown["passage"] + shown["after"] == TEXT and shown["length"] == len(TEXT)
    assert shown["passage"] == TEXT[shown["start"] : shown["end"]] == shown["text"]
    assert shown["edited"] is False


def test_a_stream_names_the_same_address_and_a_key_opens_it(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    client = gateway(consumer)
    whole = asked(client, consumer)
    streamed = client.post("/v1/chat/completions", json={**QUESTION, "stream": True}).text
    (first,) = json.loads(streamed.splitlines()[0].removeprefix("data: "))["citations"][:1]
    assert first == whole
    _, secret = manage_keys.create_key(consumer, KeyTerms(name="reader"))
    by_key = gateway(None).get(str(first["url"]), headers={"Authorization": f"Bearer {secret}"})
    assert by_key.status_code == 200 and by_key.json()["document"] == "帮助.md"


def test_the_official_client_gets_the_address_beside_its_own_fields(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    cited = asked(gateway(consumer), consumer)
    _, secret = manage_keys.create_key(consumer, KeyTerms(name="reader"))
    with openai.OpenAI(
        base_url="http://testserver/v1", api_key=secret, max_retries=0, http_client=gateway(None)
    ) as client:
        answer = client.chat.completions.create(**QUESTION)  # type: ignore[call-overload]
        assert answer.model_extra["citations"][0] == cited
        first = next(iter(client.chat.completions.create(**QUESTION, stream=True)))  # type: ignore[call-overload]
        assert first.model_extra["citations"][0]["url"] == cited["url"]
        with pytest.raises(openai.NotFoundError):
            client.get("/models/help-desk/passages/x", cast_to=object)


def test_an_edited_passage_says_so_and_hides_what_was_edited_away(
    gateway: Gateway, developer: Person, consumer: Person, published: ExpertView, base_ids: list[str]
) -> None:
    client = gateway(consumer)
    cited = asked(client, consumer)
    edit_chunks.edit_chunk(developer, base_ids[0], str(cited["chunk_id"]), "签收后30天内可以退货。")
    shown = client.get(str(cited["url"])).json()
    assert shown["edited"] and shown["text"] == shown["passage"] and "30天" in shown["text"]
    assert "7天" not in shown["before"] + shown["passage"] + shown["after"]


def test_what_is_no_passage_of_the_expert_is_not_found(
    gateway: Gateway, developer: Person, consumer: Person, published: ExpertView, base_ids: list[str]
) -> None:
    client = gateway(consumer)
    cited = asked(client, consumer)
    url, chunk_id = str(cited["url"]), str(cited["chunk_id"])
    assert gateway(None).get(url).status_code == 401
    for made_up in ("x", "%00", quote("ch_\0"), quote("é" * 500), "%ff"):
        answer = client.get(f"/v1/models/help-desk/passages/{made_up}")
        assert answer.status_code == 404, made_up
        assert answer.json()["error"]["code"] == "chat.unknown_passage"
        assert client.get(f"/v1/models/{made_up}/passages/{chunk_id}").status_code == 404, made_up
    assert client.get(f"/v1/models/nobody/passages/{chunk_id}").json()["error"]["param"] == "model"
    edit_chunks.set_enabled(developer, base_ids[0], chunk_id, False)
    gone = client.get(url)
    assert gone.status_code == 404 and gone.json()["error"]["param"] == "chunk_id"
    assert "Ask the question again" in gone.json()["error"]["message"]


def test_an_answer_can_be_kept_to_labelled_documents(
    gateway: Gateway, developer: Person, consumer: Person, published: ExpertView, base_ids: list[str]
) -> None:
    client = gateway(consumer)
    assert asked(client, consumer)["document"] == "帮助.md"
    flow.add_document(developer, base_ids[0], "新规.md", "签收后30天内可以退货。".encode())
    flow.start(developer, base_ids[0])
    run_queued_jobs()
    flow.label_document(developer, flow.documents(developer, base_ids[0])[1].id, ["2026"])
    narrowed = QUESTION | {"knowledge": {"labels": ["2026"]}}
    cited = client.post("/v1/chat/completions", json=narrowed).json()["citations"]
    assert [one["document"] for one in cited] == ["新规.md"]
    refused = client.post("/v1/chat/completions", json=QUESTION | {"knowledge": {"labels": ["1999"]}})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "labels"
    misspelt = client.post("/v1/chat/completions", json=QUESTION | {"knowledge": {"label": ["2026"]}})
    assert misspelt.status_code == 400 and "knowledge.label" in misspelt.json()["error"]["param"]
