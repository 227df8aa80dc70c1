"""Blind battles over the API: start, watch, vote, and the leaderboard."""

import json
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from apps.gateway.errors import body_of, language_of
from apps.gateway.identity import Caller
from arena import battles
from arena.schemas import BattleView, Rating

router = APIRouter(prefix="/api/arena", tags=["arena"])


class NewBattle(BaseModel):
    """A prompt; with `expert` that expert meets the base model, otherwise a pair is drawn."""

    prompt: str
    category: str | None = None
    expert: str | None = None


class Vote(BaseModel):
    """left, right, tie or both_bad."""

    verdict: str


@router.post("/battles", status_code=201)
def start(given: NewBattle, caller: Caller) -> BattleView:
    """Start a blind battle."""
    return battles.start(caller, given.prompt, category=given.category, expert=given.expert)


@router.get("/battles/{battle_id}")
def battle(battle_id: str, caller: Caller) -> BattleView:
    """Return one of my battles; names only after the vote."""
    return battles.get(caller, battle_id)


@router.post("/battles/{battle_id}/stream")
async def stream(battle_id: str, caller: Caller, request: Request) -> StreamingResponse:
    """Stream both answers as server-sent events: side, text, finished."""
    words = battles.stream(caller, battle_id)
    first = await anext(words, None)
    language = language_of(request)

    async def events() -> AsyncGenerator[str, None]:
        word = first
        while word is not None:
            body: dict[str, object] = {"side": word.side, "text": word.text, "finished": word.finished}
            if word.error:
                body |= body_of(word.error, language)
            yield f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
            word = await anext(words, None)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


@router.post("/battles/{battle_id}/vote")
def vote(battle_id: str, given: Vote, caller: Caller) -> BattleView:
    """Vote once; the names are in the answer."""
    return battles.vote(caller, battle_id, given.verdict)


@router.get("/leaderboard")
def leaderboard(_caller: Caller, category: str | None = None) -> list[Rating]:
    """Return the ratings with their intervals."""
    return battles.leaderboard(category)
