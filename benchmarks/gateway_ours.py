"""Our gateway before the benchmark's upstream: a database, an expert at a price, keys and full wallets."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.corpora import fresh_home
from benchmarks.gateway_processes import BESIDE, Server, free_port, on_core, serve

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from engine.accounts.schemas import Person

KEYS = 64
MOST_AT_ONCE = 10_000  # credits of a top-up
MODEL = "base"  # the same name that the upstream and the rivals have


def _person(uow: "Session", name: str, role: str) -> "Person":
    from engine.accounts import service as accounts

    return accounts.create_person(
        uow,
        email=f"{name}@example.com",
        name=name,
        password="correct horse",
        roles=[role],
        plan="enterprise",
    )


def expert() -> None:
    """Put an expert on the market under MODEL: a credit for 1,000 tokens in, two for 1,000 out."""
    from engine.kit.clock import now
    from engine.kit.database import unit_of_work
    from engine.market.models import Expert, Name

    with unit_of_work() as uow:
        developer = _person(uow, "developer", "developer")
        uow.add(Name(name=MODEL, tenant_id=developer.tenant_id, created_at=now()))
        uow.flush()
        uow.add(
            Expert(
                id="exp_base",
                tenant_id=developer.tenant_id,
                owner_id=developer.id,
                name=MODEL,
                title="Base",
                description="Answers at once.",
                category="other",
                tags=[],
                version="1.0.0",
                state="published",
                input_price_micro=1_000_000,
                output_price_micro=2_000_000,
                example="?",
                run_id="",
                adapter_prefix="",
                base_model="starter",
                knowledge_base_ids=[],
                knowledge_tenant_id=developer.tenant_id,
                quality={"passed": True},
                published_at=now(),
                created_at=now(),
            )
        )


def buyer(name: str, credits: int = 100_000) -> tuple[str, str]:
    """Return an API key of a new person, and their tenant, whose wallet holds so many credits."""
    from engine.accounts import keys
    from engine.accounts.schemas import KeyTerms
    from engine.billing import service as billing
    from engine.kit.database import unit_of_work
    from engine.kit.money import CREDIT

    with unit_of_work() as uow:
        one = _person(uow, name, "consumer")
        for part in range(0, credits, MOST_AT_ONCE):
            amount = min(MOST_AT_ONCE, credits - part) * CREDIT
            billing.top_up(uow, tenant_id=one.tenant_id, amount_micro=amount, key=f"fill {part}", by="bench")
        return keys.create(uow, person=one, terms=KeyTerms(name="bench"))[1], one.tenant_id


@contextmanager
def gateway(home: Path, upstream_url: str, keys: tuple[str, ...], name: str = "ours") -> Iterator[Server]:
    """Run the gateway on the database that this process's settings name, until the block ends."""
    from datetime import UTC, datetime

    from engine.inference import state

    state.write("ready", "remote", since=datetime.now(UTC), progress=100)
    port = free_port()
    env = {
        "MBE_INFERENCE": "remote",
        "MBE_INFERENCE_URL": upstream_url,
        "MBE_GATEWAY_PORT": str(port),
    }
    command = [sys.executable, "-m", "apps.gateway"]
    url = f"http://127.0.0.1:{port}"
    with serve(command, url=url, log=home / f"{name}-{port}.log", keys=keys, env=env) as server:
        yield server


@contextmanager
def start_ours(home: Path, upstream_url: str) -> Iterator[Server]:
    """Run the gateway with everything on: keys, limits, holds, settlements, the ledger."""
    with contextlib.ExitStack() as stack:
        with on_core(BESIDE):
            stack.enter_context(fresh_home())
        expert()
        keys = tuple(buyer(f"buyer{number}")[0] for number in range(KEYS))
        yield stack.enter_context(gateway(home, upstream_url, keys))
