"""Packages that are offered: so many tokens of a model for so much a month."""

from sqlalchemy.orm import Session

from engine.billing import repository_packages as repository
from engine.billing.models_packages import PackageRow
from engine.billing.schemas import OfferedPackage, Package
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.ids import new_id
from engine.kit.money import LARGEST, format_credits

LONGEST_TITLE = 60
FEWEST_TOKENS, MOST_TOKENS = 1_000, 10**12
MOST_OFFERED = 12


def offer(
    uow: Session, *, subject: str, tenant_id: str, title: str, tokens: int, price_micro: int, by_id: str
) -> Package:
    """Offer `tokens` of a subject a month, in and out together, for a price in micro-credits.

    The caller sees to it that the subject is the tenant's own, and that offers for one subject are made one
    at a time. Raises BadInput naming `title`, `tokens` or `price`, Conflict beyond twelve offers at once.
    """
    title = " ".join(title.split())
    if not (1 <= len(title) <= LONGEST_TITLE and title.isprintable()):
        raise BadInput("packages.bad_title", field="title", most=LONGEST_TITLE)
    if not FEWEST_TOKENS <= tokens <= MOST_TOKENS:
        raise BadInput(
            "packages.bad_tokens", field="tokens", least=f"{FEWEST_TOKENS:,}", most=f"{MOST_TOKENS:,}"
        )
    if not 0 < price_micro <= LARGEST:
        raise BadInput("packages.bad_price", field="price", most=format_credits(LARGEST, 0))
    if len(repository.packages(uow, subject, offered_only=True)) >= MOST_OFFERED:
        raise Conflict("packages.too_many", most=MOST_OFFERED)
    row = PackageRow(
        id=new_id("pkg"),
        subject=subject,
        tenant_id=tenant_id,
        title=title,
        tokens=tokens,
        price_micro=price_micro,
        state="offered",
        by_id=by_id,
        created_at=now(),
    )
    repository.add(uow, row)
    return Package.model_validate(row)


def withdraw(uow: Session, package_id: str, *, subject: str, tenant_id: str) -> Package:
    """Sell a package no more. Who has bought it keeps it to the end of the month. Raises NotFound.

    Withdrawing again changes nothing.
    """
    row = repository.package(uow, package_id, lock=True) if package_id.isprintable() else None
    if row is None or (row.subject, row.tenant_id) != (subject, tenant_id):
        raise NotFound("packages.unknown", id=package_id[:40])
    row.state = "withdrawn"
    uow.flush()
    return Package.model_validate(row)


def offered(uow: Session, subject: str) -> list[Package]:
    """Return what is offered for a subject, the smallest package first."""
    return [Package.model_validate(row) for row in repository.packages(uow, subject, offered_only=True)]


def find(uow: Session, package_id: str) -> Package:
    """Return a package, also a withdrawn one. Raises NotFound."""
    row = repository.package(uow, package_id) if package_id.isprintable() else None
    if row is None:
        raise NotFound("packages.unknown", id=package_id[:40])
    return Package.model_validate(row)


def of_owner(uow: Session, subject: str, tenant_id: str) -> list[OfferedPackage]:
    """Return a tenant's packages for a subject with their subscribers, those on offer first."""
    rows = [
        row for row in repository.packages(uow, subject, offered_only=False) if row.tenant_id == tenant_id
    ]
    counts = repository.count_subscribers(uow, [row.id for row in rows])
    return [OfferedPackage(Package.model_validate(row), counts.get(row.id, 0)) for row in rows]
