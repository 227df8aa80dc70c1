"""Model servers, which operators declare and probe."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.identity import Caller
from engine.flows import manage_upstreams
from engine.flows.manage_upstreams import Standing
from engine.serving.breaker import State
from engine.serving.schemas import Upstream
from engine.serving.upstreams import EVERY, UpstreamTerms

router = APIRouter(prefix="/api/upstreams", tags=["model servers"])


class Changes(BaseModel):
    """Terms of a model server; those that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field("", description="Without /v1; unencrypted only on the gateway's own machine.")
    key_variable: str = Field("", description="The MBE_UPSTREAM_KEY_... variable that holds its bearer key.")
    model: str = Field(EVERY, description="The expert that it answers for, by its public name, or *.")
    served_as: str = Field("", description="The model to ask it for; empty: it loads adapters as ours does.")
    weight: int = Field(1, description="Its share of the calls of its rank, 0 to 1000.")
    fallback: int = Field(0, description="Its rank; tried when all servers of lower ranks are broken.")
    enabled: bool = True


class Declared(Changes):
    """A model server."""

    name: str


class Shown(Upstream):
    """A model server, and how it fares in the gateway process that answers; `state` is null before a call."""

    state: State | None
    key_missing: bool
    probed_at: datetime | None
    probe_good: bool | None
    probe_ms: int | None


def _shown(one: Standing) -> Shown:
    return Shown(
        **one.upstream.model_dump(),
        state=one.state,
        key_missing=one.key_missing,
        probed_at=one.probed_at,
        probe_good=one.probe_good,
        probe_ms=one.probe_ms,
    )


@router.get("")
def listing(caller: Caller) -> list[Shown]:
    """List all model servers by rank and name; "local" is the built-in one."""
    return [_shown(one) for one in manage_upstreams.listing(caller)]


@router.post("", status_code=201)
def declare(given: Declared, caller: Caller) -> Upstream:
    """Add a model server; calls go there within a second."""
    return manage_upstreams.declare(caller, UpstreamTerms(**given.model_dump()))


@router.patch("/{upstream_id}")
def change(upstream_id: str, given: Changes, caller: Caller) -> Upstream:
    """Change a model server; "local" is the built-in one, of which weight, rank and enabled can change."""
    return manage_upstreams.change(caller, upstream_id, given.model_dump(exclude_unset=True))


@router.delete("/{upstream_id}", status_code=204)
def remove(upstream_id: str, caller: Caller) -> None:
    """Remove a model server; answers that it is giving go on."""
    manage_upstreams.remove(caller, upstream_id)


@router.post("/{upstream_id}/probe")
async def probe(upstream_id: str, caller: Caller) -> Shown:
    """Ask a model server for one token, now."""
    return _shown(await manage_upstreams.probe(caller, upstream_id))
