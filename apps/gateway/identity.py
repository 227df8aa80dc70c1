"""Who calls: an API key in `Authorization: Bearer`, or the session cookie of the pages.

A key needs the scope of the route: "account" unless `DOORS` says otherwise. `X-Tenant-ID` and `X-Project-ID`
may name the tenant and the project that the call is for.
"""

from typing import Annotated
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import Depends, Request

from engine.accounts import keys
from engine.accounts.schemas import Caller as Calling
from engine.accounts.schemas import Person
from engine.accounts.sessions import COOKIE
from engine.flows import people
from engine.flows.call_ticket import Credentials
from engine.kit.errors import Forbidden
from engine.kit.settings import settings

DOORS = {
    "/v1/models": ("chat", "embeddings"),
    "/v1/embeddings": ("embeddings",),
}
"""Routes that other scopes than "account" open; what is posted to them names a model."""


async def asked_model(request: Request) -> str | None:
    """Return the model that a request to one of the doors names; the body is read once for all."""
    if request.method != "POST" or request.scope["path"] not in DOORS:
        return None
    try:
        body = await request.json()
    except ValueError:
        return None  # the route refuses it
    model = body.get("model") if isinstance(body, dict) else None
    return model if isinstance(model, str) else None


def calling(request: Request, model: Annotated[str | None, Depends(asked_model)]) -> Calling:
    """Return who calls, allowed to.

    Raises NotSignedIn, NotFound for an unknown project, and Forbidden: for a page of another site, another
    tenant, or something that the key may not do.
    """
    secret = _secret(request)
    if secret is None and request.method not in ("GET", "HEAD", "OPTIONS"):
        _same_site(request)
    caller = people.calling(
        secret=secret,
        cookie=request.cookies.get(COOKIE),
        tenant=words(request, "x-tenant-id"),
        project=words(request, "x-project-id"),
    )
    path = str(request.scope["path"])
    scopes = DOORS.get("/v1/models" if path.startswith("/v1/models/") else path, ("account",))
    keys.check(caller, scope=scopes, ip=_address(request), model=model)
    return caller


def person(caller: Annotated[Calling, Depends(calling)]) -> Person:
    """Return the person who calls."""
    return caller.person


def keeper(caller: Annotated[Calling, Depends(calling)]) -> Person:
    """Return the person who calls, with a session or a key without limits. Raises Forbidden for others."""
    keys.check_free(caller)
    return caller.person


def words(request: Request, header: str) -> str | None:
    """Return a header's words; clients send those beyond ASCII as UTF-8, and servers read Latin-1."""
    value = request.headers.get(header)
    if value is None:
        return None
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


async def credentials(request: Request) -> Credentials:
    """Return what somebody calls with; a key is looked up, and asked what it may do, with the model it calls.

    Raises as `calling` does for a session cookie.
    """
    tenant, project = words(request, "x-tenant-id"), words(request, "x-project-id")
    secret = _secret(request)
    if secret is not None:
        return Credentials(secret=secret, ip=_address(request), tenant=tenant, project=project)
    caller = await anyio.to_thread.run_sync(calling, request, None)
    return Credentials(person=caller.person, tenant=tenant, project=project)


def _secret(request: Request) -> str | None:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret else None


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


def _same_site(request: Request) -> None:
    """A cookie travels with requests that other sites make; an Origin that is not ours tells them."""
    origin = request.headers.get("origin")
    ours = {urlsplit(settings().web_url).netloc, urlsplit(settings().gateway_url).netloc}
    if origin and urlsplit(origin).netloc not in ours | {request.headers.get("host", "")}:
        raise Forbidden("gateway.other_origin")


Caller = Annotated[Person, Depends(person)]
Keeper = Annotated[Person, Depends(keeper)]
