"""Signing in and out, and who I am."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from apps.cookies import clear_session, set_session
from apps.gateway.errors import language_of
from apps.gateway.identity import Caller
from engine.accounts.schemas import Person
from engine.flows import people

router = APIRouter(tags=["accounts"])


class Credentials(BaseModel):
    """An address and its password."""

    email: str
    password: str


class NewAccount(Credentials):
    """A new account of one of the open roles."""

    name: str = Field(min_length=1, max_length=100)
    role: str = "consumer"


class StarterRole(BaseModel):
    """Which starter account to continue as."""

    role: str


def _entered(entered: tuple[Person, str], response: Response) -> Person:
    person, cookie = entered
    set_session(response, cookie)
    return person


@router.post("/auth/sign-in")
def sign_in(given: Credentials, response: Response) -> Person:
    """Sign in; the answer sets the session cookie."""
    return _entered(people.sign_in(given.email, given.password), response)


@router.post("/auth/sign-up")
def sign_up(given: NewAccount, request: Request, response: Response) -> Person:
    """Make an account and sign in."""
    entered = people.sign_up(
        email=given.email,
        name=given.name,
        password=given.password,
        role=given.role,
        language=language_of(request),
    )
    return _entered(entered, response)


@router.post("/auth/continue-as")
def continue_as(given: StarterRole, response: Response) -> Person:
    """Sign in as a starter account; only while the product listens on this machine alone."""
    return _entered(people.continue_as(given.role), response)


@router.post("/auth/sign-out")
def sign_out(response: Response) -> dict[str, bool]:
    """Forget the session cookie."""
    clear_session(response)
    return {"signed_out": True}


@router.get("/auth/me")
def me(caller: Caller) -> Person:
    """Say who is calling."""
    return caller
