"""What the arena's pages share: their tabs and their look."""

from apps.pages import Page
from arena import views
from engine.accounts.schemas import Person

PATHS = {"": "battle", "leaderboard": "leaderboard", "history": "history"}


class ArenaPage(Page):
    """A page of the arena; everybody who is signed in may see it."""

    place = "arena"
    catalog = "arena_page"
    css = views.CSS

    def tabs(self, person: Person | None) -> list[tuple[str, str, bool]]:
        return [
            (f"/{self.language}/arena/{path}", self.t(f"tab_{name}"), path == self.path)
            for path, name in PATHS.items()
        ]
