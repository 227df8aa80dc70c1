"""Setting and clearing the session cookie, the same for pages and gateway."""

from starlette.responses import Response

from engine.accounts.sessions import COOKIE, LIFETIME
from engine.kit.settings import settings


def set_session(response: Response, cookie: str) -> None:
    """Send the session cookie: not readable by scripts, not sent along from other sites' forms."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=LIFETIME,
        httponly=True,
        samesite="lax",
        secure=settings().web_url.startswith("https://"),
    )


def clear_session(response: Response) -> None:
    """Take the session cookie back."""
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
