"""Statements for whoever pays: one's own tenant's, or any for operators, as values or as a file."""

from dataclasses import dataclass
from datetime import date

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import statements
from engine.billing.statements import Statement
from engine.kit.database import snapshot
from engine.kit.errors import BadInput

EVERYBODY = "all"
MEDIA = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


@dataclass(frozen=True)
class File:
    """A statement to keep; `name` is plain ASCII."""

    name: str
    media: str
    content: bytes


def statement(person: Person, first: str | date, last: str | date, by: str, tenant: str = "") -> Statement:
    """Return the statement from `first` to `last` (days, both included) by names such as "day,model".

    `tenant` is another one's id, or "all", for operators. Raises Forbidden for others, BadInput naming
    `from`, `to` or `by`.
    """
    return _read(person, first, last, by, tenant)[0]


def document(
    person: Person, first: str | date, last: str | date, by: str, form: str, tenant: str = ""
) -> File:
    """Return the statement as a file, "csv" or "parquet". Raises also BadInput naming `format`."""
    if form not in MEDIA:
        raise BadInput("cash.format", field="format", format=form[:40])
    found, names = _read(person, first, last, by, tenant)
    write = statements.as_csv if form == "csv" else statements.as_parquet
    return File(f"statement-{found.first}-{found.last}.{form}", MEDIA[form], write(found, names))


def _read(
    person: Person, first: str | date, last: str | date, by: str, tenant: str
) -> tuple[Statement, dict[str, str]]:
    if tenant not in ("", person.tenant_id):
        require(person, "operator")
    whose = None if tenant == EVERYBODY else tenant or person.tenant_id
    named = [name.strip() for name in by.split(",") if name.strip()]
    with snapshot() as uow:
        found = statements.statement(uow, whose, first=_day(first, "from"), last=_day(last, "to"), by=named)
        people = {row["person"] for row in found.rows} if "person" in found.by else set()
        return found, accounts.names(uow, people)


def _day(value: str | date, field: str) -> date:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise BadInput("cash.day", field=field, value=value[:40]) from error
