"""A developer's page: ask experts, let people rate the answers, read what they found."""

from typing import Any

import gradio as gr

from apps import cards
from apps.human_eval import handlers
from apps.human_eval.pages.frame import EvalPage
from apps.job_actions import JobActions
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.flows import schedule_jobs
from engine.flows.judge_by_hand import MOST_JUDGEMENTS
from engine.jobs.schemas import ACTIVE, JobView
from engine.kit.errors import EngineError

MOST_SHOWN = 3
TICK_SECONDS = 1.5


class CampaignsPage(EvalPage):
    """List of campaigns, and the results of one."""

    path = "campaigns"

    def build(self) -> None:
        with gr.Column() as listing:
            self.listing = self.part(listing)
            gr.HTML(f"<h1>{self.t('tab_campaigns')}</h1><p class='mbe-muted'>{self.t('campaigns_why')}</p>")
            self.slots = [self._slot() for _ in range(MOST_SHOWN)]
            self.more = self.part(gr.HTML(visible=False))
            self.table = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('new_campaign')}</h2>")
            self.no_experts = self.part(gr.HTML(visible=False))
            with gr.Column() as making:
                self.making = self.part(making)
                self._build_form()
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self.head = self.part(gr.HTML())
            self.message = self.part(gr.HTML())
            self.plot = self.part(gr.Plot(show_label=False, container=False, visible=False))
            self.found = self.part(gr.HTML())
            self.comments = self.part(gr.HTML())
        self.timer = self.part(gr.Timer(TICK_SECONDS, active=False))

    def _build_form(self) -> None:
        title = gr.Textbox(label=self.t("title"), info=self.t("title_info"), max_length=120)
        experts = gr.CheckboxGroup([], label=self.t("experts"), info=self.t("experts_info"))
        questions = gr.Textbox(
            label=self.t("questions"), info=self.t("questions_info"), lines=5, max_lines=14
        )
        each = gr.Number(
            1,
            label=self.t("judgements_each"),
            info=self.t("judgements_info"),
            precision=0,
            minimum=1,
            maximum=MOST_JUDGEMENTS,
        )
        self.form = self.part(
            Form(self.language, title=title, experts=experts, questions=questions, judgements_each=each)
        )
        with gr.Row(elem_classes="mbe-row"):
            self.create = gr.Button(self.t("create"), variant="primary", size="md")

    def _slot(self) -> dict[str, Any]:
        """Return the place of one gathering: its card, and its buttons."""
        with gr.Column(visible=False) as whole:
            slot = {"whole": self.part(whole), "job": self.part(gr.Textbox(visible=False))}
            slot["card"] = self.part(gr.HTML())
            slot["actions"] = self.part(JobActions(self.language))
        return slot

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.create.click, self.creating, self.form.inputs, busy=[self.create])
        self.on(self.timer.tick, self.tick)
        for slot in self.slots:
            slot["actions"].wire(self, self._changing, [slot["job"]])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if campaign_id := query.get("campaign"):
            return self.results(person, campaign_id)
        return self.as_it_is(person)

    def as_it_is(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show what is gathering, the list, and the choice of experts."""
        now = handlers.campaigns(person, self.language)
        choice = gr.update(choices=list(now.experts))
        return {
            **self.moving(now),
            self.form.fields["experts"]: choice,
            self.no_experts: gr.update(value=now.no_experts, visible=bool(now.no_experts)),
            self.making: gr.update(visible=not now.no_experts),
        }

    def moving(self, now: handlers.Campaigns) -> dict[Any, Any]:
        """Return the updates of what changes while the person only watches."""
        updates: dict[Any, Any] = {self.table: now.listing}
        shown: list[JobView | None] = [*now.gathering[:MOST_SHOWN]]
        for slot, job in zip(self.slots, [*shown, *[None] * MOST_SHOWN], strict=False):
            updates |= self._card(slot, job)
        rest = len(now.gathering) - MOST_SHOWN
        words = cards.note(self.t("more_gathering", count=rest)) if rest > 0 else ""
        updates[self.more] = gr.update(value=words, visible=rest > 0)
        busy = any(job.state in (*ACTIVE, "queued") for job in now.gathering)
        return {**updates, self.timer: gr.update(active=busy)}

    def _card(self, slot: dict[str, Any], job: JobView | None) -> dict[Any, Any]:
        title = self.t("gathering", title=job.title) if job else ""
        place = schedule_jobs.place(job) if job and job.state == "queued" else None
        card = cards.job_card(job, self.language, title, place) if job else ""
        return {
            slot["job"]: job.id if job else "",
            slot["whole"]: gr.update(visible=bool(job)),
            slot["card"]: card,
            **slot["actions"].show(job),
        }

    def results(self, person: Person, campaign_id: str) -> dict[Any, Any]:
        """Return the updates that show one campaign."""
        now = handlers.results(person, campaign_id, self.language)
        return {
            self.listing: gr.update(visible=False),
            self.detail: gr.update(visible=True),
            self.head: now.head,
            self.message: now.message,
            self.plot: gr.update(value=now.plot, visible=now.plot is not None),
            self.found: now.found,
            self.comments: now.comments,
        }

    def creating(
        self, title: str, experts: list[str], questions: str, each: float | None, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.start(person, title, experts, questions, each)
        except EngineError as error:
            return self.form.refused(error)
        clean = self.form.cleared(
            title={"value": ""},
            experts={"value": []},
            questions={"value": ""},
            judgements_each={"value": 1},
        )
        return {**self.moving(handlers.campaigns(person, self.language)), **clean}

    def tick(self, request: gr.Request) -> dict[Any, Any]:
        return self.moving(handlers.campaigns(person_of(request), self.language))

    def _changing(self, what: str) -> Any:
        def changing(job_id: str, request: gr.Request) -> dict[Any, Any]:
            person = person_of(request)
            handlers.change(person, job_id, what)
            return self.moving(handlers.campaigns(person, self.language))

        return changing
