"""Choosing training runs to compare, and the comparison."""

from typing import Any

import gradio as gr

from apps.pages import Form, Group
from engine.accounts.schemas import Person
from engine.kit.messages import t
from studio.handlers import compare as handlers


class Chooser(Group):
    """Where runs are chosen, once there are two."""

    def __init__(self, language: str) -> None:
        self.language = language
        with gr.Column(visible=False) as place:
            self.place = place
            with gr.Accordion(t("runs.compare", language), open=False):
                runs = gr.Dropdown(
                    [],
                    multiselect=True,
                    max_choices=handlers.MOST,
                    label=t("runs.compare", language),
                    show_label=False,
                    info=t("runs.compare_info", language),
                )
                self.form = Form(language, runs=runs)
                with gr.Row(elem_classes="mbe-row"):
                    self.go = gr.Button(t("runs.compare_go", language), size="md")

    @property
    def parts(self) -> list[Any]:
        return [self.place, *self.form.parts]

    def show(self, person: Person) -> dict[Any, Any]:
        """Return the updates that offer the tenant's runs."""
        found = handlers.choices(person, self.language)
        runs = self.form.fields["runs"]
        return {
            self.place: gr.update(visible=len(found) > 1),
            runs: gr.update(choices=found, value=[]),
        }


class Beside(Group):
    """Runs side by side."""

    def __init__(self, language: str) -> None:
        self.language = language
        with gr.Column(visible=False) as place:
            self.place = place
            self.head = gr.HTML()
            self.curves = gr.Plot(show_label=False, visible=False)
            self.facts = gr.HTML()

    @property
    def parts(self) -> list[Any]:
        return [self.place, self.head, self.curves, self.facts]

    def show(self, person: Person, run_ids: str) -> dict[Any, Any]:
        """Return the updates that show runs. Raises as the handler does."""
        found = handlers.side(person, run_ids, self.language)
        return {
            self.place: gr.update(visible=True),
            self.head: found.head,
            self.curves: gr.update(value=found.curves, visible=found.curves is not None),
            self.facts: found.facts,
        }
