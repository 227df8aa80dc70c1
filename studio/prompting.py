"""Writing an expert as a prompt, beside training one."""

from typing import Any

import gradio as gr

from apps.pages import Form, Group
from engine.accounts.schemas import Person
from engine.kit.messages import t
from studio.handlers import prompting as handlers
from studio.handlers.train import Choices


class Writer(Group):
    """The form of a prompt; closed until somebody wants it, or comes to write a new version."""

    def __init__(self, language: str) -> None:
        self.language = language
        with gr.Accordion(self._t("open"), open=False) as place:
            self.place = place
            gr.HTML(f'<p class="mbe-muted">{self._t("why")}</p>')
            name = gr.Textbox(label=self._t("name"), info=self._t("name_info"), max_length=100)
            template = gr.Textbox(
                label=self._t("template"),
                info=self._t("template_info"),
                placeholder=self._t("template_example"),
                lines=6,
                max_lines=20,
                max_length=6000,
            )
            with gr.Row(equal_height=True):
                dataset = gr.Dropdown(
                    [], label=self._t("dataset"), info=self._t("dataset_info"), min_width=240
                )
                bases = gr.Dropdown(
                    [],
                    multiselect=True,
                    label=t("studio.knowledge_bases", language),
                    info=t("studio.knowledge_bases_info", language),
                    min_width=240,
                )
            questions = gr.Textbox(
                label=self._t("questions"),
                info=self._t("questions_info"),
                lines=2,
                max_length=3000,
            )
            self.form = Form(
                language, name=name, template=template, dataset=dataset, kb_ids=bases, questions=questions
            )
            with gr.Row(elem_classes="mbe-row"):
                self.make = gr.Button(self._t("make"), size="md")

    def _t(self, key: str) -> str:
        return t(f"prompting.{key}", self.language)

    @property
    def parts(self) -> list[Any]:
        return [self.place, *self.form.parts]

    def show(self, person: Person, choices: Choices, version_of: str) -> dict[Any, Any]:
        """Return the updates that offer what there is, with the prompt of the run `version_of`."""
        fields, values = self.form.fields, handlers.earlier(person, version_of)
        datasets = [dataset_id for _, dataset_id in choices.datasets]
        dataset = values.dataset if values.dataset in datasets else next(iter(datasets), None)
        bases = [base_id for _, base_id in choices.bases]
        return {
            self.place: gr.update(open=bool(version_of)),
            fields["name"]: values.name,
            fields["template"]: values.template,
            fields["dataset"]: gr.update(choices=choices.datasets, value=dataset),
            fields["kb_ids"]: gr.update(
                choices=choices.bases, value=[base for base in values.bases if base in bases]
            ),
            fields["questions"]: values.questions,
        }
