"""Upload, index, train, test, review, publish, top up, ask, pay, judge: told with real figures."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import openai
from rich.console import Console
from rich.progress import Progress

from engine.demo import house
from engine.demo.people import Caller, bars
from engine.kit.errors import Conflict
from engine.kit.money import format_credits
from engine.kit.prompts import REFUSAL
from engine.kit.settings import REPOSITORY, settings

SAMPLES = REPOSITORY / "data" / "samples"
LANGUAGES = ("en", "zh")
Story = dict[str, Any]


def tell(console: Console, *, price: str) -> Story:
    """Do the main job once and return what happened.

    `price` is credits per 1,000 tokens, in and out.
    """
    begun = time.monotonic()
    told: Story = {}
    with house.running(console), bars(console) as progress:
        developer = Caller("developer")
        base_id = _prepare_knowledge(developer, progress, told)
        dataset_id = _import_dialogues(developer, progress, told)
        expert = _train(developer, progress, told, dataset_id, base_id)
        progress.stop()
        house.wait_for_model(console)
        progress.start()
        expert = _publish(developer, Caller("reviewer"), progress, told, expert, price)
        _chat(Caller("consumer"), progress, told, expert)
        # Charged for the last time when its process is gone, a moment after it has succeeded.
        job = developer.get(f"/api/jobs/{told['train'].pop('job')}")
        told["train"]["charged_micro"] = job["charged_micro"]
        _battle(Caller("evaluator"), progress, told, expert)
    told["seconds"] = round(time.monotonic() - begun, 1)
    _print(console, told)
    return told


def sample_files() -> list[Path]:
    """Return the sample documents that the demo uploads."""
    return sorted(path for path in (SAMPLES / "knowledge").rglob("*") if path.suffix in (".md", ".txt"))


def _prepare_knowledge(developer: Caller, progress: Progress, told: Story) -> str:
    base = developer.post(
        "/admin/knowledge", {"name": f"Help centres {time.strftime('%H:%M:%S')}", "language": "mixed"}
    )
    files = sample_files()
    task = progress.add_task("Upload", total=len(files), note="")
    size = 0
    for path in files:
        document = developer.upload(f"/admin/knowledge/{base['id']}/documents", path)
        size += document["size"]
        progress.update(task, advance=1, note=path.name)
    told["upload"] = {"documents": len(files), "bytes": size, "knowledge_base": base["id"]}
    job = developer.post(f"/admin/knowledge/{base['id']}/chunking/start")
    developer.watch(job["id"], progress, "Chunk")
    told["chunks"] = developer.get(f"/admin/knowledge/{base['id']}")["chunks"]
    job = developer.post(f"/admin/knowledge/{base['id']}/indexing/start")
    developer.watch(job["id"], progress, "Index")
    told["index"] = {"chunks": developer.get(f"/admin/knowledge/{base['id']}")["indexed_chunks"]}
    return str(base["id"])


def _import_dialogues(developer: Caller, progress: Progress, told: Story) -> str:
    both = b"".join((SAMPLES / f"dialogues.{language}.jsonl").read_bytes() for language in LANGUAGES)
    task = progress.add_task("Import dialogues", total=1, note="")
    dataset = developer.upload(
        "/admin/datasets", ("dialogues.jsonl", both), name="Help-desk dialogues", on_bad="refuse"
    )
    progress.update(task, advance=1, note=f"{dataset['rows']} rows")
    told["dataset"] = {
        key: dataset[key] for key in ("id", "rows", "train_rows", "validation_rows", "fingerprint")
    }
    return str(dataset["id"])


def _train(
    developer: Caller, progress: Progress, told: Story, dataset_id: str, base_id: str
) -> dict[str, Any]:
    started = developer.post(
        "/admin/training/start",
        {
            "name": "Help desk",
            "dataset_id": dataset_id,
            "kb_ids": [base_id],
            "preset": "quick",
        },
    )
    developer.watch(started["job_id"], progress, "Train a LoRA expert")
    status = developer.get(f"/admin/training/{started['job_id']}/status")
    run, curve = status["run"], [point for point in status["curve"] if point["loss"] is not None]
    told["train"] = {
        "run": run["id"],
        "steps": status["job"]["done"],
        "first_loss": curve[0]["loss"] if curve else None,
        "final_loss": run["final_loss"],
        "eval_loss": run["final_eval_loss"],
        "seconds": status["job"]["result"]["seconds"],
        "job": started["job_id"],
    }
    return next(one for one in developer.get("/api/market/mine") if one["run_id"] == run["id"])


def _publish(
    developer: Caller,
    reviewer: Caller,
    progress: Progress,
    told: Story,
    expert: dict[str, Any],
    price: str,
) -> dict[str, Any]:
    path = f"/api/market/experts/{expert['id']}"
    job = developer.watch(developer.post(f"{path}/test")["id"], progress, "Quality test")
    report = job["result"]
    told["quality"] = {
        key: report[key]
        for key in ("accuracy", "response_p50_ms", "response_p95_ms", "safety", "cases", "passed")
    }
    task = progress.add_task("Submit, review, publish", total=4, note="")
    developer.put(f"{path}/listing", {**LISTING, "input_price": price, "output_price": price})
    progress.update(task, advance=1, note="listing written")
    developer.post(f"{path}/submit")
    progress.update(task, advance=1, note="submitted")
    reviewer.post(f"{path}/review", {"approve": True, "reason": "Answers match the documents."})
    progress.update(task, advance=1, note="approved")
    expert = developer.post(f"{path}/publish")
    progress.update(task, advance=1, note=f"{expert['name']} {expert['version']}")
    told["published"] = {
        "model": expert["name"],
        "version": expert["version"],
        "state": expert["state"],
        "input_price_micro": expert["input_price_micro"],
        "output_price_micro": expert["output_price_micro"],
    }
    return dict(expert)


LISTING = {
    "title": "Help desk of two shops",
    "description": "Answers customers of an appliance shop (in Chinese) and an outdoor shop (in English) "
    "from their help centres, and cites the passage.",
    "category": "customer-service",
    "tags": ["help desk", "客服"],
    "example": "How long do I have to return an item?",
}


def questions(language: str) -> list[dict[str, str]]:
    """Return what customers ask in the sample dialogues, each with the answer of the documents as gold."""
    lines = (SAMPLES / f"dialogues.{language}.jsonl").read_text("utf-8").splitlines()
    chats = [json.loads(line)["messages"] for line in lines]
    return [
        {"question": chat[0]["content"], "gold": chat[1]["content"]}
        for chat in chats
        if len(chat) == 2 and chat[1]["content"] not in REFUSAL.values()
    ]


def _chat(consumer: Caller, progress: Progress, told: Story, expert: dict[str, Any]) -> None:
    task = progress.add_task("Top up, ask, pay", total=4, note="")
    consumer.post("/api/wallet/top-up", {"amount": "20", "key": uuid.uuid4().hex})
    secret = consumer.post("/api/keys", {"name": f"demo {time.strftime('%H:%M:%S')}"})
    progress.update(task, advance=1, note="20 credits")
    client = openai.OpenAI(base_url=f"{settings().gateway_url}/v1", api_key=secret["secret"])
    told["chat"] = []
    for language in LANGUAGES:
        question = questions(language)[0]
        told["chat"].append(_ask(client, expert["name"], question))
        progress.update(task, advance=1, note=question["question"])
    receipt = consumer.get(f"/api/receipts/{told['chat'][-1].pop('receipt_id')}")
    told["chat"][0].pop("receipt_id")
    told["receipt"] = {
        key: receipt[key]
        for key in (
            "id",
            "held_micro",
            "charged_micro",
            "returned_micro",
            "developer_micro",
            "platform_micro",
            "usage",
        )
    }
    told["ledger_sum"] = consumer.get("/api/ledger/sum")["sum_micro"]
    consumer.http.delete(f"/api/keys/{secret['id']}")
    progress.update(task, advance=1, note="")


def _ask(client: openai.OpenAI, model: str, question: dict[str, str]) -> dict[str, Any]:
    text, receipt, usage = "", None, None
    citations: list[dict[str, Any]] = []
    begun, first = time.monotonic(), None
    for chunk in client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question["question"]}],
        stream=True,
        stream_options={"include_usage": True},
    ):
        extra = chunk.model_extra or {}
        citations = extra.get("citations", citations)
        receipt, usage = extra.get("receipt", receipt), chunk.usage or usage
        piece = chunk.choices[0].delta.content if chunk.choices else None
        if piece:
            first = first or time.monotonic()
            text += piece
    return {
        "question": question["question"],
        "answer": text,
        "holds_gold": question["gold"] in text,
        "citations": [{"document": one["document"], "text": one["text"]} for one in citations],
        "first_token_ms": round(((first or time.monotonic()) - begun) * 1000),
        "tokens": usage.total_tokens if usage else None,
        "receipt_id": receipt["id"] if receipt else None,
    }


def _battle(evaluator: Caller, progress: Progress, told: Story, expert: dict[str, Any]) -> None:
    task = progress.add_task("Arena battle, blind", total=3, note="")
    question, battle = _first_new_battle(evaluator, expert["name"])
    hidden = battle["left"]["name"] is None and battle["right"]["name"] is None
    progress.update(task, advance=1, note="both answer")
    evaluator.http.post(f"/api/arena/battles/{battle['id']}/stream")
    battle = evaluator.get(f"/api/arena/battles/{battle['id']}")
    holds = {side: question["gold"] in battle[side]["answer"] for side in ("left", "right")}
    verdict = {
        (True, False): "left",
        (False, True): "right",
        (True, True): "tie",
        (False, False): "both_bad",
    }[(holds["left"], holds["right"])]
    progress.update(task, advance=1, note=f"vote: {verdict}")
    battle = evaluator.post(f"/api/arena/battles/{battle['id']}/vote", {"verdict": verdict})
    board = evaluator.get("/api/arena/leaderboard")
    told["battle"] = {
        "hidden_until_vote": hidden,
        "verdict": verdict,
        "left": {key: battle["left"][key] for key in ("name", "answer")},
        "right": {key: battle["right"][key] for key in ("name", "answer")},
        "leaderboard": [
            {"name": row["name"], "rating": round(row["rating"]), "battles": row["battles"]} for row in board
        ],
    }
    progress.update(task, advance=1)


def _first_new_battle(evaluator: Caller, expert: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Start a battle on the first question on which this person has not judged this pair yet."""
    for question in questions("en"):
        body = {"prompt": question["question"], "expert": expert}
        answer = evaluator.http.post("/api/arena/battles", json=body)
        if answer.status_code != 409:
            return question, evaluator.checked(answer)
    raise Conflict("arena.all_pairs_seen")


def _print(console: Console, told: Story) -> None:
    for chat in told["chat"]:
        console.print(f"\n[bold]{chat['question']}[/]\n{chat['answer']}")
        for number, one in enumerate(chat["citations"], 1):
            console.print(f"  [dim]\\[{number}] {one['document']}[/]")
    receipt = told["receipt"]
    amounts = {name: format_credits(receipt[f"{name}_micro"]) for name in AMOUNTS}
    tokens = f"{receipt['usage']['input_tokens']} + {receipt['usage']['output_tokens']} tokens"
    console.print(
        f"\nReceipt {receipt['id']}: held {amounts['held']}, {tokens}, charged {amounts['charged']} "
        f"= developer {amounts['developer']} + platform {amounts['platform']}, "
        f"returned {amounts['returned']} credits"
    )
    console.print(
        f"Quality {told['quality']['accuracy']:.0%} accurate, p95 {told['quality']['response_p95_ms']} ms; "
        f"ledger sum {told['ledger_sum']}; battle: {told['battle']['verdict']} "
        f"({told['battle']['left']['name']} | {told['battle']['right']['name']}); {told['seconds']} s"
    )


AMOUNTS = ("held", "charged", "developer", "platform", "returned")
