"""The place where documents are dropped; the browser's part of it is uploader.js."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import gradio as gr

from engine.kit.messages import t

ROUTE = "/api/admin/knowledge/upload-chunk"
SCRIPT = Path(__file__).with_suffix(".js").read_text("utf-8")
STATES = ("waiting", "reading", "sending", "away", "paused", "left", "kept", "repeated")
CSS = """
.mbe-dropzone{display:block;padding:28px 20px;border:1px dashed var(--line);border-radius:10px;
 background:var(--panel);text-align:center;cursor:pointer}
.mbe-dropzone:hover,.mbe-dropzone.mbe-over,.mbe-dropzone:focus-within{border-color:var(--primary)}
.mbe-dropzone input{position:absolute;width:1px;height:1px;opacity:0}
.mbe-page ul.mbe-uploads{list-style:none!important;margin:0;padding:0}
.mbe-page .mbe-uploads li{list-style:none!important;margin:8px 0 0;padding:12px 16px;background:var(--panel);
 border:1px solid var(--line);border-radius:10px}
.mbe-up-name{overflow-wrap:anywhere;font-weight:600}
.mbe-uploads .mbe-bar-track{height:6px;margin:8px 0;border-radius:3px;background:var(--line);overflow:hidden}
.mbe-uploads .mbe-bar-track i{display:block;height:100%;width:0;background:var(--primary);
 transition:width .2s}
.mbe-uploads li[data-state=kept] .mbe-bar-track i{background:var(--good)}
.mbe-uploads li:is([data-state=repeated],[data-state=refused]) .mbe-bar-track{display:none}
.mbe-up-line{display:flex;flex-wrap:wrap;align-items:center;gap:8px}
.mbe-up-words{flex:1 1 200px;color:var(--muted);overflow-wrap:anywhere}
.mbe-uploads li[data-state=kept] .mbe-up-words{color:var(--good)}
.mbe-uploads li[data-state=refused] .mbe-up-words{color:var(--bad)}
.mbe-up-line button{margin:0!important;min-height:32px;padding:4px 12px;
 border:1px solid var(--line);border-radius:8px;
 background:var(--paper);color:var(--ink);cursor:pointer}
.mbe-up-line button[hidden]{display:none}
@media(max-width:760px){.mbe-up-words{flex-basis:100%}}
"""


def uploader(language: str, suffixes: Sequence[str]) -> gr.HTML:
    """Return the place; its `change` event tells that a document has arrived in the base of the address."""
    # The browser fills these in, as often as they change.
    later = {"name": "{name}", "share": "{share}"}
    words = {state: t(f"studio.upload_{state}", language, **later) for state in STATES}
    words |= {f"do_{name}": t(f"studio.{name}", language) for name in ("pause", "resume", "cancel")}
    return gr.HTML(
        html_template=(
            f'<label class="mbe-dropzone"><input type="file" multiple accept="{",".join(suffixes)}">'
            f"<span>{escape(t('studio.drop_documents', language))}</span></label>"
            f'<ul class="mbe-uploads" aria-label="{escape(t("studio.uploads", language))}"></ul>'
        ),
        js_on_load=SCRIPT,
        words=words,
        route=ROUTE,
    )
