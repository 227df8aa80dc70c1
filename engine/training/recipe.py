"""How a LoRA expert is trained: by which method, with which numbers, and presets that fit the data."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from engine.kit.errors import BadInput
from engine.kit.messages import t

STARTER_PARAMETERS = 6_000_000
TINY = 50_000_000
LARGE = 13_000_000_000
FEW_ROWS = 1000
PRESETS = ("quick", "balanced", "thorough")
METHODS = ("sft", "dpo", "kto")
"""Learning answers (supervised fine-tuning), or from preferences: pairs of them, or single verdicts."""

PREFERENCE_SPEED = 0.05

RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 512),
    "alpha": (1, 1024),
    "dropout": (0.0, 0.5),
    "learning_rate": (1e-6, 0.05),
    "epochs": (1, 200),
    "batch_size": (1, 256),
    "accumulation": (1, 128),
    "max_length": (32, 32768),
    "warmup": (0.0, 0.5),
    "beta": (0.001, 10.0),
    "weight_decay": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
    "save_steps": (0, 1_000_000),
    "save_seconds": (1.0, 3600.0),
}


@dataclass(frozen=True, kw_only=True)
class LoraRecipe:
    """Everything that decides how a run goes, besides the base model and the rows.

    `alpha / rank` scales the adapter (Hu et al. 2021, "LoRA"); `dropout` applies to its input.
    `learning_rate` is the peak of a linear warm-up over the fraction `warmup` of all steps followed by a
    cosine to zero. One step learns from `batch_size * accumulation` examples of at most `max_length`
    tokens. A checkpoint is written every `save_steps` steps, or, at 0, about every `save_seconds`.
    `method` is one of METHODS; `beta` keeps the trained model near the base model in the two that learn from
    preferences (Rafailov et al. 2023, "Direct Preference Optimization"; Ethayarajh et al. 2024, "KTO").

    A value outside its range raises BadInput naming the field, the value and the range.
    """

    method: str = "sft"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    learning_rate: float = 2e-3
    epochs: int = 10
    batch_size: int = 8
    accumulation: int = 1
    max_length: int = 1024
    warmup: float = 0.05
    beta: float = 0.1
    weight_decay: float = 0.0
    seed: int = 17
    save_steps: int = 0
    save_seconds: float = 20.0

    def __post_init__(self) -> None:
        check_method(self.method)
        for field in fields(self):
            if field.name == "method":
                continue
            value = checked_number(field.name, getattr(self, field.name), whole=field.type is int)
            object.__setattr__(self, field.name, value)
        if self.method == "kto" and self.batch_size < 2:
            # Its measure of how far the model has moved pairs each question with another one's answer.
            raise BadInput("training.kto_batch", field="batch_size", value=self.batch_size)

    @classmethod
    def preset(
        cls, name: str, rows: int, parameters: int = STARTER_PARAMETERS, method: str = "sft"
    ) -> "LoraRecipe":
        """Return a recipe for `rows` conversations and a base model of `parameters` weights.

        A tiny model has to be pushed: a high rate, and as many passes as give it a few hundred steps. A
        real one forgets under such treatment: 2e-4 (1e-4 above 13 billion) and one to three passes.
        Preferences are learnt at a twentieth of the rate: they say what is better, not what to say.
        Raises BadInput for an unknown name or method.
        """
        check_method(method)
        choice = EpochChoice.of(name, rows, parameters)
        learns = method == "sft"
        speed = 1.0 if learns else PREFERENCE_SPEED
        if choice.size == "tiny":
            return cls(
                method=method,
                rank=32,
                alpha=64,
                learning_rate=8e-3 * speed,
                epochs=choice.epochs,
                batch_size=choice.batch,
            )
        return cls(
            method=method,
            learning_rate=(1e-4 if choice.size == "large" else 2e-4) * speed,
            epochs=choice.epochs,
            batch_size=4,
            accumulation=choice.batch // 4,
            dropout=0.05 if learns else 0.0,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LoraRecipe":
        """Return the recipe that `to_dict` wrote. Raises BadInput for an unknown field or a bad value."""
        unknown = sorted(set(values) - set(RANGES) - {"method"})
        if unknown:
            raise BadInput("training.unknown_field", field=unknown[0][:40], name=unknown[0][:40])
        return cls(**values)

    def changed(self, changes: Mapping[str, Any]) -> "LoraRecipe":
        """Return this recipe with some fields replaced, checked like a new one."""
        return self.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)

    def digest(self) -> str:
        """Return SHA-256 of everything that changes the result; how often it is saved does not."""
        kept = {name: value for name, value in self.to_dict().items() if not name.startswith("save_")}
        if self.method == "sft":
            # As it was before there were other methods: trainings from then go on from their checkpoints.
            del kept["method"], kept["beta"]
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class EpochChoice:
    """How many passes a preset takes over `rows`, and what that follows from.

    `size` is the class of the base model: "tiny", "usual" or "large". A tiny one takes as many passes as
    come nearest to `wanted` steps, from `least` to `most`; another one `least`, which is one more for few
    rows. `batch` is the examples of one step, `per_epoch` the steps of one pass if each row has one answer.
    """

    preset: str
    rows: int
    size: str
    batch: int
    per_epoch: int
    wanted: int
    least: int
    most: int
    epochs: int

    @classmethod
    def of(cls, preset: str, rows: int, parameters: int) -> "EpochChoice":
        """Return the choice of a preset. Raises BadInput for an unknown name."""
        if preset not in PRESETS:
            raise BadInput(
                "training.unknown_preset", field="preset", value=str(preset)[:40], allowed=", ".join(PRESETS)
            )
        effort = PRESETS.index(preset)
        if parameters < TINY:
            size, batch, wanted = "tiny", 8, (200, 500, 1000)[effort]
            least, most = (1, 2, 3)[effort], (40, 80, 160)[effort]
        else:
            size, batch, wanted = "large" if parameters > LARGE else "usual", 16 if rows >= 200 else 4, 0
            least = most = effort + 1 + (rows < FEW_ROWS)
        per_epoch = math.ceil(max(rows, 1) / batch)
        return cls(
            preset=preset,
            rows=rows,
            size=size,
            batch=batch,
            per_epoch=per_epoch,
            wanted=wanted,
            least=least,
            most=most,
            epochs=min(most, max(least, round(wanted / per_epoch))),
        )

    def reason(self, language: str) -> str:
        """Return in words why it is this number of passes."""
        facts = {
            "preset": t(f"training.preset_{self.preset}", language),
            "rows": f"{self.rows:,}",
            "batch": self.batch,
            "per_epoch": f"{self.per_epoch:,}",
            "wanted": f"{self.wanted:,}",
            "least": self.least,
            "most": self.most,
            "epochs": self.epochs,
            "few": f"{FEW_ROWS:,}",
        }
        if self.size == "tiny":
            near = round(self.wanted / self.per_epoch)
            end = "most" if near > self.most else "least" if near < self.least else "nearest"
            return t(f"training.why_tiny_{end}", language, **facts)
        rows = "few" if self.rows < FEW_ROWS else "many"
        return t(f"training.why_{self.size}_{rows}", language, **facts)


def check_method(method: object) -> None:
    """Raise BadInput unless it is one of METHODS."""
    if method not in METHODS:
        raise BadInput(
            "training.unknown_method", field="method", value=str(method)[:40], allowed=", ".join(METHODS)
        )


def checked_number(name: str, value: Any, *, whole: bool) -> int | float:
    """Return the value of a field. Raises BadInput, naming it and its range, for one outside of it."""
    low, high = RANGES[name]
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    if usable and low <= value <= high and not (whole and value != int(value)):
        return int(value) if whole else float(value)
    raise BadInput(
        "training.not_whole" if whole else "training.out_of_range",
        field=name,
        name=name,
        value=str(value)[:40],
        low=f"{low:.15g}",
        high=f"{high:.15g}",
    )
