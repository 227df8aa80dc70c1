"""What the human evaluation pages share: their tabs, their look, who may use them."""

from apps.human_eval import handlers, views
from apps.pages import Page
from engine.accounts.schemas import Person


class EvalPage(Page):
    """A page of human evaluation."""

    place = "human-eval"
    catalog = "human_eval"
    css = views.CSS

    def tabs(self, person: Person | None) -> list[tuple[str, str, bool]]:
        return [
            (views.address(self.language, path), self.t(f"tab_{path or 'tasks'}"), path == self.path)
            for path in handlers.ROLES
        ]

    def refusal(self, person: Person) -> str:
        return handlers.refusal(person, self.path, self.language)
