"""The counts of this process, for a Prometheus server on the same machine."""

from ipaddress import IPv6Address, ip_address

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from engine.flows import reconcile
from engine.kit import metrics as counts

router = APIRouter(include_in_schema=False)

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Return what was counted, as text. Others than this machine are told that there is no such page."""
    # Tenants and what they pay are in here. Prometheus has no session and a key would have to lie in its
    # configuration, so only who is on the machine may read; a collector elsewhere comes through an agent or a
    # tunnel that ends here. A proxy on this machine is on it, too, but says for whom it asks.
    if not _from_here(request):
        raise HTTPException(404)
    reconcile.show()
    body, kind = counts.exposition(request.headers.get("accept", ""))
    return Response(body, media_type=kind)


def _from_here(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
