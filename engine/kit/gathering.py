"""Many small requests to a slow place, made together: while one round is under way, the next gathers."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy.exc import OperationalError

from engine.kit.errors import EngineError, NotReady
from engine.kit.logs import logger

log = logger(__name__)

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


def each(answer: Callable[[Asked], Answered], asked: Sequence[Asked]) -> list[Answered | Exception]:
    """Return the answer to each, or what stands in its way."""
    answers: list[Answered | Exception] = []
    for one in asked:
        try:
            answers.append(answer(one))
        except EngineError as refusal:
            answers.append(refusal)
    return answers


class Gathering(Generic[Asked, Answered]):
    """Calls `work` in a thread with all that was asked since the last round, at most `most` at a time.

    `work` returns as many answers in the same order; an exception among them is raised to the one who asked.
    What `work` itself raises is raised to the one who asked; several are asked again one by one, so that
    nobody fails for another's request. Where the database is away all get NotReady. One who is alone waits
    for nobody. There is one round at a time for each event loop.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Asked]], Sequence[Answered | Exception]],
        most: int = 64,
        seen: Callable[[float], None] | None = None,
    ) -> None:
        self._work, self._most, self._seen = work, most, seen
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="gathering")
        self._waiting: WeakKeyDictionary[
            asyncio.AbstractEventLoop, list[tuple[Asked, asyncio.Future[Answered]]]
        ] = WeakKeyDictionary()
        self._rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    def ask(self, asked: Asked) -> asyncio.Future[Answered]:
        """Return the answer to come. One who cancels it gets none, but what was asked may be done all the
        same.
        """
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, [])
        answer: asyncio.Future[Answered] = loop.create_future()
        waiting.append((asked, answer))
        if loop not in self._rounds:
            self._rounds[loop] = loop.create_task(self._go_round(waiting))
        return answer

    async def _go_round(self, waiting: list[tuple[Asked, asyncio.Future[Answered]]]) -> None:
        loop = asyncio.get_running_loop()
        turn: list[tuple[Asked, asyncio.Future[Answered]]] = []
        try:
            while waiting:
                turn, waiting[: self._most] = waiting[: self._most], []
                if self._seen is not None:
                    self._seen(len(turn))
                answers = await loop.run_in_executor(self._threads, self._done, [asked for asked, _ in turn])
                for (_, future), answer in zip(turn, answers, strict=True):
                    if future.done():
                        continue  # its asker has left
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            del self._rounds[loop]
            for _, future in [*turn, *waiting]:
                if not future.done():
                    future.set_exception(RuntimeError("the round that should have answered has ended"))
            waiting.clear()

    def _done(self, asked: Sequence[Asked]) -> Sequence[Answered | Exception]:
        try:
            return self._work(asked)
        except (OperationalError, psycopg.OperationalError) as error:
            # The database is away, for each of them: asking one by one would only take longer.
            log.warning("the database did not answer", reason=str(error)[:300])
            away = NotReady("kit.database_away", retry_after=2)
            return [away for _ in asked]
        except Exception as error:
            if len(asked) == 1:
                return [error]
            return [self._done([one])[0] for one in asked]
