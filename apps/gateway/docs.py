"""The list of routes as a page of our own: FastAPI's own page loads scripts from another host."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from apps.frame import page
from apps.gateway.errors import language_of
from engine.kit.messages import t
from engine.kit.settings import settings

router = APIRouter(include_in_schema=False)

STYLE = """<style>
table{border-collapse:collapse;width:100%;background:var(--panel);border:1px solid var(--line)}
td{padding:8px 12px;border-top:1px solid var(--line);vertical-align:top}
td:first-child{width:72px;color:var(--muted);font-size:14px}
pre{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 16px;overflow:auto}
.scroll{overflow-x:auto}
</style>"""

EXAMPLE = """curl {url}/v1/chat/completions \\
  -H "Authorization: Bearer $MBE_API_KEY" -H "Content-Type: application/json" \\
  -d '{{"model": "help-desk", "messages": [{{"role": "user", "content": "..."}}], "stream": true}}'"""


def routes_by_tag(schema: dict[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """Return (method, path, what it does) under each tag of an OpenAPI document."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            words = operation.get("description") or operation.get("summary", "")
            found.setdefault(operation["tags"][0], []).append((method.upper(), path, words))
    return found


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Show every route of the API."""
    language = language_of(request)
    sections = []
    for tag, routes in routes_by_tag(request.app.openapi()).items():
        rows = "".join(
            f"<tr><td>{method}</td><td><code>{escape(path)}</code></td><td>{escape(words)}</td></tr>"
            for method, path, words in routes
        )
        sections.append(f'<h2>{escape(tag)}</h2><div class="scroll"><table>{rows}</table></div>')
    body = (
        f'<p><a href="{escape(settings().web_url)}">MBE Studio</a></p>'
        f"<h1>{t('gateway.docs_title', language)}</h1><p>{t('gateway.docs_key', language)}</p>"
        f"<pre><code>{escape(EXAMPLE.format(url=settings().gateway_url))}</code></pre>"
        f'<p>{t("gateway.docs_schema", language)} <a href="/openapi.json">openapi.json</a></p>'
        f"{''.join(sections)}"
    )
    return HTMLResponse(page(t("gateway.docs_title", language), language, body, head=STYLE))
