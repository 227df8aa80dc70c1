"""How well the starter model answers from what it is given, learns, and how fast it speaks.

`python -m benchmarks.starter [--quick] [--json]`. Greedy decoding. The cases have seeds and names that
training never uses. What is measured, in this order:

- generated cases: the right one of 3 to 8 passages, word for word; refusals, right and wrong;
- data/samples: hand-written questions, the whole way with retrieval; the answer holds the gold words;
- XQuAD (Artetxe et al. 2020), where the files are present: the gold paragraph cut to its sentences; the
  baseline is the sentence that BM25 likes best, on the same questions;
- a LoRA fine-tuning on 150 pairs; the baseline is the same model before it, both without passages;
- tokens a second through vLLM: one stream, and sixteen at once with one as the baseline.
"""

import asyncio
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.corpora import TENANT, build, fresh_home, samples, xquad
from benchmarks.rows import Row, report, share
from engine.kit.prompts import REFUSAL, Language, Message, grounded
from engine.kit.settings import REPOSITORY, settings

STARTER = REPOSITORY / "data" / "starter"
LANGUAGES: tuple[Language, ...] = ("en", "zh")
SEED = 20_261_121
CASES, QUICK_CASES = 500, 50
PAIRS_PER_FACT, FACTS = 3, 50
SPOKEN_TOKENS = 128
STREAMS = 16
START_SECONDS = 400


class Starter:
    """The starter model in this process, with an adapter on it or without."""

    def __init__(self, adapter: Path | None = None) -> None:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(STARTER)
        self.model: Any = AutoModelForCausalLM.from_pretrained(STARTER).eval()
        if adapter:
            self.model = PeftModel.from_pretrained(self.model, adapter).eval()

    def answers(self, chats: Sequence[Sequence[Message]]) -> list[str]:
        """Return the likeliest answer to each conversation."""
        from engine.training.starter.evaluate import answers

        return answers(self.model, self.tokenizer, chats)


def mean(values: Sequence[bool]) -> float:
    """Return the share of true values."""
    return sum(values) / len(values) if values else math.nan


def asked(question: str) -> list[Message]:
    """Return a conversation of one question."""
    return [{"role": "user", "content": question}]


def generated(starter: Starter, cases: int) -> list[Row]:
    """Quote or refuse on generated cases: one-sentence passages, then passages of up to three."""
    from engine.training.starter.text import Level, grounded_case

    rows = []
    for sentences in (1, 3):
        level = Level(fewest=3, passages=8, sentences=sentences, turns=1, refusals=1 / 3)
        for language in LANGUAGES:
            rng = Random(f"{SEED}/{sentences}/{language}")
            chosen = [grounded_case(rng, "held_out", level, language) for _ in range(cases * 3 // 2)]
            said = starter.answers([one.messages()[:-1] for one in chosen])
            told = [(one.turns[-1][1], answer) for one, answer in zip(chosen, said, strict=True)]
            refusal = REFUSAL[language]
            quotes = [(right, answer) for right, answer in told if right != refusal]
            name = f"{language}, 3 to 8 passages of " + ("one sentence" if sentences == 1 else "1 to 3")
            rows += [
                share(f"{name}: right passage", mean([r == a for r, a in quotes]), at_least=0.95),
                share(
                    f"{name}: refuses rightly",
                    mean([a == refusal for right, a in told if right == refusal]),
                    at_least=0.95,
                ),
                _at_most(f"{name}: refuses wrongly", mean([a == refusal for _, a in quotes]), 0.03),
            ]
    return rows


def _at_most(name: str, value: float, limit: float) -> Row:
    return Row(name=name, value=round(value, 3), unit="share", goal=f"<= {limit}", ok=value <= limit)


def sample_bases(starter: Starter) -> list[Row]:
    """Answer the samples' questions as an expert does: retrieval in front, its prompt, the model."""
    from engine.flows import speak

    rows = []
    for language in LANGUAGES:
        corpus = samples(language)
        base_id, _, _ = build(corpus)
        speaker = speak.Speaker(name="base", knowledge_base_ids=(base_id,), knowledge_tenant_id=TENANT)
        prompts = [speak.prompt_for(speaker, asked(one.text)) for one in corpus.questions]
        said = starter.answers([prompt.messages for prompt in prompts])
        held, given, refused = [], [], []
        for question, prompt, answer in zip(corpus.questions, prompts, said, strict=True):
            if question.document is None:
                refused.append(answer == REFUSAL[language] or not prompt.passages)
                continue
            held.append(any(gold in answer for gold in question.answers))
            passages = " ".join(passage.text for passage in prompt.passages)
            given.append(any(gold in passages for gold in question.answers))
        rows += [
            share(f"{corpus.name}: answer holds the gold words", mean(held), at_least=0.85),
            share(f"{corpus.name}: the passages held them", mean(given)),
            share(f"{corpus.name}: unanswerable refused", mean(refused)),
        ]
    return rows


def real_text(starter: Starter, cases: int) -> list[Row]:
    """Answer XQuAD's questions from the sentences of the right paragraph."""
    from engine.knowledge.structure import sentences

    rows = []
    for language in LANGUAGES:
        corpus = xquad(language, None)
        if corpus is None:
            continue
        chosen = Random(SEED).sample(corpus.questions, min(cases, len(corpus.questions)))
        parts = [[text for _, _, text in sentences(corpus.documents[str(one.document)])] for one in chosen]
        said = starter.answers(
            [grounded(asked(one.text), part) for one, part in zip(chosen, parts, strict=True)]
        )
        best = [part[_liked_best(one.text, part)] for one, part in zip(chosen, parts, strict=True)]
        ours, baseline = (
            mean([any(g in text for g in one.answers) for one, text in zip(chosen, texts, strict=True)])
            for texts in (said, best)
        )
        rows.append(share(f"{corpus.name}: answer holds the gold span", ours, baseline=baseline))
    return rows


def _liked_best(question: str, texts: Sequence[str]) -> int:
    """Return the place of the text with the best BM25 score (Robertson et al. 1994; k1 1.2, b 0.75)."""
    from engine.knowledge import lexical

    wanted = lexical.terms(question)
    bags = [Counter(term for run in lexical.runs(text) for term in lexical.terms(run)) for text in texts]
    usual = sum(bag.total() for bag in bags) / len(bags) or 1.0

    def score(bag: Counter[str]) -> float:
        total = 0.0
        for term in wanted:
            df = sum(term in other for other in bags)
            idf = math.log(1 + (len(bags) - df + 0.5) / (df + 0.5))
            total += idf * bag[term] * 2.2 / (bag[term] + 1.2 * (0.25 + 0.75 * bag.total() / usual))
        return total

    return max(range(len(texts)), key=lambda n: score(bags[n]))


class Quiet:
    """A monitor of a training that nobody watches."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def learns(starter: Starter, home: Path) -> list[Row]:
    """Fine-tune on pairs without passages, and ask the same facts in other words."""
    from engine.kit.blobs import blobs
    from engine.training.checkpoints import CheckpointStore, Identity
    from engine.training.recipe import LoraRecipe
    from engine.training.run import train

    pairs, held = _facts()
    rows = [{"messages": [*asked(q), {"role": "assistant", "content": a}]} for q, a in pairs]
    path, empty = home / "pairs.jsonl", home / "none.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    empty.write_text("")
    identity = Identity(data="pairs", recipe="balanced", base="starter")
    started = time.perf_counter()
    outcome = train(
        base=STARTER,
        base_name="starter",
        train_path=path,
        validation_path=empty,
        recipe=LoraRecipe.preset("balanced", len(rows)),
        workdir=home,
        store=CheckpointStore(home / "trainer", blobs(), "checkpoints/benchmark", identity),
        monitor=Quiet(),
    )
    seconds = time.perf_counter() - started
    chats = [asked(question) for question, _ in held]
    before, after = (
        mean([said == right for said, (_, right) in zip(model.answers(chats), held, strict=True)])
        for model in (starter, Starter(outcome.adapter))
    )
    return [
        share(
            f"LoRA on {len(pairs)} pairs: paraphrases answered right", after, at_least=0.8, baseline=before
        ),
        Row(
            name="LoRA: time",
            value=round(seconds),
            unit="s",
            goal="<= 240",
            ok=seconds <= 240,
        ),
    ]


def _facts() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return pairs to learn from and, of the same facts, one question each in words not learned."""
    from engine.training.starter.names import entity
    from engine.training.starter.text import FACTS as BANKS
    from engine.training.starter.text import fact

    rng = Random(SEED)
    pairs: list[tuple[str, str]] = []
    held: list[tuple[str, str]] = []
    while len(held) < FACTS:
        language = rng.choice(LANGUAGES)
        attribute = rng.choice(sorted(BANKS[language].ABOUT))
        made = fact(rng, language, "held_out", attribute, entity(rng, language, "held_out"))
        if len(made.questions) > PAIRS_PER_FACT:
            questions = rng.sample(made.questions, PAIRS_PER_FACT + 1)
            pairs += [(question, made.text) for question in questions[:-1]]
            held.append((questions[-1], made.text))
    return pairs, held


def speed() -> list[Row]:
    """Start vLLM in the home of this run and let it speak."""
    from engine.inference import state
    from engine.inference.client import ModelClient
    from engine.kit.prompts import with_passages

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    os.environ |= {"MBE_INFERENCE": "vllm", "MBE_BASE_MODEL": str(STARTER), "MBE_INFERENCE_PORT": port}
    settings.cache_clear()
    server = subprocess.Popen([sys.executable, "-m", "engine.inference.serve"], cwd=REPOSITORY)
    try:
        deadline = time.monotonic() + START_SECONDS
        while state.status().state != "ready":
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("vLLM did not start; its words are in logs/model-server.log")
            time.sleep(0.5)
        client = ModelClient(settings().model_url, settings().inference_key, running_usage=True)
        # A name repeated is quoted for long; how many tokens come is counted, not assumed.
        prompt = asked(with_passages("Which words?", [f"The words are {'again and ' * 60}again."]))

        async def one() -> int:
            count = 0
            stream = client.stream("base", prompt, max_tokens=SPOKEN_TOKENS, temperature=1.0, seed=1)
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    count = delta.usage.completion_tokens if delta.usage else count
            return count

        async def together(streams: int) -> float:
            started = time.perf_counter()
            counts = await asyncio.gather(*(one() for _ in range(streams)))
            return sum(counts) / (time.perf_counter() - started)

        async def both() -> tuple[float, float]:
            await together(2)
            return await together(1), await together(STREAMS)

        single, many = asyncio.run(both())
    finally:
        server.terminate()
        server.wait(60)
    return [
        Row(name="vLLM: one stream", value=round(single), unit="tokens/s"),
        Row(
            name=f"vLLM: {STREAMS} streams together",
            value=round(many),
            unit="tokens/s",
            baseline=round(single),
            ratio=round(many / single, 2),
        ),
    ]


def measure(quick: bool) -> list[Row]:
    """Measure everything in a home folder of its own, removed at the end."""
    cases = QUICK_CASES if quick else CASES
    with fresh_home() as home:
        starter = Starter()
        rows = [*generated(starter, cases), *sample_bases(starter), *real_text(starter, cases)]
        return [*rows, *learns(starter, home), *speed()]


if __name__ == "__main__":
    report(
        "How well the starter model answers, learns, and how fast it speaks.",
        ("torch", "transformers", "peft", "trl"),
        measure,
    )
