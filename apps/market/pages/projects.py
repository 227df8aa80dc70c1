"""Projects: make one with its limits, see them, change or archive one."""

from typing import Any

import gradio as gr

from apps.market import key_handlers as handlers
from apps.market import key_views
from apps.market.frame import MarketPage
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person, ProjectView
from engine.kit.errors import EngineError


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    ProjectsPage(language)


class ProjectsPage(MarketPage):
    """The list with its form; or one project, when the address names it."""

    path = "projects"
    tab = "keys"
    catalog = "keys"

    def build(self) -> None:
        self.top = self.part(gr.HTML(key_views.projects_heading(self.language)))
        self.told = self.part(gr.HTML(visible=False))
        self.project_id = self.part(gr.Textbox(visible=False))
        name = gr.Textbox(label=self.t("name"), info="", max_length=100, max_lines=1)
        with gr.Row():
            limits = {
                each: gr.Number(label=self.t(each), info=self.t("limit_hint"), precision=0, min_width=160)
                for each in handlers.PROJECT_FIELDS[1:]
            }
        self.form = self.part(Form(self.language, name=name, **limits))
        with gr.Row(elem_classes="mbe-row"):
            self.create = self.part(gr.Button(self.t("create_project"), variant="primary", size="md"))
            self.save = self.part(gr.Button(self.t("save"), variant="primary", size="md"))
        self.listing = self.part(gr.HTML())
        with gr.Accordion(self.t("archive"), open=False, visible=False) as putting:
            self.putting = self.part(putting)
            gr.HTML(f"<p class='mbe-muted'>{self.t('archive_hint')}</p>")
            with gr.Row(elem_classes="mbe-row"):
                self.archive = self.part(gr.Button(self.t("archive"), variant="stop", size="md"))

    def wire(self, blocks: gr.Blocks) -> None:
        said = [self.project_id, *self.form.inputs]
        for event in (self.create.click, self.save.click, self.form.fields["name"].submit):
            self.on(event, self.saving, said, busy=[self.create, self.save])
        self.on(self.archive.click, self.putting_away, [self.project_id], busy=[self.archive])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if project_id := query.get("project"):
            return self.one(handlers.live_project(person, project_id))
        return self.shown(person)

    def shown(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show the list and an empty form."""
        return {
            **self.form.cleared(
                **{name: {"value": "" if name == "name" else None} for name in handlers.PROJECT_FIELDS}
            ),
            self.top: key_views.projects_heading(self.language),
            self.listing: gr.update(value=handlers.projects(person, self.language), visible=True),
            self.create: gr.update(visible=True),
            self.save: gr.update(visible=False),
            self.putting: gr.update(visible=False),
            self.project_id: "",
        }

    def one(self, project: ProjectView) -> dict[Any, Any]:
        """Return the updates that show one project with its terms in the form."""
        return {
            **self.form.cleared(
                **{name: {"value": getattr(project, name)} for name in handlers.PROJECT_FIELDS}
            ),
            self.top: key_views.project_detail(project, self.language),
            self.listing: gr.update(visible=False),
            self.create: gr.update(visible=False),
            self.save: gr.update(visible=True),
            self.putting: gr.update(visible=True),
            self.project_id: project.id,
        }

    def saving(self, request: gr.Request, project_id: str, *given: Any) -> dict[Any, Any]:
        person = person_of(request)
        fields = dict(zip(handlers.PROJECT_FIELDS, given, strict=True))
        try:
            told = handlers.save_project(person, project_id, fields, self.language)
        except EngineError as error:
            return {**self.form.refused(error), self.told: gr.update(visible=False)}
        after = self.one(handlers.live_project(person, project_id)) if project_id else self.shown(person)
        return {**after, self.told: gr.update(value=told, visible=True)}

    def putting_away(self, project_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        told = handlers.archive(person, project_id, self.language)
        return {**self.shown(person), self.told: gr.update(value=told, visible=True)}
