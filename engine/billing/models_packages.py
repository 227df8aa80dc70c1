"""The tables of packages: so many tokens of a model for so much a month, who bought them, what is left."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


class PackageRow(Base):
    """Tokens of a subject, in and out together, for a month at a price. Never changed, only withdrawn."""

    __tablename__ = "billing_packages"
    __table_args__ = (
        CheckConstraint("tokens > 0 AND price_micro > 0", name="gives_something"),
        Index("ix_billing_packages_subject", "subject", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    tenant_id: Mapped[str]
    title: Mapped[str]
    tokens: Mapped[int]
    price_micro: Mapped[int]
    state: Mapped[str]
    by_id: Mapped[str]
    created_at: Mapped[datetime]


class SubscriptionRow(Base):
    """A tenant that has bought a package, and whether it goes on. One at a time for each subject.

    It is paid up to `ends_at`; at `due_at` the next period is looked at, never once it has ended. `reason`
    says why it ended.
    """

    __tablename__ = "billing_subscriptions"
    __table_args__ = (
        Index(
            "ix_billing_subscriptions_running",
            "tenant_id",
            "subject",
            unique=True,
            postgresql_where=text("state <> 'ended'"),
        ),
        Index("ix_billing_subscriptions_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_billing_subscriptions_newest", "tenant_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    package_id: Mapped[str] = mapped_column(ForeignKey("billing_packages.id"), index=True)
    subject: Mapped[str]
    person_id: Mapped[str]
    state: Mapped[str]
    renews: Mapped[bool]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    due_at: Mapped[datetime | None]


class AllowanceRow(Base):
    """The tokens of one paid period, what calls have used of them and what running calls hold.

    The database refuses any change that would promise a token twice.
    """

    __tablename__ = "billing_allowances"
    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_at"),
        CheckConstraint(
            "used_tokens >= 0 AND held_tokens >= 0 AND used_tokens + held_tokens <= tokens",
            name="covers_holds",
        ),
        Index("ix_billing_allowances_running", "subject", "ends_at"),
        Index("ix_billing_allowances_tenant", "tenant_id", "subject", "ends_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    subscription_id: Mapped[str] = mapped_column(ForeignKey("billing_subscriptions.id"))
    tenant_id: Mapped[str]
    subject: Mapped[str]
    tokens: Mapped[int]
    used_tokens: Mapped[int]
    held_tokens: Mapped[int]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    transaction_id: Mapped[str] = mapped_column(ForeignKey("billing_transactions.id"), unique=True)
