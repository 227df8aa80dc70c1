"""Our gateway before the benchmark's upstream: a database, an expert at a price, keys and full wallets."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.corpora import fresh_home
from benchmarks.gateway_processes import BESIDE, Server, free_port, on_core, serve

KEYS = 64
MODEL = "base"  # the same name that the upstream and the rivals have


def people(count: int, *, credits: int = 1_000_000) -> tuple[str, ...]:
    """Make an expert at a price and `count` tenants of one person with credits; return their API keys."""
    from engine.accounts import keys
    from engine.accounts import service as accounts
    from engine.accounts.schemas import KeyTerms
    from engine.billing import service as billing
    from engine.kit.clock import now
    from engine.kit.database import unit_of_work
    from engine.kit.money import CREDIT
    from engine.market.models import Expert, Name

    def person(uow, number: int, role: str):  # type: ignore[no-untyped-def]
        return accounts.create_person(
            uow,
            email=f"{role}{number}@example.com",
            name=f"{role} {number}",
            password="correct horse",
            roles=[role],
            plan="enterprise",
        )

    with unit_of_work() as uow:
        developer = person(uow, 0, "developer")
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
    secrets = []
    for number in range(count):
        with unit_of_work() as uow:
            one = person(uow, number, "consumer")
            left = credits
            while left > 0:
                part = min(left, 10_000)
                billing.top_up(
                    uow, tenant_id=one.tenant_id, amount_micro=part * CREDIT, key=f"fill {left}", by="bench"
                )
                left -= part
            secrets.append(keys.create(uow, person=one, terms=KeyTerms(name="bench"))[1])
    return tuple(secrets)


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
        "MBE_LOG_LEVEL": "INFO",
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
        keys = people(KEYS)
        yield stack.enter_context(gateway(home, upstream_url, keys))
