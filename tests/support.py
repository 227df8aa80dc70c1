"""Helpers of the tests: running queued jobs in this process, and people to act as."""

import importlib

from sqlalchemy import select

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.jobs import registry, service
from engine.jobs.context import JobContext
from engine.jobs.models import Job
from engine.kit.database import unit_of_work


def run_queued_jobs() -> int:
    """Do every waiting job in this process, also those that a job submits; returns how many."""
    importlib.import_module("engine.wiring").register_jobs()
    done = 0
    while True:
        with unit_of_work() as uow:
            job = uow.scalar(select(Job).where(Job.state == "queued").order_by(Job.created_at))
            if job is None:
                return done
            claim = service.claim(uow, job.id)
        assert claim is not None
        entry, context = registry.find(claim.job.kind), JobContext(claim.job, claim.token)
        result = entry.handler(context)
        context.flush()
        with unit_of_work() as uow:
            ended = context.succeed(uow, result)
            if entry.on_success is not None:
                entry.on_success(uow, ended, result)
        done += 1


def make_person(email: str, *roles: str) -> Person:
    """Add a person with these roles, in a tenant of their own with the plan "pro"."""
    with unit_of_work() as uow:
        return accounts.create_person(
            uow,
            email=email,
            name=email.split("@")[0].title(),
            password="correct horse",
            roles=roles,
            plan="pro",
        )
