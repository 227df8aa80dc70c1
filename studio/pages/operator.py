"""Machines: what runs where, who waits for what and why, and the plans of tenants."""

from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from studio.frame import TICK_SECONDS, StudioPage
from studio.handlers import operator as handlers
from studio.servers import Servers


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    OperatorPage(language)


class OperatorPage(StudioPage):
    """The operators' view of all jobs, which refreshes itself."""

    path = "operator"
    role = "operator"

    def build(self) -> None:
        gr.HTML(f"<h1>{self.t('tab_operator')}</h1><p class='mbe-muted'>{self.t('operator_why')}</p>")
        self.machines = self.part(gr.HTML())
        gr.HTML(f"<h2>{self.t('running_jobs')}</h2>")
        self.running = self.part(gr.HTML())
        gr.HTML(f"<h2>{self.t('waiting_jobs')}</h2>")
        self.waiting = self.part(gr.HTML())
        with gr.Column(elem_classes="mbe-panel", visible=False) as place:
            self.urgent_place = self.part(place)
            job = gr.Dropdown(label=self.t("urgent_job"), info=self.t("urgent_info"), choices=[])
            self.urgent = self.part(Form(self.language, job=job))
            with gr.Row(elem_classes="mbe-row"):
                self.hurry = self.part(gr.Button(self.t("do_hurry"), size="md"))
        gr.HTML(f"<h2>{self.t('tenants')}</h2>")
        self.tenants = self.part(gr.HTML())
        with gr.Column(elem_classes="mbe-panel"):
            with gr.Row(elem_classes="mbe-row"):
                tenant = gr.Dropdown(label=self.t("tenant"), choices=[])
                plan = gr.Dropdown(label=self.t("plan_name"), choices=[])
            self.plan = self.part(Form(self.language, tenant=tenant, plan=plan))
            with gr.Row(elem_classes="mbe-row"):
                self.change = self.part(gr.Button(self.t("do_change_plan"), size="md"))
        self.servers = self.part(Servers(self))
        self.timer = self.part(gr.Timer(2 * TICK_SECONDS, active=False))

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.timer.tick, self.tick, [])
        self.on(self.hurry.click, self.hurrying, self.urgent.inputs, busy=[self.hurry])
        self.on(self.change.click, self.changing, self.plan.inputs, busy=[self.change])
        self.servers.wire()

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        moving = {**self.board(person), self.timer: gr.update(active=True)}
        return {**moving, **self.plans(person), **self.servers.show(person)}

    def board(self, person: Person) -> dict[Any, Any]:
        """Return the updates of what moves."""
        now = handlers.board(person, self.language)
        return {
            self.machines: now.machines,
            self.running: now.running,
            self.waiting: now.waiting,
            self.urgent_place: gr.update(visible=bool(now.choices)),
            self.urgent.fields["job"]: gr.update(choices=now.choices),
        }

    def plans(self, person: Person) -> dict[Any, Any]:
        """Return the updates of the tenants."""
        now = handlers.plans(person, self.language)
        return {
            self.tenants: now.table,
            self.plan.fields["tenant"]: gr.update(choices=now.tenants),
            self.plan.fields["plan"]: gr.update(choices=now.plans),
        }

    def tick(self, request: gr.Request) -> dict[Any, Any]:
        return self.board(person_of(request))

    def hurrying(self, job_id: str | None, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.hurry(person, job_id, self.language)
        except EngineError as error:
            return self.urgent.refused(error)
        return {**self.board(person), **self.urgent.said(words, job={"value": None})}

    def changing(self, tenant_id: str | None, plan: str | None, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.change_plan(person, tenant_id, plan, self.language)
        except EngineError as error:
            return self.plan.refused(error)
        now = handlers.plans(person, self.language)
        said = self.plan.said(words, tenant={"choices": now.tenants, "value": None})
        return {**said, self.tenants: now.table, **self.board(person)}
