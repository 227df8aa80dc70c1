"""What pausing or cancelling a job costs, in words."""

from apps import cards
from engine.jobs.costs import Cost
from engine.jobs.schemas import JobView
from engine.kit.messages import t
from engine.kit.money import format_credits

PAUSES = {
    "training.sft": "checkpoint",
    "training.search": "checkpoint",
    "training.prompt": "afresh",
    "training.merge": "afresh",
    "market.quality": "again",
}
"""What a pause means for a kind of job, where that is not that it keeps what is done."""


def pause_words(job: JobView, language: str) -> str:
    """Return what pausing a job costs."""
    key = "queued" if job.state == "queued" else PAUSES.get(job.kind, "keeps")
    return t(f"costs.pause_{key}", language)


def credit_words(cost: Cost, language: str) -> str:
    """Return what a job was charged so far, nothing for one that costs no credits."""
    if not cost.charged_micro and not cost.unpaid_micro:
        return ""
    key = "costs.charged_unpaid" if cost.unpaid_micro else "costs.charged"
    unpaid = format_credits(cost.unpaid_micro)
    return t(key, language, amount=format_credits(cost.charged_micro), unpaid=unpaid)


def cancel_words(job: JobView, cost: Cost, language: str) -> str:
    """Return what cancelling a job now would lose and keep, and what was spent on it."""
    said = [t("costs.cancel_final", language)]
    kind = job.kind.replace(".", "_") if job.attempt else "queued"
    said.append(t(f"costs.cancel_{kind}", language))
    if cost.kept_step is not None:
        said += _kept(job, cost, language)
    if cost.seconds_spent >= 1:
        spent = cards.duration(cost.seconds_spent, language)
        said.append(t(f"costs.spent_{cost.spent_of}", language, time=spent))
    if words := credit_words(cost, language):
        said.append(words)
    return ("" if language.startswith("zh") else " ").join(said)


def _kept(job: JobView, cost: Cost, language: str) -> list[str]:
    key = "costs.kept_step" if cost.kept_step else "costs.kept_none"
    said = [t(key, language, step=f"{cost.kept_step:,}")]
    if cost.steps_since and job.state in ("running", "pausing"):
        since = cards.duration(cost.seconds_since, language)
        said.append(t("costs.since_kept", language, steps=f"{cost.steps_since:,}", time=since))
    return said
