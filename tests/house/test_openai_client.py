"""The official client against the real gateway, unchanged."""

import openai
import pytest

from tests.house.conftest import House, top_up


@pytest.fixture
def client(house: House, expert: str) -> openai.OpenAI:
    consumer = house.enter("consumer")
    top_up(consumer)
    secret = consumer.post("/api/keys", json={"name": "openai client"}).json()["secret"]
    return openai.OpenAI(base_url=f"{house.gateway}/v1", api_key=secret, max_retries=0)


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
