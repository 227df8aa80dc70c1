"""HTML of the plan page: a bar for everything that is counted, and what may run at once."""

from collections.abc import Callable
from html import escape

from apps import cards
from engine.accounts.plans import HOUR, PLANS, Plan
from engine.flows.plan_limits import Use
from engine.kit.messages import t


def shown(use: Use, language: str) -> str:
    """Return a plan, how much of each part is used, and all plans beside it."""
    plan = use.plan
    bars = [
        _bar("cpu", use.spent.cpu, plan.cpu_seconds, _hours, language),
        _bar("gpu", use.spent.gpu, plan.gpu_seconds, _hours, language),
        _bar("storage", use.storage_bytes, plan.storage_bytes, _size, language),
        _bar("bases", use.knowledge_bases, plan.knowledge_bases, _count, language),
        _bar("models", use.models, plan.models, _count, language),
    ]
    named = t("studio.plan_is", language, plan=plan.name)
    return (
        f"<h1>{escape(named)}</h1><p class='mbe-muted'>{t('studio.plan_why', language)}</p>"
        f'<div class="mbe-stack">{"".join(bars)}</div>'
        f"<h2>{t('studio.all_plans', language)}</h2>{_plans(plan, language)}"
    )


def _bar(name: str, used: float, most: int | None, say: Callable[[float], str], language: str) -> str:
    share = 0 if most is None else 100 if not most else min(100, round(100 * used / most))
    key = "plan_of" if most is not None else "plan_unlimited"
    said = t(f"studio.{key}", language, used=say(used), most=say(most or 0))
    label = t(f"studio.plan_{name}", language)
    full = ' style="background:var(--bad)"' if most is not None and used >= most else ""
    bar = (
        f'<div class="mbe-bar-track" role="progressbar" aria-label="{escape(label)}" aria-valuenow="{share}" '
        f'aria-valuemin="0" aria-valuemax="100"><i style="width:{share}%"{full}></i></div>'
        if most
        else ""
    )
    return (
        f'<div class="mbe-card"><div class="mbe-job-top"><b>{escape(label)}</b>'
        f'<span class="mbe-num">{escape(said)}</span></div>{bar}</div>'
    )


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} h".replace(".0 h", " h")


def _size(count: float) -> str:
    return cards.size(int(count))


def _count(number: float) -> str:
    return f"{int(number):,}"


def _plans(mine: Plan, language: str) -> str:
    headers = [
        t(f"studio.plan_{name}", language)
        for name in (
            "name",
            "training",
            "indexing",
            "uploads",
            "storage",
            "bases",
            "models",
            "cpu_short",
            "gpu_short",
        )
    ]
    rows: list[list[cards.Cell]] = [
        [
            cards.state(plan.name, "good") if plan is mine else plan.name,
            _most(plan.training, _count, language),
            _most(plan.indexing, _count, language),
            _most(plan.uploads, _count, language),
            _most(plan.storage_bytes, _size, language),
            _most(plan.knowledge_bases, _count, language),
            _most(plan.models, _count, language),
            _most(plan.cpu_seconds, _hours, language),
            _most(plan.gpu_seconds, _hours, language),
        ]
        for plan in PLANS.values()
    ]
    return cards.table(headers, rows, t("studio.all_plans", language))


def _most(limit: int | None, say: Callable[[float], str], language: str) -> cards.Html:
    if limit is None:
        return cards.Html(t("studio.no_limit", language), 2**62)
    return cards.Html(say(limit) if limit else "–", limit)
