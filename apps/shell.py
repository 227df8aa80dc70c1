"""What every Gradio page shares: theme, frame, the person behind a request, errors in words."""

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import gradio as gr

from apps.frame import FRAME_CSS
from apps.theme import DARK, FONTS, LIGHT, MONO, WIDTH, root_css
from engine.accounts.schemas import Person
from engine.flows import people
from engine.kit.errors import EngineError
from engine.kit.ids import new_id
from engine.kit.logs import logger
from engine.kit.messages import t

log = logger(__name__)

CSS = f"""
{root_css()}
{FRAME_CSS}
body,gradio-app{{background:var(--paper)!important}}
.gradio-container{{max-width:none!important;padding:0!important;background:var(--paper)!important}}
.gradio-container>.main,.gradio-container main{{padding:0!important;max-width:none!important}}
.mbe-page{{max-width:{WIDTH}px;margin:0 auto!important;padding:24px 16px 64px!important;width:100%}}
.mbe-frame{{padding:0!important;border:0!important;background:none!important;overflow:visible!important}}
.gradio-container .nav-holder{{display:none!important}}
.gradio-container .html-container{{padding:0!important}}
.gradio-container .contain>.column{{gap:0}}
.gradio-container .table-wrap,.gradio-container .table-wrap *{{font-family:{FONTS}}}
.mbe-page button.lg,.mbe-page button.sm,.mbe-page button.md{{width:auto;flex-grow:0;font-weight:500;
 font-size:15px;padding:8px 16px;min-height:40px}}
footer{{display:none!important}}
.mbe-tabs{{display:flex;gap:4px 20px;flex-wrap:wrap;border-bottom:1px solid var(--line);margin-bottom:20px}}
.mbe-tabs a{{padding:8px 0;color:var(--muted);text-decoration:none;border-bottom:2px solid transparent;
 margin-bottom:-1px}}
.mbe-tabs a[aria-current]{{color:var(--ink);border-color:var(--primary);font-weight:600}}
.mbe-empty{{border:1px dashed var(--line);border-radius:10px;padding:32px 20px;text-align:center;
 color:var(--muted)}}
.mbe-card{{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:16px 20px}}
.mbe-card .mbe-bar-track{{height:6px;border-radius:3px;background:var(--line);overflow:hidden;
 margin:10px 0 6px}}
.mbe-card .mbe-bar-track i{{display:block;height:100%;background:var(--primary)}}
.mbe-state{{font-weight:600}} .mbe-state.good{{color:var(--good)}} .mbe-state.bad{{color:var(--bad)}}
.mbe-muted{{color:var(--muted)}} .mbe-num{{font-variant-numeric:tabular-nums}}
.mbe-money{{color:var(--ink);font-weight:600;font-variant-numeric:tabular-nums}}
.mbe-page h1{{font-size:24px;margin:0 0 4px;font-weight:650;letter-spacing:-.01em}}
.mbe-page h2{{font-size:18px;margin:24px 0 8px;font-weight:650}}
.mbe-page table{{font-variant-numeric:tabular-nums}}
@media(max-width:760px){{.mbe-page{{padding:16px 12px 48px!important}}}}
"""


def theme() -> gr.themes.Base:
    """Return the Gradio theme made from the product's colours; it loads no font from anywhere."""
    fonts = [name.strip().strip('"') for name in FONTS.split(",")]
    mono = [name.strip().strip('"') for name in MONO.split(",")]
    pairs: dict[str, str] = {}
    for name, value in {
        "body_background_fill": "paper",
        "body_text_color": "ink",
        "body_text_color_subdued": "muted",
        "background_fill_primary": "panel",
        "background_fill_secondary": "paper",
        "block_border_color": "line",
        "border_color_primary": "line",
        "border_color_accent": "primary",
        "color_accent": "primary",
        "input_background_fill": "panel",
        "input_border_color": "line",
        "input_border_color_focus": "primary",
        "button_primary_background_fill": "primary",
        "button_primary_background_fill_hover": "primary",
        "button_primary_border_color": "primary",
        "button_primary_text_color": "panel",
        "button_secondary_background_fill": "panel",
        "button_secondary_border_color": "line",
        "button_secondary_text_color": "ink",
        "block_label_text_color": "muted",
        "block_title_text_color": "ink",
        "link_text_color": "primary",
        "slider_color": "primary",
        "error_text_color": "bad",
    }.items():
        pairs[name] = getattr(LIGHT, value)
        if name != "color_accent":
            pairs[f"{name}_dark"] = getattr(DARK, value)
    base = gr.themes.Base(font=fonts, font_mono=mono, radius_size="md", text_size="md")
    return base.set(
        **pairs,
        block_shadow="none",
        block_border_width="0px",
        block_padding="0px",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        input_border_width="1px",
        input_padding="9px 12px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        button_large_radius="8px",
        button_small_radius="8px",
        button_primary_shadow="none",
    )


def person_of(request: gr.Request) -> Person:
    """Return the signed-in person behind a Gradio event. Raises NotSignedIn."""
    return people.by_id(request.username or "")


def tabs(items: list[tuple[str, str, bool]]) -> str:
    """Return the sub-navigation of a place: (address, words, whether it is this page)."""
    links = "".join(
        f'<a href="{href}"{" aria-current=page" if here else ""}>{words}</a>' for href, words, here in items
    )
    return f'<nav class="mbe-tabs">{links}</nav>'


def spoken(language: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler: errors of ours reach the person as a message in their language, others as one
    sentence with a number that is in the log."""

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except EngineError as error:
            raise gr.Error(error.message(language), title=t("shell.sorry", language)) from error
        except gr.Error:
            raise
        except Exception as error:
            raise unexpected(error, language) from error

    return call


def spoken_stream(language: str, handler: Callable[..., AsyncGenerator[Any, None]]) -> Callable[..., Any]:
    """Wrap a handler that yields, the same way as `spoken`."""

    @functools.wraps(handler)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        try:
            async with aclosing(handler(*args, **kwargs)) as views:
                async for view in views:
                    yield view
        except EngineError as error:
            raise gr.Error(error.message(language), title=t("shell.sorry", language)) from error
        except gr.Error:
            raise
        except Exception as error:
            raise unexpected(error, language) from error

    return call


def unexpected(error: Exception, language: str) -> gr.Error:
    """Log what nobody foresaw and return the sentence for the person."""
    number = new_id("err")
    log.error("page failed", number=number, exc_info=error)
    return gr.Error(t("shell.unexpected", language, number=number), title=t("shell.sorry", language))
