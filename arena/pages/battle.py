"""The battle page: ask, watch both answers, vote, see the names."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from apps import cards
from apps.pages import PRIVATE
from apps.shell import person_of
from arena import handlers
from arena.handlers import BattlePage as Shown
from arena.pages.frame import ArenaPage
from arena.service import VERDICTS
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError

KEYS = """() => { if (window.mbeVoteKeys) return; window.mbeVoteKeys = true
 const votes = {1: 'left', 2: 'right', 3: 'tie', 4: 'both_bad'}
 document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !(event.key in votes)) return
  if (event.target.closest && event.target.closest('input,textarea,select,[contenteditable=true]')) return
  const button = document.getElementById('mbe-vote-' + votes[event.key])
  if (button && !button.disabled) { event.preventDefault(); button.click() } }) }"""

# The address names the battle, so that a reload or a link leads back to it.
NAME_ADDRESS = """(id) => { const place = window.location
 const address = place.pathname + (id ? '?battle=' + id : '')
 if (address !== place.pathname + place.search) history.replaceState(null, '', address) }"""


class BattlePage(ArenaPage):
    """One battle from question to names."""

    def build(self) -> None:
        self.battle_id = self.part(gr.Textbox(visible=False))
        self.empty = self.part(gr.HTML(visible=False))
        with gr.Column() as form:
            self.form = self.part(form)
            self._build_form()
        with gr.Column(visible=False) as fight:
            self.fight = self.part(fight)
            self._build_fight()

    def _build_form(self) -> None:
        gr.HTML(f"<h1>{self.t('title')}</h1><p class='mbe-muted'>{self.t('why')}</p>")
        self.notice = self.part(gr.HTML(visible=False))
        self.prompt = self.part(
            gr.Textbox(label=self.t("prompt"), info=self.t("prompt_info"), lines=3, max_lines=12)
        )
        self.trouble = self.part(gr.HTML(visible=False))
        with gr.Row(visible=False, elem_classes="mbe-chips") as chips:
            self.chips = self.part(chips)
            self.examples = [self.part(gr.Button("", size="md")) for _ in range(handlers.EXAMPLES)]
        self.category = self.part(
            gr.Dropdown(
                [(self.t("any_category"), "")],
                value="",
                label=self.t("category"),
                info=self.t("category_info"),
            )
        )
        with gr.Row(elem_classes="mbe-row"):
            self.start = self.part(gr.Button(self.t("start"), variant="primary", size="md"))
        self.timer = self.part(gr.Timer(2, active=False))

    def _build_fight(self) -> None:
        self.question = self.part(gr.HTML())
        self.sides = self.part(gr.HTML())
        self.status = self.part(gr.HTML())
        with gr.Row(elem_classes="mbe-votes") as votes:
            self.votes = self.part(votes)
            self.buttons = {
                verdict: self.part(
                    gr.Button(
                        self.t(f"vote_{verdict}"), interactive=False, size="md", elem_id=f"mbe-vote-{verdict}"
                    )
                )
                for verdict in VERDICTS
            }
        with gr.Row(elem_classes="mbe-row"):
            self.retry = self.part(gr.Button("", visible=False, size="md"))
            self.again = self.part(gr.Button(self.t("new_battle"), visible=False, size="md"))

    def wire(self, blocks: gr.Blocks) -> None:
        blocks.load(None, None, None, js=KEYS, **PRIVATE)
        for event in (self.start.click, self.prompt.submit):
            started = self.on(event, self.starting, [self.prompt, self.category])
            named = started.success(None, self.battle_id, None, js=NAME_ADDRESS, **PRIVATE)
            self.on(named.success, self.watching, [self.battle_id], stream=True)
        for example in self.examples:
            example.click(None, example, self.prompt, js="(words) => words", **PRIVATE)
        self.on(self.retry.click, self.watching, [self.battle_id], stream=True)
        for verdict, button in self.buttons.items():
            self.on(button.click, self._voting(verdict), [self.battle_id])
        fresh = self.on(self.again.click, self.cleared)
        fresh.success(None, self.battle_id, None, js=NAME_ADDRESS, **PRIVATE)
        self.on(self.timer.tick, self.tick)

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        updates = self.form_as_it_is(person)
        if battle_id := query.get("battle"):
            updates |= self.shown(handlers.show(person, battle_id, self.language))
            updates |= {self.form: gr.update(visible=False), self.empty: gr.update(visible=False)}
        return updates

    def form_as_it_is(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show whether a battle can start now."""
        now = handlers.opening(person, self.language)
        chips = dict(zip(self.examples, now.examples, strict=False))
        return {
            self.empty: gr.update(value=now.empty, visible=bool(now.empty)),
            self.form: gr.update(visible=not now.empty),
            self.fight: gr.update(visible=False),
            self.notice: gr.update(value=now.notice, visible=bool(now.notice)),
            self.start: gr.update(interactive=now.ready),
            self.timer: gr.update(active=not now.ready and not now.empty),
            self.chips: gr.update(visible=bool(chips)),
            self.category: gr.update(choices=list(now.categories), visible=len(now.categories) > 2),
            **{chip: gr.update(value=chips.get(chip, ""), visible=chip in chips) for chip in self.examples},
        }

    def shown(self, now: Shown) -> dict[Any, Any]:
        """Return the updates that show a battle as it is now."""
        return {
            self.battle_id: now.battle_id,
            self.form: gr.update(visible=False),
            self.fight: gr.update(visible=True),
            self.question: now.question,
            self.sides: now.sides,
            self.status: now.status,
            self.votes: gr.update(visible=not now.voted),
            **{button: gr.update(interactive=now.can_vote) for button in self.buttons.values()},
            self.retry: gr.update(value=now.retry, visible=bool(now.retry)),
            self.again: gr.update(
                visible=now.voted or bool(now.retry), variant="primary" if now.voted else "secondary"
            ),
        }

    def starting(self, prompt: str, category: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        calm = {
            self.prompt: gr.update(elem_classes=[]),
            self.trouble: gr.update(value="", visible=False),
        }
        try:
            battle_id = handlers.start(person, prompt, category)
        except EngineError as error:
            field = gr.update(elem_classes=["mbe-bad-field"] if error.field == "prompt" else [])
            words = cards.note(error.message(self.language), "bad" if error.field else "")
            return {
                self.battle_id: "",
                self.prompt: field,
                self.trouble: gr.update(value=words, visible=True),
            }
        return {**calm, **self.shown(handlers.show(person, battle_id, self.language))}

    async def watching(self, battle_id: str, request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        # A stream that yields nothing would blank every part of the page.
        yield {self.battle_id: battle_id}
        if battle_id:
            async for now in handlers.watch(person_of(request), battle_id, self.language):
                yield self.shown(now)

    def _voting(self, verdict: str) -> Any:
        def voting(battle_id: str, request: gr.Request) -> dict[Any, Any]:
            return self.shown(handlers.vote(person_of(request), battle_id, verdict, self.language))

        return voting

    def cleared(self, request: gr.Request) -> dict[Any, Any]:
        fresh = {self.battle_id: "", self.prompt: gr.update(value="")}
        return {**self.form_as_it_is(person_of(request)), **fresh}

    def tick(self, request: gr.Request) -> dict[Any, Any]:
        return self.form_as_it_is(person_of(request))
