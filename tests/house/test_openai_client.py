"""The official client and LangChain's against the real gateway, unchanged."""

import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.house.conftest import House, top_up


@pytest.fixture
def secret(house: House, expert: str) -> str:
    consumer = house.enter("consumer")
    top_up(consumer)
    return str(consumer.post("/api/keys", json={"name": "a client"}).json()["secret"])


@pytest.fixture
def client(house: House, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{house.gateway}/v1", api_key=secret, max_retries=0)


@pytest.fixture
def chain(house: House, expert: str, secret: str) -> ChatOpenAI:
    where = f"{house.gateway}/v1"
    return ChatOpenAI(model=expert, base_url=where, api_key=SecretStr(secret), temperature=0, max_retries=0)


def test_models_and_answers(expert: str, client: openai.OpenAI) -> None:
    assert expert in [one.id for one in client.models.list()]
    answer = client.chat.completions.create(
        model=expert, messages=[{"role": "user", "content": "How long do returns take?"}]
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.completion_tokens > 0


def test_a_stream_gives_the_same_words_and_usage_last(expert: str, client: openai.OpenAI) -> None:
    question = [{"role": "user", "content": "How long do returns take?"}]
    whole = client.chat.completions.create(model=expert, messages=question)  # type: ignore[arg-type]
    chunks = list(
        client.chat.completions.create(
            model=expert,
            messages=question,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_an_unknown_model_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "hello"}])


def test_a_wrong_key_is_an_authentication_error(house: House) -> None:
    stranger = openai.OpenAI(base_url=f"{house.gateway}/v1", api_key="mbe-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_langchain_answers_and_streams_the_same_words(chain: ChatOpenAI) -> None:
    question = "How long do returns take?"
    whole = chain.invoke(question)
    assert whole.text
    assert whole.usage_metadata is not None and whole.usage_metadata["output_tokens"] > 0
    chunks = [chunk for chunk in chain.stream(question) if isinstance(chunk, AIMessageChunk)]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    told = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert told and told[-1]["output_tokens"] == whole.usage_metadata["output_tokens"]


def test_langchain_embeds(house: House) -> None:
    developer = house.enter("developer")
    secret = developer.post("/api/keys", json={"name": "embeddings"}).json()["secret"]
    # With the check it would fetch a tokenizer of OpenAI's from the internet.
    texts = OpenAIEmbeddings(
        model="ngram",
        base_url=f"{house.gateway}/v1",
        api_key=SecretStr(secret),
        check_embedding_ctx_length=False,
        max_retries=0,
    )
    returns, tents = texts.embed_documents(["How long do returns take?", "A tent for two people."])
    asked = texts.embed_query("How long do returns take?")
    assert len(asked) == len(returns) == len(tents)
    assert sum(a * b for a, b in zip(asked, returns, strict=True)) > sum(
        a * b for a, b in zip(asked, tents, strict=True)
    )
