"""What every page of the studio shares: who may see it, where its events lead, the jobs it shows."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from apps import shell
from apps.job_actions import JobActions
from apps.pages import Group, Page
from engine.accounts.schemas import Person
from engine.jobs.schemas import ACTIVE, JobView
from studio.handlers import access
from studio.handlers import jobs as job_handlers

CSS = """
.mbe-page .mbe-drop{border:1px dashed var(--line)!important;border-radius:10px!important;
 background:var(--panel)}
.mbe-page .mbe-panel{background:var(--panel);border:1px solid var(--line);border-radius:10px;
 padding:16px 20px}
.mbe-facts{display:grid;grid-template-columns:max-content 1fr;gap:6px 20px;margin:0}
.mbe-facts dd{margin:0}
@media(max-width:760px){.mbe-facts{grid-template-columns:1fr;gap:2px}.mbe-facts dd{margin-bottom:8px}}
.mbe-page details>summary{cursor:pointer;margin:8px 0}
.mbe-page p.mbe-ways{margin:12px 0 0}
.mbe-page .mbe-ways a{padding:0;margin-right:20px;color:var(--primary);text-decoration:none}
.mbe-stack>.mbe-card{margin-bottom:8px}
.mbe-page ol.mbe-track{display:flex;flex-wrap:wrap;gap:4px 0;list-style:none!important;
 margin:8px 0 16px;padding:0}
.mbe-page .mbe-track li{list-style:none!important;margin:0;padding:0;color:var(--muted);white-space:nowrap}
.mbe-track li+li::before{content:"→";margin:0 10px;color:var(--muted);font-weight:400}
.mbe-page .mbe-track li.passed{color:var(--good)}
.mbe-page .mbe-track li[aria-current]{color:var(--primary);font-weight:650}
.mbe-page .mbe-track li.bad{color:var(--bad);font-weight:650}
"""

TICK_SECONDS = 1.5


class JobBox(Group):
    """A job on a page: its card, and the buttons that its state allows."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.job_id = gr.Textbox(visible=False)
        self.card = gr.HTML(visible=False)
        self.actions = JobActions(language)
        self.timer = gr.Timer(TICK_SECONDS, active=False)

    @property
    def parts(self) -> list[Any]:
        return [self.job_id, self.card, *self.actions.parts, self.timer]

    def show(self, job: JobView | None) -> dict[Any, Any]:
        """Return the updates that show `job`; the page is asked again only while it moves."""
        if job is None:
            return {
                self.job_id: "",
                self.card: gr.update(visible=False),
                self.timer: gr.update(active=False),
                **self.actions.show(None),
            }
        return {
            self.job_id: job.id,
            self.card: gr.update(value=job_handlers.card(job, self.language), visible=True),
            self.timer: gr.update(active=job.state in (*ACTIVE, "queued")),
            **self.actions.show(job),
        }


class StudioPage(Page):
    """A page of the studio, for people of one role."""

    place = catalog = "studio"
    css = CSS
    role = "developer"

    def tabs(self, person: Person | None) -> list[tuple[str, str, bool]]:
        return access.tabs(person, self.language, self.path)

    def refusal(self, person: Person) -> str:
        return "" if self.role in person.roles else access.refusal(self.role, self.language)

    def connect(self, box: JobBox, tick: Callable[..., dict[Any, Any]], subject: Any) -> None:
        """Let a job box's timer and buttons work; `tick(subject, request)` refreshes the page."""
        self.on(box.timer.tick, tick, [subject])
        box.actions.wire(self, lambda change: _changing(change, tick), [box.job_id, subject])


def _changing(change: str, tick: Callable[..., dict[Any, Any]]) -> Callable[..., Any]:
    def act(job_id: str, subject: str, request: gr.Request) -> dict[Any, Any]:
        job_handlers.change(shell.person_of(request), job_id, change)
        return tick(subject, request)

    return act
