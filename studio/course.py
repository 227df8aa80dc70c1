"""How a run goes beside its loss: small plots behind one line that opens them."""

from typing import Any

import gradio as gr

from apps.pages import Group
from engine.kit.messages import t
from studio.handlers.train import Watch
from studio.views.runs import GAUGES


class Course(Group):
    """The small plots of a run."""

    def __init__(self, language: str) -> None:
        with gr.Accordion(t("runs.course", language), open=False, visible=False) as place:
            self.place = place
            with gr.Row():
                self.plots = [
                    gr.Plot(show_label=False, container=False, min_width=380, visible=False) for _ in GAUGES
                ]

    @property
    def parts(self) -> list[Any]:
        return [self.place, *self.plots]

    def show(self, watch: Watch) -> dict[Any, Any]:
        """Return the updates that show what a run has measured."""
        shown = {
            plot: gr.update(value=figure, visible=figure is not None)
            for plot, figure in zip(self.plots, watch.course, strict=True)
        }
        return {**shown, self.place: gr.update(visible=any(watch.course))}
