"""What a job has cost, and what would be lost if it ended now."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from engine.jobs.schemas import JobView, Spent


class Cost(BaseModel):
    """What was spent on a job, and what of it no checkpoint holds.

    `seconds_spent` are those of all attempts, of a processor or of a GPU as `spent_of` says; they count
    towards the plan's month whatever becomes of the job. `kept_step` is that of the newest checkpoint, None
    where the job has none that counts in steps; `steps_since` were done after it and took about
    `seconds_since`. `charged_micro` is what was paid for all of it so far, in micro-credits, and
    `unpaid_micro` what the wallet could not pay.
    """

    model_config = ConfigDict(frozen=True)

    seconds_spent: float
    spent_of: Literal["cpu", "gpu"]
    kept_step: int | None
    steps_since: int
    seconds_since: float
    charged_micro: int = 0
    unpaid_micro: int = 0

    @classmethod
    def of(cls, job: JobView, spent: Spent, *, charged_micro: int = 0, unpaid_micro: int = 0) -> "Cost":
        """Return the cost of a job as its row stands."""
        checkpoint = job.checkpoint or {}
        # With several trials its row counts those; the step is one of the trial at hand.
        kept = None if "trial" in checkpoint else checkpoint.get("step")
        since = 0 if kept is None else max(0, job.done - int(kept))
        pace = float(job.metrics.get("seconds") or 0.0) / job.done if job.done else 0.0
        return cls(
            seconds_spent=round(spent.gpu or spent.cpu, 1),
            spent_of="gpu" if spent.gpu else "cpu",
            kept_step=None if kept is None else int(kept),
            steps_since=since,
            seconds_since=round(pace * since, 1),
            charged_micro=charged_micro,
            unpaid_micro=unpaid_micro,
        )
