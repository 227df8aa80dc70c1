"""The front page, signing in and out, and the person's account: plain HTML, no framework."""

from html import escape
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from apps import readiness
from apps.cookies import clear_session, set_session
from apps.frame import PLACES, header_for, page
from engine.accounts.schemas import Person
from engine.accounts.sessions import COOKIE
from engine.flows import people
from engine.kit.errors import EngineError, Forbidden, NotSignedIn
from engine.kit.messages import LANGUAGES, pick_language, t
from engine.kit.settings import settings

router = APIRouter()
FIRST_PLACE = {
    "developer": "studio/",
    "consumer": "market/",
    "evaluator": "arena/",
    "reviewer": "studio/review",
    "operator": "studio/operator",
    "stakeholder": "dashboard/",
}

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
    'fill="#14213D"/><path d="M7 23V9l9 8 9-8v14" fill="none" stroke="#E0A030" stroke-width="3" '
    'stroke-linejoin="round" stroke-linecap="round"/></svg>'
)


def visitor(request: Request) -> Person | None:
    """Return who is signed in, if anybody."""
    try:
        return people.by_cookie(request.cookies.get(COOKIE))
    except NotSignedIn:
        return None


def language_of(request: Request) -> str:
    """Return the language a visitor reads: their choice, else the browser's."""
    return pick_language(request.cookies.get("mbe_lang"), request.headers.get("accept-language"))


def local_path(address: str, fallback: str) -> str:
    """Return `address` when it is a path of this site, so that signing in never leads elsewhere."""
    parts = urlsplit(address)
    safe = address.startswith("/") and not parts.netloc and not parts.scheme and "\\" not in address
    return address if safe and not address.startswith("//") else fallback


def same_site(request: Request) -> None:
    """Refuse a form that another site sent. Raises Forbidden."""
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc not in (
        request.headers.get("host", ""),
        urlsplit(settings().web_url).netloc,
    ):
        raise Forbidden("gateway.other_origin")


@router.get("/favicon.svg")
def favicon() -> Response:
    """Return the icon of the tab."""
    return Response(FAVICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


@router.get("/")
def root(request: Request) -> RedirectResponse:
    """Lead to the front page in the visitor's language."""
    return RedirectResponse(f"/{language_of(request)}/", 307)


@router.get("/health")
def health() -> dict[str, str]:
    """Say that the pages are served."""
    return {"status": "ok"}


@router.get("/ready")
def ready(request: Request) -> HTMLResponse:
    """Return the list of what is ready, as a piece of HTML that the front page refreshes."""
    return HTMLResponse(readiness.as_html(language_of(request)))


def _doors(language: str) -> str:
    cards = "".join(
        f'<a class="door" href="/{language}/{place}/"><b>{t(f"frame.{place}", language)}</b>'
        f"<span>{t(f'front.door_{place}', language)}</span></a>"
        for place in PLACES
    )
    return f'<div class="doors">{cards}</div>'


def _starters(language: str) -> str:
    if not settings().loopback:
        return ""
    buttons = "".join(
        f'<button name="role" value="{role}">{t(f"front.role_{role}", language)}</button>'
        for role in people.STARTERS
    )
    return (
        f"<h2>{t('front.continue_title', language)}</h2>"
        f'<form method="post" action="/{language}/continue" class="row">{buttons}</form>'
        f'<p class="muted" style="margin-top:8px">{t("front.continue_why", language)}</p>'
    )


READY_SCRIPT = """<script>
const box=document.getElementById('ready');
setInterval(async()=>{try{const r=await fetch('/ready');if(r.ok){const h=await r.text();
if(h!==box.innerHTML)box.innerHTML=h}}catch(e){}},2000)
</script>"""


@router.get("/{language}/", response_class=HTMLResponse)
def front(language: str, request: Request) -> Response:
    """The front page: what this is, what is ready, where to go."""
    if language not in LANGUAGES:
        return missing(request)
    person = visitor(request)
    gateway = f"{settings().gateway_url}/v1"
    known = f"<p>{t('front.signed_in_as', language, name=escape(person.name))}</p>" if person else ""
    body = (
        f"<h1>{t('front.headline', language)}</h1><p>{t('front.what', language)}</p>{known}"
        f"<h2>{t('front.doors', language)}</h2>{_doors(language)}{_starters(language)}"
        f"<h2>{t('front.ready_title', language)}</h2>"
        f'<div id="ready" class="card" aria-live="polite">{readiness.as_html(language)}</div>'
        f"<h2>{t('front.api_title', language)}</h2>"
        f'<p><code>base_url = "{escape(gateway)}"</code> · '
        f'<a href="{escape(settings().gateway_url)}/docs">{t("front.api_docs", language)}</a></p>'
        f"{READY_SCRIPT}"
    )
    return _shown(t("front.title", language), language, body, "", person)


def _shown(title: str, language: str, body: str, path: str, person: Person | None) -> HTMLResponse:
    html = page(title, language, body, top=header_for("", language, person, path))
    response = HTMLResponse(html)
    response.set_cookie("mbe_lang", language, max_age=365 * 86400, samesite="lax")
    return response


def missing(request: Request) -> HTMLResponse:
    """The page for an address that leads nowhere."""
    language = language_of(request)
    body = f"<h1>404</h1><p>{t('front.no_page', language)}</p>"
    top = header_for("", language, visitor(request))
    return HTMLResponse(page("404", language, body, top=top), 404)


def refusal(request: Request, error: EngineError) -> HTMLResponse:
    """The page for a request that was refused: what happened, in the visitor's language."""
    language = language_of(request)
    body = f'<h1>{error.status}</h1><p class="error">{escape(error.message(language))}</p>'
    top = header_for("", language, visitor(request))
    return HTMLResponse(page("MBE Studio", language, body, top=top), error.status)


def _field(name: str, language: str, kind: str = "text", value: str = "", extra: str = "") -> str:
    return (
        f'<label for="{name}">{t(f"front.{name}", language)}</label>'
        f'<input id="{name}" name="{name}" type="{kind}" value="{escape(value)}" required {extra}>'
    )


def _submit(key: str, language: str) -> str:
    return f'<p style="margin-top:16px"><button class="primary">{t(key, language)}</button></p>'


def _sign_in_form(language: str, goal: str, email: str, error: str) -> str:
    trouble = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    follow = f"?next={quote(goal)}" if goal else ""
    return (
        f'<div style="max-width:400px"><h1>{t("front.sign_in", language)}</h1>{trouble}'
        f'<form method="post" action="/{language}/sign-in{follow}">'
        f"{_field('email', language, 'email', email, 'autocomplete=username')}"
        f"{_field('password', language, 'password', extra='autocomplete=current-password')}"
        f"{_submit('front.sign_in', language)}</form>"
        f'<p><a href="/{language}/sign-up{follow}">{t("front.sign_up_instead", language)}</a></p></div>'
        f"{_starters(language)}"
    )


def _sign_up_form(language: str, given: dict[str, str], error: str) -> str:
    trouble = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    options = "".join(
        f'<option value="{role}"{" selected" if role == given.get("role") else ""}>'
        f"{t(f'front.role_{role}', language)}</option>"
        for role in ("consumer", "developer", "evaluator")
    )
    return (
        f'<div style="max-width:400px"><h1>{t("front.sign_up", language)}</h1>{trouble}'
        f'<form method="post" action="/{language}/sign-up">'
        f"{_field('name', language, value=given.get('name', ''), extra='autocomplete=name')}"
        f"{_field('email', language, 'email', given.get('email', ''), 'autocomplete=username')}"
        f"{_field('password', language, 'password', extra='autocomplete=new-password minlength=8')}"
        f'<label for="role">{t("front.role", language)}</label>'
        f'<select id="role" name="role">{options}</select>'
        f"{_submit('front.sign_up', language)}</form>"
        f'<p><a href="/{language}/sign-in">{t("front.sign_in_instead", language)}</a></p></div>'
    )


@router.get("/{language}/sign-in")
def sign_in_page(language: str, request: Request, next: str = "") -> HTMLResponse:
    """Ask for address and password."""
    language = pick_language(language)
    body = _sign_in_form(language, local_path(next, ""), "", "")
    return _shown(t("front.sign_in", language), language, body, "sign-in", visitor(request))


@router.post("/{language}/sign-in", response_model=None)
def sign_in(
    language: str,
    request: Request,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: str = "",
) -> Response:
    """Sign in and go on to where the person wanted to be."""
    language = pick_language(language)
    try:
        same_site(request)
        person, cookie = people.sign_in(email, password)
    except EngineError as error:
        body = _sign_in_form(language, local_path(next, ""), email, error.message(language))
        response = _shown(t("front.sign_in", language), language, body, "sign-in", None)
        response.status_code = error.status
        return response
    return _entered(cookie, local_path(next, "") or f"/{language}/{_home(person)}")


def _home(person: Person) -> str:
    return next((FIRST_PLACE[role] for role in FIRST_PLACE if role in person.roles), "market/")


def _entered(cookie: str, goal: str) -> RedirectResponse:
    response = RedirectResponse(goal, 303)
    set_session(response, cookie)
    return response


@router.get("/{language}/sign-up")
def sign_up_page(language: str, request: Request) -> HTMLResponse:
    """Ask for what an account needs."""
    language = pick_language(language)
    return _shown(
        t("front.sign_up", language), language, _sign_up_form(language, {}, ""), "sign-up", visitor(request)
    )


@router.post("/{language}/sign-up", response_model=None)
def sign_up(
    language: str,
    request: Request,
    name: Annotated[str, Form()] = "",
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    role: Annotated[str, Form()] = "consumer",
) -> Response:
    """Make an account and sign in."""
    language = pick_language(language)
    try:
        same_site(request)
        person, cookie = people.sign_up(
            email=email, name=name, password=password, role=role, language=language
        )
    except EngineError as error:
        given = {"name": name, "email": email, "role": role}
        body = _sign_up_form(language, given, error.message(language))
        response = _shown(t("front.sign_up", language), language, body, "sign-up", None)
        response.status_code = error.status
        return response
    return _entered(cookie, f"/{language}/{_home(person)}")


@router.post("/{language}/continue", response_model=None)
def continue_as(language: str, request: Request, role: Annotated[str, Form()] = "") -> Response:
    """Enter as a starter account; refused unless bound to loopback."""
    language = pick_language(language)
    try:
        same_site(request)
        _, cookie = people.continue_as(role)
    except EngineError as error:
        return refusal(request, error)
    return _entered(cookie, f"/{language}/{FIRST_PLACE[role]}")


@router.get("/{language}/account")
def account(language: str, request: Request) -> Response:
    """Say who is signed in, and let them leave."""
    language = pick_language(language)
    person = visitor(request)
    if person is None:
        return RedirectResponse(f"/{language}/sign-in", 303)
    roles = ", ".join(sorted(t(f"role.{role}", language) for role in person.roles))
    body = (
        f"<h1>{t('front.account', language)}</h1><p>{escape(person.name)} · {escape(person.email)}<br>"
        f'<span class="muted">{escape(roles)}</span></p>'
        f'<form method="post" action="/{language}/sign-out">'
        f"<button>{t('front.sign_out', language)}</button></form>"
    )
    return _shown(t("front.account", language), language, body, "account", person)


@router.post("/{language}/sign-out")
def sign_out(language: str, request: Request) -> RedirectResponse:
    """Forget the session and go to the front page."""
    same_site(request)
    response = RedirectResponse(f"/{pick_language(language)}/", 303)
    clear_session(response)
    return response
