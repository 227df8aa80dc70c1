"""The arena's use cases: two contestants answer side by side, a person votes, names appear."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from arena import service
from arena.schemas import BASE, BattleView, Contestant, Rating, Side, WinsMatrix
from engine.accounts.schemas import Person
from engine.flows import speak
from engine.flows.speak import Speaker
from engine.inference import state
from engine.kit.database import unit_of_work
from engine.kit.errors import EngineError, NotReady, UpstreamFailed
from engine.kit.logs import logger
from engine.kit.prompts import Message
from engine.market import service as market
from engine.market.schemas import ExpertView

log = logger(__name__)

LONGEST_ANSWER = speak.Sampling(max_tokens=160)


@dataclass(frozen=True, kw_only=True)
class Word:
    """What one side added; with `finished` the side has ended, with `error` it broke off."""

    side: Side
    text: str = ""
    finished: bool = False
    error: EngineError | None = None


def _contestant(expert: ExpertView) -> Contestant:
    return Contestant(model=expert.id, name=expert.title, owner_id=expert.owner_id)


PLAIN_BASE = Contestant(model=BASE, name="Base model")


def start(
    person: Person, prompt: str, *, category: str | None = None, expert: str | None = None
) -> BattleView:
    """Start a battle: of one published expert (by name) against the base model, or of a drawn pair.

    Raises NotReady while the model server warms up, Conflict when there is nobody new to compare.
    """
    if not state.answers():
        raise NotReady("inference.warming_up", retry_after=10)
    with unit_of_work() as uow:
        if expert:
            pair = (_contestant(market.by_name(uow, expert)), PLAIN_BASE)
        else:
            published = [_contestant(one) for one in market.catalog(uow, category=category)]
            pair = service.pick_pair(uow, [*published, PLAIN_BASE], person.id, prompt)
        return service.start(
            uow,
            person_id=person.id,
            tenant_id=person.tenant_id,
            prompt=prompt,
            left=pair[0],
            right=pair[1],
            category=category,
        )


def _speakers(person: Person, battle_id: str) -> tuple[str, dict[Side, Speaker]]:
    with unit_of_work() as uow:
        battle = service.get(uow, battle_id, person.id)
        sides = service.contestants(uow, battle_id, person.id)
        speakers = {
            side: speak.BASE if one.model == BASE else Speaker.of(market.get(uow, one.model, viewer=person))
            for side, one in sides.items()
            if not getattr(battle, side).finished
        }
    return battle.prompt, speakers


def _record(person: Person, battle_id: str, side: Side, text: str, finished: bool) -> None:
    with unit_of_work() as uow:
        service.record_answer(
            uow, battle_id=battle_id, person_id=person.id, side=side, text=text, finished=finished
        )


async def stream(person: Person, battle_id: str) -> AsyncGenerator[Word, None]:
    """Yield both answers as they are spoken, at the same time. Raises NotFound for another's battle.

    A side that breaks off is kept unfinished, so that the battle cannot be voted on; streaming
    again lets it try once more.
    """
    prompt, speakers = await asyncio.to_thread(_speakers, person, battle_id)
    question: list[Message] = [{"role": "user", "content": prompt}]
    words: asyncio.Queue[Word] = asyncio.Queue()
    sides = [
        asyncio.create_task(_speak(person, battle_id, side, speaker, question, words))
        for side, speaker in speakers.items()
    ]
    ended = 0
    try:
        while ended < len(sides):
            word = await words.get()
            ended += word.finished or word.error is not None
            yield word
    finally:
        for task in sides:
            task.cancel()
        await asyncio.gather(*sides, return_exceptions=True)


async def _speak(
    person: Person,
    battle_id: str,
    side: Side,
    speaker: Speaker,
    question: list[Message],
    words: asyncio.Queue[Word],
) -> None:
    """Put one side's answer on the queue word by word; the last word is finished or an error."""
    said: list[str] = []
    try:
        prompt = await asyncio.to_thread(speak.prompt_for, speaker, question)
        async with aclosing(speak.words(speaker, prompt.messages, LONGEST_ANSWER)) as deltas:
            async for delta in deltas:
                if delta.text:
                    said.append(delta.text)
                    words.put_nowait(Word(side=side, text=delta.text))
        await asyncio.to_thread(_record, person, battle_id, side, "".join(said), True)
        words.put_nowait(Word(side=side, finished=True))
    except EngineError as error:
        log.warning("a side broke off", battle=battle_id, side=side, reason=error.key)
        words.put_nowait(Word(side=side, error=error))
    except Exception:
        log.exception("a side failed", battle=battle_id, side=side)
        words.put_nowait(Word(side=side, error=UpstreamFailed("arena.side_failed")))


def vote(person: Person, battle_id: str, verdict: str) -> BattleView:
    """Record the person's one vote and return the battle with its names."""
    with unit_of_work() as uow:
        return service.vote(uow, battle_id, person.id, verdict)


def get(person: Person, battle_id: str) -> BattleView:
    """Return one of the person's battles. Raises NotFound."""
    with unit_of_work() as uow:
        return service.get(uow, battle_id, person.id)


def history(person: Person, limit: int = 20) -> list[BattleView]:
    """Return the person's battles, newest first."""
    with unit_of_work() as uow:
        return service.history(uow, person.id, person.tenant_id, limit)


def leaderboard(category: str | None = None) -> list[Rating]:
    """Return the ratings, best first."""
    with unit_of_work() as uow:
        return service.leaderboard(uow, category)


def wins_matrix(category: str | None = None) -> WinsMatrix:
    """Return who beat whom how often."""
    with unit_of_work() as uow:
        return service.wins_matrix(uow, category)
