"""The database itself refuses to change or unbalance the ledger, whoever asks."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.billing import service
from engine.billing.models import LEDGER_GUARDS
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.money import CREDIT


@pytest.fixture
def booked(db: str) -> str:
    """A database with a top-up, a hold and its receipt."""
    with unit_of_work() as uow:
        service.top_up(uow, tenant_id="ten_a", amount_micro=5 * CREDIT, key="k", by="per_a")
        hold = service.hold(
            uow,
            tenant_id="ten_a",
            amount_micro=CREDIT,
            key="k",
            subject={},
            expires_at=now() + timedelta(minutes=1),
        )
        service.release(uow, hold.id, "cancelled")
    return db


CHANGES = ("UPDATE {} SET id = id", "DELETE FROM {}", "DELETE FROM {} WHERE false", "TRUNCATE {} CASCADE")


def test_what_was_booked_cannot_be_changed(booked: str) -> None:
    for table in ("billing_entries", "billing_transactions", "billing_receipts"):
        for statement in CHANGES:
            with pytest.raises(DBAPIError, match="is append-only"), unit_of_work() as uow:
                uow.execute(text(statement.format(table)))
    with unit_of_work() as uow:
        assert service.balance(uow, "ten_a") == 5 * CREDIT
        assert len(service.receipts(uow, "ten_a")) == 1


def _add_legs(*amounts: int) -> None:
    with unit_of_work() as uow:
        uow.execute(
            text(
                "INSERT INTO billing_transactions (id, tenant_id, key, digest, kind, at, meta)"
                " VALUES ('txn_x', 'ten_a', 'x', '', 'top_up', now(), '{}')"
            )
        )
        uow.execute(
            text(
                "INSERT INTO billing_entries (id, transaction_id, account_id, tenant_id, amount_micro, at)"
                " SELECT 'ent_' || n, 'txn_x', a.id, a.tenant_id, amount, now() FROM billing_accounts a,"
                " unnest(CAST(:amounts AS bigint[])) WITH ORDINALITY AS legs (amount, n)"
                " WHERE a.tenant_id = 'ten_a' AND a.kind = 'wallet'"
            ),
            {"amounts": list(amounts)},
        )


def test_a_movement_whose_legs_do_not_cancel_is_refused_at_commit(booked: str) -> None:
    for amounts in ((1,), (5, -4), (2, 2, -3)):
        with pytest.raises(DBAPIError, match="txn_x do not sum to zero"):
            _add_legs(*amounts)
    with unit_of_work() as uow:
        assert service.ledger_sum(uow) == 0


def test_legs_that_cancel_are_accepted(booked: str) -> None:
    _add_legs(3, -1, -2)
    with unit_of_work() as uow:
        assert service.ledger_sum(uow) == 0


def test_a_leg_moves_something(booked: str) -> None:
    with pytest.raises(DBAPIError, match="moves_something"):
        _add_legs(0)


def test_a_migration_can_run_the_guards_again(booked: str) -> None:
    with unit_of_work() as uow:
        for guard in LEDGER_GUARDS.values():
            uow.execute(text(guard))
    with pytest.raises(DBAPIError, match="append-only"), unit_of_work() as uow:
        uow.execute(text("DELETE FROM billing_entries"))
    with pytest.raises(DBAPIError, match="do not sum to zero"):
        _add_legs(1)
