"""HTML of the operators' page of money."""

from collections.abc import Sequence
from html import escape

from apps import cards
from engine.billing.reconciliation import Difference, Reconciliation
from engine.billing.schemas import CodeBatch, Payout
from engine.flows.give_back import Found
from engine.kit.messages import t
from engine.kit.money import format_credits

PAYOUT_TONES = {
    "requested": "busy",
    "approved": "busy",
    "paid": "good",
    "rejected": "bad",
    "cancelled": "calm",
}
MOST_SHOWN = 100


def books(found: Reconciliation | None, language: str) -> str:
    """Return whether usage, receipts and ledger agreed last, and the list of what did not."""
    if found is None:
        return cards.empty(t("cash.books_never", language))
    scope = t("cash.books_whole" if found.whole else "cash.books_new", language)
    checked = t("cash.books_checked", language, checked=f"{found.checked:,}")
    when = cards.moment(found.at, language).text
    facts = f'<p class="mbe-muted">{when} · {escape(scope)} · {escape(checked)}</p>'
    if found.agrees:
        return cards.note(t("cash.books_agree", language), "good") + facts
    sums = {"found": f"{found.found:,}", "micro": f"{found.micro:,}", "tokens": f"{found.tokens:,}"}
    more = ""
    if found.found > MOST_SHOWN:
        more = cards.note(t("cash.books_more", language, shown=MOST_SHOWN, found=sums["found"]))
    listed = _differences(found.differences[:MOST_SHOWN], language)
    return cards.note(t("cash.books_differ", language, **sums), "bad") + facts + listed + more


def _differences(found: Sequence[Difference], language: str) -> str:
    headers = [
        t(f"cash.{key}", language) for key in ("what_differs", "number", "booked", "elsewhere", "size")
    ]
    rows: list[list[cards.Cell]] = [
        [
            t(f"cash.differs_{each.kind}", language),
            cards.code(each.id or "–"),
            each.expected,
            each.actual,
            t("cash.size_words", language, micro=f"{each.micro:,}", tokens=f"{each.tokens:,}"),
        ]
        for each in found
    ]
    how = escape(t("cash.differs_how", language))
    return f'{cards.table(headers, rows, t("cash.books", language))}<p class="mbe-muted">{how}</p>'


def payout_words(payout: Payout, tenant: str, language: str) -> str:
    """Return a payout in one line, for a list to choose from."""
    amount = t("money.unit", language, amount=format_credits(payout.amount_micro))
    return f"{tenant}: {amount} · {t(f'cash.payout_{payout.state}', language)}"


def payout_state(payout: Payout, language: str) -> cards.Html:
    """Return how far a payout is."""
    return cards.state(t(f"cash.payout_{payout.state}", language), PAYOUT_TONES[payout.state])


def payouts(found: Sequence[tuple[Payout, str, str]], language: str) -> str:
    """Return the table of all tenants' payouts."""
    if not found:
        return cards.empty(t("cash.no_payouts", language))
    headers = [
        t(f"cash.{key}", language)
        for key in ("tenant", "credits", "state", "to", "last_note", "asked_by", "asked_at")
    ]
    rows: list[list[cards.Cell]] = [
        [
            tenant,
            cards.money(payout.amount_micro, language),
            payout_state(payout, language),
            payout.destination,
            str(payout.history[-1]["note"]) or "–",
            person,
            cards.moment(payout.created_at, language),
        ]
        for payout, tenant, person in found
    ]
    return cards.table(headers, rows, t("cash.payouts", language))


def codes(found: Sequence[CodeBatch], language: str) -> str:
    """Return what was made of codes, and how many were redeemed."""
    if not found:
        return cards.empty(t("cash.no_codes", language))
    headers = [t(f"cash.{key}", language) for key in ("made_at", "worth", "made", "redeemed", "valid_until")]
    rows: list[list[cards.Cell]] = [
        [
            cards.moment(batch.created_at, language),
            cards.money(batch.amount_micro, language),
            batch.made,
            batch.redeemed,
            f"{batch.expires_at:%Y-%m-%d}",
        ]
        for batch in found
    ]
    return cards.table(headers, rows, t("cash.codes", language))


def receipt(found: Found, language: str) -> str:
    """Return whose receipt it is, what was paid, and what was given back."""
    one = found.receipt
    given = sum(refund.amount_micro for refund in found.refunds)
    lines = [
        (t("cash.tenant", language), escape(found.tenant)),
        (t("studio.expert", language), escape(str(one.usage.get("model") or "–"))),
        (t("cash.when", language), cards.moment(one.created_at, language).text),
        (t("cash.paid", language), cards.money(one.charged_micro, language).text),
        (t("cash.refunded", language), cards.money(given, language).text),
        (t("cash.left", language), cards.money(found.left_micro, language).text),
        (t("cash.number", language), cards.code(one.id).text),
    ]
    facts = "".join(f"<dt>{escape(label)}</dt><dd>{value}</dd>" for label, value in lines)
    shown = f'<div class="mbe-card"><dl class="mbe-facts">{facts}</dl></div>'
    if not found.refunds:
        return shown
    headers = [t(f"cash.{key}", language) for key in ("when", "refunded", "why")]
    rows: list[list[cards.Cell]] = [
        [cards.moment(each.created_at, language), cards.money(each.amount_micro, language), each.reason]
        for each in found.refunds
    ]
    return shown + "<br>" + cards.table(headers, rows, t("cash.refunds", language))
