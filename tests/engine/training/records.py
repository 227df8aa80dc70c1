"""A training as it is told: everything known of it, for the tests of report, card and registry."""

from typing import Any

from engine.training.recipe import EpochChoice, LoraRecipe
from engine.training.registry import (
    AdapterRecord,
    BaseModelRecord,
    DatasetRecord,
    KnowledgeRecord,
    ResultRecord,
    RunRecord,
)
from engine.training.report import Evaluation, Told
from engine.training.schemas import Point, RowStatistics, Spread

HOSTILE = "<script>alert(1)</script> \"&' | `x` [a](javascript:b) ---"
SPREAD = Spread(least=2, median=2, mean=2.5, p95=4, most=1234)
STATISTICS = RowStatistics(
    rows=40,
    answers=50,
    turns=SPREAD,
    prompt=SPREAD,
    answer=SPREAD,
    languages={"zh": 30, "en": 10},
)


def record(**changes: Any) -> RunRecord:
    """Return a finished training about which everything was written down."""
    given: dict[str, Any] = {
        "name": "shop-helper",
        "title": "Shop helper",
        "version": "1.2.0",
        "state": "published",
        "access_point": "http://127.0.0.1:8401/v1",
        "description": "Answers: orders & returns\n# not a heading",
        "run_id": "run_1",
        "created_at": "2026-05-01T10:20:30.123456+00:00",
        "base_model": BaseModelRecord(name="starter", digest="b" * 64, parameters=6_000_000),
        "dataset": DatasetRecord(
            id="ds_1",
            name="Talks",
            fingerprint="f" * 64,
            digest="d" * 64,
            train_rows=40,
            validation_rows=4,
            split_seed=17,
            validation_percent=10,
        ),
        "knowledge_bases": (KnowledgeRecord(id="kb_1", name="Manual"), KnowledgeRecord(id="kb_2")),
        "preset": "quick",
        "recipe": LoraRecipe.preset("quick", 40).to_dict(),
        "seeds": {"training": 17, "split": 17},
        "versions": {"torch": "2.0", "mbe-studio": "0.1.0"},
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "adapter": AdapterRecord(prefix="adapters/run_1", files={"adapter_model.safetensors": "a" * 64}),
        "results": ResultRecord(steps=200, loss=0.5, eval_loss=0.75, seconds=20.0, tokens=4000),
        "metrics": {"accuracy": 0.5, "passed": True},
        "statistics": {"train": STATISTICS, "held_out": STATISTICS},
    }
    return RunRecord(**{**given, **changes})


def old_record() -> RunRecord:
    """Return what is known of a training that nothing was written down of, beside its row."""
    return RunRecord(
        name="run_0",
        title="Old one",
        state="succeeded",
        run_id="run_0",
        created_at="2025-01-01T00:00:00+00:00",
        base_model=BaseModelRecord(name="starter"),
        dataset=DatasetRecord(id="ds_gone"),
        recipe=LoraRecipe().to_dict(),
    )


def told(made: RunRecord | None = None, **changes: Any) -> Told:
    """Return a report's content: a curve of 40 steps, a preset, a quality check with a wrong answer."""
    points = [Point(step=n, epoch=n / 10, loss=4.0 / n) for n in range(1, 41)]
    points += [Point(step=n * 10, epoch=n, loss=4.0 / (n * 10), eval_loss=2.0 / n) for n in range(1, 5)]
    evaluation = Evaluation(
        verdict="Passed",
        figures=[("Right", "50%")],
        missed=["One mark was missed"],
        failures=[("Where?", "Here", "There", "Another place")],
    )
    given: dict[str, Any] = {
        "record": made or record(),
        "state": "Done",
        "finished": True,
        "points": sorted({point.step: point for point in points}.values(), key=lambda point: point.step),
        "choice": EpochChoice.of("quick", 40, 6_000_000),
        "evaluation": evaluation,
    }
    return Told(**{**given, **changes})
