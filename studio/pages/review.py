"""Review: what waits, what is on the market, and the decision with its reason."""

from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from studio.frame import StudioPage
from studio.handlers import review as handlers
from studio.handlers import trial
from studio.trial import TrialBox

VARIANTS = {"approve": "primary", "reject": "stop", "suspend": "stop", "restore": "primary"}


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    ReviewPage(language)


class ReviewPage(StudioPage):
    """Queue and detail for reviewers."""

    path = "review"
    role = "reviewer"

    def build(self) -> None:
        with gr.Column() as listing:
            self.listing = self.part(listing)
            gr.HTML(f"<h1>{self.t('tab_review')}</h1><p class='mbe-muted'>{self.t('review_why')}</p>")
            gr.HTML(f"<h2>{self.t('queue')}</h2>")
            self.queue = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('on_market')}</h2>")
            self.published = self.part(gr.HTML())
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self.expert_id = self.part(gr.Textbox(visible=False))
            self.head = self.part(gr.HTML())
            self.shown_listing = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('quality_check')}</h2>")
            self.report = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('try_it')}</h2><p class='mbe-muted'>{self.t('review_try_why')}</p>")
            self.trial = TrialBox(self, [self.expert_id], trial.speak)
            with gr.Column() as place:
                self.decision = self.part(place)
                gr.HTML(f"<h2>{self.t('decision')}</h2>")
                reason = gr.Textbox(
                    label=self.t("reason_label"), info=self.t("reason_info"), lines=2, max_length=1000
                )
                self.form = self.part(Form(self.language, reason=reason))
                with gr.Row(elem_classes="mbe-row"):
                    self.buttons = {
                        name: self.part(gr.Button(self.t(f"do_{name}"), variant=variant, size="md"))  # type: ignore[arg-type]
                        for name, variant in VARIANTS.items()
                    }
            gr.HTML(f"<h2>{self.t('history')}</h2>")
            self.history = self.part(gr.HTML())

    def wire(self, blocks: gr.Blocks) -> None:
        for name, button in self.buttons.items():
            self.on(button.click, self._deciding(name), [self.expert_id, *self.form.inputs], busy=[button])
        self.trial.wire()

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if not (expert_id := query.get("expert")):
            return {
                self.queue: handlers.queue(person, self.language),
                self.published: handlers.published(person, self.language),
            }
        return {
            **self.shown(person, expert_id),
            self.listing: gr.update(visible=False),
            self.detail: gr.update(visible=True),
            self.expert_id: expert_id,
        }

    def shown(self, person: Person, expert_id: str) -> dict[Any, Any]:
        """Return the updates that show an expert as it is now."""
        now = handlers.detail(person, expert_id, self.language)
        buttons = {button: gr.update(visible=name in now.decisions) for name, button in self.buttons.items()}
        return {
            **buttons,
            self.decision: gr.update(visible=bool(now.decisions)),
            self.head: now.head,
            self.shown_listing: now.listing,
            self.report: now.report,
            self.history: now.history,
        }

    def _deciding(self, decision: str) -> Any:
        def decide(expert_id: str, reason: str, request: gr.Request) -> dict[Any, Any]:
            person = person_of(request)
            try:
                handlers.decide(person, expert_id, decision, reason)
            except EngineError as error:
                return self.form.refused(error)
            return {**self.form.cleared(reason={"value": ""}), **self.shown(person, expert_id)}

        return decide
