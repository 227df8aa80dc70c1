"""Who calls: an API key in `Authorization: Bearer`, or the session cookie of the pages."""

from typing import Annotated
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import Depends, Request

from engine.accounts.schemas import Person
from engine.accounts.sessions import COOKIE
from engine.flows import people
from engine.flows.charge_call import Credentials
from engine.kit.errors import Forbidden
from engine.kit.settings import settings


def caller(request: Request) -> Person:
    """Return the person who calls. Raises NotSignedIn, or Forbidden for a page of another site."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        return people.by_key(secret.strip())
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        _same_site(request)
    return people.by_cookie(request.cookies.get(COOKIE))


async def credentials(request: Request) -> Credentials:
    """Return what somebody calls with; a key is looked up with the model it calls.

    Raises as `caller` does for a session cookie.
    """
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        return Credentials(secret=secret.strip())
    return Credentials(person=await anyio.to_thread.run_sync(caller, request))


def _same_site(request: Request) -> None:
    """A cookie travels with requests that other sites make; an Origin that is not ours tells them."""
    origin = request.headers.get("origin")
    ours = {urlsplit(settings().web_url).netloc, urlsplit(settings().gateway_url).netloc}
    if origin and urlsplit(origin).netloc not in ours | {request.headers.get("host", "")}:
        raise Forbidden("gateway.other_origin")


Caller = Annotated[Person, Depends(caller)]
