"""What each plan grants: the table of the product's first design, section 4.2."""

from dataclasses import dataclass

GB = 2**30
HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the people of a tenant may use together; None where there is no limit.

    `uploads`, `indexing`, `training` and `queries` count what may run at once; `cpu_seconds` and
    `gpu_seconds` are a month's. `bonus` is added to the priority of the tenant's jobs.
    """

    name: str
    bonus: int
    uploads: int
    indexing: int
    training: int
    queries: int
    storage_bytes: int | None
    knowledge_bases: int | None
    models: int | None
    cpu_seconds: int | None
    gpu_seconds: int | None


PLANS: dict[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan(
            name="free",
            bonus=0,
            uploads=1,
            indexing=1,
            training=0,
            queries=5,
            storage_bytes=1 * GB,
            knowledge_bases=3,
            models=0,
            cpu_seconds=10 * HOUR,
            gpu_seconds=0,
        ),
        Plan(
            name="basic",
            bonus=20,
            uploads=3,
            indexing=2,
            training=1,
            queries=20,
            storage_bytes=10 * GB,
            knowledge_bases=10,
            models=5,
            cpu_seconds=100 * HOUR,
            gpu_seconds=10 * HOUR,
        ),
        Plan(
            name="pro",
            bonus=50,
            uploads=10,
            indexing=5,
            training=3,
            queries=100,
            storage_bytes=100 * GB,
            knowledge_bases=50,
            models=20,
            cpu_seconds=500 * HOUR,
            gpu_seconds=50 * HOUR,
        ),
        # The design leaves this one open. What runs at once has a limit here too: this bonus is larger than
        # what waiting can add, and on many machines no single tenant should have them all.
        Plan(
            name="enterprise",
            bonus=100,
            uploads=50,
            indexing=20,
            training=10,
            queries=500,
            storage_bytes=None,
            knowledge_bases=None,
            models=None,
            cpu_seconds=None,
            gpu_seconds=None,
        ),
    )
}
