"""Whether money stays exact: part of `python -m benchmarks.gateway`.

The real gateway as a process, before the benchmark's upstream, on a real PostgreSQL:

- the last credit: clients ask at the same moment of wallets that can pay for only a few of them;
- retries: requests sent again and again under their `Idempotency-Key`, several at once;
- cut streams: clients that leave after a random token;
- kills: `kill -9` of the gateway under load, and what is left of the holds and receipts afterwards.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import gateway_ours
from benchmarks.gateway_processes import BODY, Server
from benchmarks.rows import Row, at_most

SEED = 20_261_129
COST = 40_000  # micro-credits of one call: what the upstream counts, at the prices of `gateway_ours`
PATH = "/v1/chat/completions"
AT_ONCE = 20
SETTLED_WITHIN = 2.0  # seconds after the last client has left


async def ask(session: aiohttp.ClientSession, server: Server, key: str, **more: Any) -> tuple[int, Any]:
    """Return status and body of a call; status 0 when the connection broke."""
    headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
    try:
        async with session.post(server.url + PATH, json={**BODY, **more}, headers=headers) as answer:
            return answer.status, json.loads(await answer.read())
    except (aiohttp.ClientError, ConnectionError, ValueError, TimeoutError):
        return 0, None


def session() -> aiohttp.ClientSession:
    """Return a client that opens as many connections as it is asked for."""
    timeout = aiohttp.ClientTimeout(total=60)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


def balance_of(tenant_id: str) -> int:
    """Return what a tenant can spend."""
    from engine.billing import service as billing
    from engine.kit.database import unit_of_work

    with unit_of_work() as uow:
        return billing.balance(uow, tenant_id)


def still_held() -> int:
    """Return what all wallets together hold."""
    from sqlalchemy import text

    from engine.kit.database import unit_of_work

    with unit_of_work() as uow:
        return int(uow.scalar(text("SELECT sum(held_micro) FROM billing_wallets")) or 0)


def receipts() -> dict[str, dict[str, Any]]:
    """Return every settled receipt by its id."""
    from sqlalchemy import text

    from engine.kit.database import unit_of_work

    query = "SELECT id, charged_micro, usage FROM billing_receipts WHERE state = 'settled'"
    with unit_of_work() as uow:
        return {row[0]: {"charged": row[1], "usage": row[2]} for row in uow.execute(text(query))}


def fill(tenant_id: str, amount: int, key: str) -> None:
    """Add micro-credits to a wallet."""
    from engine.billing import service as billing
    from engine.kit.database import unit_of_work

    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=tenant_id, amount_micro=amount, key=key, by="bench")


async def last_credit(server: Server, rounds: int, clients: int) -> tuple[int, int]:
    """Return (micro-credits spent beyond what was there, rounds in which an answer was not paid)."""
    key, tenant = gateway_ours.buyer("poor", credits=0)
    chance = random.Random(SEED)
    overspent = unpaid = 0
    async with session() as web:
        for number in range(rounds):
            fill(tenant, chance.randrange(1, 4 * COST), f"round {number}")
            had = balance_of(tenant)
            answers = await asyncio.gather(*(ask(web, server, key, max_tokens=10) for _ in range(clients)))
            paid = [body["receipt"]["charged_micro"] for status, body in answers if status == 200]
            left = balance_of(tenant)
            overspent += max(0, sum(paid) - had) + abs(had - left - sum(paid)) + max(0, -left)
            unpaid += any(one != COST for one in paid)
    return overspent, unpaid


async def retried(server: Server, requests: int) -> int:
    """Return how many keys were charged other than once: each is sent several times at once, then again."""
    chance = random.Random(SEED)
    before, sent, wrong, keys = len(receipts()), 0, 0, 0
    async with session() as web:
        while sent < requests:
            names = [f"retry {sent} {number}" for number in range(8)]
            tries = [name for name in names for _ in range(chance.randrange(1, 6))]
            chance.shuffle(tries)
            found: dict[str, set[str]] = {name: set() for name in names}
            await asyncio.gather(*(_once(web, server, name, found) for name in tries))
            await asyncio.gather(*(_once(web, server, name, found) for name in names))
            wrong += sum(len(ids) != 1 for ids in found.values())
            sent, keys = sent + len(tries) + len(names), keys + len(names)
    return wrong + abs(len(receipts()) - before - keys)


async def _once(web: aiohttp.ClientSession, server: Server, name: str, found: dict[str, set[str]]) -> None:
    status, body = await ask(web, server, server.keys[0], headers={"Idempotency-Key": name})
    if status == 200:
        found[name].add(body["receipt"]["id"])


async def cut(server: Server, streams: int, longest: int) -> tuple[int, int]:
    """Return (streams billed below what the client had, most tokens billed beyond what it had)."""
    chance = random.Random(SEED)
    before = set(receipts())
    seen: list[int] = []
    async with session() as web:
        for _ in range(streams // AT_ONCE):
            wanted = [chance.randrange(1, longest) for _ in range(AT_ONCE)]
            seen += await asyncio.gather(*(_leave(web, server, one, longest) for one in wanted))
        await asyncio.sleep(SETTLED_WITHIN)
    billed = sorted(one["usage"]["output_tokens"] for name, one in receipts().items() if name not in before)
    pairs = list(zip(billed, sorted(seen), strict=False))
    short = abs(len(seen) - len(billed)) + sum(paid < had for paid, had in pairs)
    return short, max((paid - had for paid, had in pairs), default=0)


async def _leave(web: aiohttp.ClientSession, server: Server, wanted: int, longest: int) -> int:
    """Leave a stream after so many tokens; return how many had come."""
    body = {**BODY, "stream": True, "max_tokens": longest}
    headers = {"Authorization": f"Bearer {server.keys[-1]}"}
    got = 0
    async with web.post(server.url + PATH, json=body, headers=headers) as answer:
        async for line in answer.content:
            chunk = json.loads(line[6:]) if line.startswith(b"data: {") else {"choices": []}
            got += any(choice["delta"].get("content") for choice in chunk["choices"])
            if got >= wanted:
                answer.close()
                break
    return got


@contextmanager
def _swept() -> Iterator[None]:
    """At the end, let all holds expire."""
    from engine.billing import service as billing
    from engine.kit.clock import now
    from engine.kit.database import unit_of_work

    yield
    with unit_of_work() as uow:
        while billing.sweep(uow, now() + timedelta(days=1)):
            pass


async def kills(home: Path, upstream: str, keys: tuple[str, ...], count: int) -> int:
    """Kill the gateway at random moments under load; return how many answers have no receipt."""
    chance = random.Random(SEED)
    told: list[str] = []
    with _swept():
        for number in range(count):
            with gateway_ours.gateway(home, upstream, keys, name=f"killed-{number}") as server:
                async with session() as web:
                    working = [asyncio.create_task(_go_on(web, server, key, told)) for key in keys]
                    await asyncio.sleep(chance.uniform(0.2, 1.0))
                    os.killpg(server.process.pid, signal.SIGKILL)
                    await asyncio.gather(*working)
    known = receipts()
    return sum(name not in known for name in told)


async def _go_on(web: aiohttp.ClientSession, server: Server, key: str, told: list[str]) -> None:
    """Ask until the connection breaks, and note the receipts."""
    while True:
        status, body = await ask(web, server, key)
        if status == 0:
            return
        if status == 200:
            told.append(body["receipt"]["id"])


def _open_holds() -> int:
    from sqlalchemy import text

    from engine.kit.database import unit_of_work

    with unit_of_work() as uow:
        return int(uow.scalar(text("SELECT count(*) FROM billing_holds WHERE state = 'open'")) or 0)


def ledger_sum() -> int:
    """Return the sum of the whole ledger."""
    from engine.billing import service as billing
    from engine.kit.database import unit_of_work

    with unit_of_work() as uow:
        return billing.ledger_sum(uow)


def rows(home: Path, upstream: str, quick: bool) -> Iterator[Row]:
    """Measure everything on the database of this process's settings, where nobody is yet."""
    rounds, requests, streams, deaths = (10, 300, 40, 2) if quick else (200, 10_000, 1_000, 100)
    gateway_ours.expert()
    keys = tuple(gateway_ours.buyer(f"buyer{number}")[0] for number in range(16))
    with gateway_ours.gateway(home, upstream, keys) as server:
        overspent, unpaid = asyncio.run(last_credit(server, rounds, 50))
        title = f"{rounds} rounds of 50 clients on the last credit"
        yield at_most(f"{title}: spent beyond what was there", overspent, 0, "micro-credits")
        yield at_most(f"{title}: rounds with an answer that was not paid", unpaid, 0, "rounds")
        wrong = asyncio.run(retried(server, requests))
        title = f"{requests} requests sent again and again under their keys"
        yield at_most(f"{title}: charged other than once", wrong, 0, "keys")
        short, beyond = asyncio.run(cut(server, streams, 40))
        title = f"{streams} streams cut at a random token"
        yield at_most(f"{title}: billed below what came", short, 0, "streams")
        yield Row(name=f"{title}: most billed beyond what came", value=beyond, unit="tokens")
    lost = asyncio.run(kills(home, upstream, keys, deaths))
    title = f"gateway killed {deaths} times under load"
    yield at_most(f"{title}: answers without a receipt", lost, 0, "answers")
    yield at_most(f"{title}: holds neither settled nor released", _open_holds(), 0, "holds")
    yield at_most(f"{title}: credits still held", still_held(), 0, "micro-credits")
    yield at_most("sum of the ledger after all this", abs(ledger_sum()), 0, "micro-credits")
