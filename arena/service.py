"""The rules of a battle: two hidden contestants, one prompt, one vote."""

import hashlib
import secrets
from collections.abc import Sequence
from itertools import combinations
from typing import cast

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from arena import ratings, repository
from arena.models import Battle, Vote
from arena.schemas import BattleView, Contestant, Judgement, Rating, Side, SideView, Verdict, WinsMatrix
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.ids import new_id

LONGEST_PROMPT = 4_000
VERDICTS = ("left", "right", "tie", "both_bad")


def start(
    uow: Session,
    *,
    person_id: str,
    tenant_id: str,
    prompt: str,
    left: Contestant,
    right: Contestant,
    category: str | None = None,
) -> BattleView:
    """Start a battle between two contestants; a coin decides who stands on which side.

    Raises BadInput for an empty or too long prompt and for a contestant against itself, Conflict when
    the person has already had this pair answer this prompt.
    """
    text = _checked_prompt(prompt)
    if left.model == right.model:
        raise BadInput("arena.same_contestant", name=left.name)
    sides = [left, right]
    if secrets.randbits(1):
        sides.reverse()
    row = Battle(
        id=new_id("bt"),
        tenant_id=tenant_id,
        person_id=person_id,
        prompt=text,
        prompt_sha256=_digest(text),
        category=category,
        pair=_pair(left, right),
        left_model=sides[0].model,
        left_name=sides[0].name,
        right_model=sides[1].model,
        right_name=sides[1].name,
        rated=not _owns_one(person_id, left, right),
        created_at=now(),
    )
    try:
        repository.add(uow, row)
    except IntegrityError as error:
        raise Conflict("arena.pair_seen") from error
    return _view(row, None)


def pick_pair(
    uow: Session, candidates: Sequence[Contestant], person_id: str, prompt: str
) -> tuple[Contestant, Contestant]:
    """Return the two candidates that have met least often; chance decides between equals.

    A pair that this person has already had answer this prompt is left out, and a pair with the person's own
    expert, whose vote would not count, comes last. Raises BadInput for a bad prompt, Conflict when
    there are fewer than two candidates or no pair is left for this prompt.
    """
    digest = _digest(_checked_prompt(prompt))
    distinct = list({candidate.model: candidate for candidate in candidates}.values())
    if len(distinct) < 2:
        raise Conflict("arena.too_few_contestants")
    seen = repository.pairs_seen(uow, person_id, digest)
    pairs = [(a, b) for a, b in combinations(distinct, 2) if _pair(a, b) not in seen]
    if not pairs:
        raise Conflict("arena.all_pairs_seen")
    counts = repository.pair_counts(uow, [candidate.model for candidate in distinct])
    secrets.SystemRandom().shuffle(pairs)
    return min(pairs, key=lambda two: (_owns_one(person_id, *two), counts.get(_pair(*two), 0)))


def record_answer(
    uow: Session, *, battle_id: str, person_id: str, side: Side, text: str, finished: bool
) -> BattleView:
    """Keep what a side has said so far; with `finished` it is the whole answer and stays as it is.

    Raises NotFound for somebody else's battle, Conflict when the side had already finished.
    """
    row = _own(uow, battle_id, person_id, lock=True)
    if getattr(row, f"{side}_finished"):
        raise Conflict("arena.answer_finished")
    setattr(row, f"{side}_answer", _storable(text))
    setattr(row, f"{side}_finished", finished)
    uow.flush()
    return _view(row, None)


def vote(uow: Session, battle_id: str, person_id: str, verdict: str) -> BattleView:
    """Record the one vote of a battle and return it with the names shown.

    Raises BadInput for an unknown verdict, NotFound for somebody else's battle, Conflict while an answer
    is unfinished or when the vote was already given.
    """
    if verdict not in VERDICTS:
        raise BadInput("arena.bad_verdict", field="verdict", verdict=verdict[:40])
    row = _own(uow, battle_id, person_id, lock=True)
    if not (row.left_finished and row.right_finished):
        raise Conflict("arena.answers_unfinished")
    if repository.vote_of(uow, battle_id):
        raise Conflict("arena.already_voted")
    given = Vote(
        id=new_id("vt"),
        battle_id=row.id,
        tenant_id=row.tenant_id,
        person_id=person_id,
        category=row.category,
        left_model=row.left_model,
        right_model=row.right_model,
        verdict=verdict,
        rated=row.rated,
        created_at=now(),
    )
    repository.add(uow, given)
    return _view(row, given)


def get(uow: Session, battle_id: str, person_id: str) -> BattleView:
    """Return a battle to the person who started it. Raises NotFound."""
    return _view(_own(uow, battle_id, person_id), repository.vote_of(uow, battle_id))


def contestants(uow: Session, battle_id: str, person_id: str) -> dict[Side, Contestant]:
    """Return who stands where, for the flow that fetches the answers. Never show this. Raises NotFound."""
    row = _own(uow, battle_id, person_id)
    return {
        "left": Contestant(model=row.left_model, name=row.left_name),
        "right": Contestant(model=row.right_model, name=row.right_name),
    }


def history(uow: Session, person_id: str, tenant_id: str, limit: int = 50) -> list[BattleView]:
    """Return a person's battles, newest first."""
    return [_view(row, given) for row, given in repository.battles_of(uow, person_id, tenant_id, limit)]


def leaderboard(uow: Session, category: str | None = None) -> list[Rating]:
    """Return the rating of every model with a vote that counts, best first, with display names."""
    found = ratings.fit(_judgements(uow, category))
    names = repository.latest_names(uow, [rating.model for rating in found])
    return [rating.model_copy(update={"name": names[rating.model]}) for rating in found]


def wins_matrix(uow: Session, category: str | None = None) -> WinsMatrix:
    """Return who beat whom how often, in the order of the leaderboard."""
    judgements = _judgements(uow, category)
    models, wins, _ = ratings.count_wins(judgements)
    ranked = [rating.model for rating in ratings.fit(judgements)]
    order = [models.index(model) for model in ranked]
    names = repository.latest_names(uow, ranked)
    return WinsMatrix(
        models=tuple(ranked),
        names=tuple(names[model] for model in ranked),
        wins=tuple(tuple(float(wins[i, j]) for j in order) for i in order),
    )


def _judgements(uow: Session, category: str | None) -> list[Judgement]:
    return [
        Judgement(left=left, right=right, verdict=cast(Verdict, verdict))
        for left, right, verdict in repository.rated_votes(uow, category)
    ]


def _own(uow: Session, battle_id: str, person_id: str, *, lock: bool = False) -> Battle:
    row = repository.battle(uow, battle_id, lock=lock)
    if row is None or row.person_id != person_id:
        raise NotFound("arena.no_battle")
    return row


def _view(row: Battle, given: Vote | None) -> BattleView:
    shown = given is not None
    return BattleView(
        id=row.id,
        prompt=row.prompt,
        category=row.category,
        left=SideView(
            answer=row.left_answer,
            finished=row.left_finished,
            model=row.left_model if shown else None,
            name=row.left_name if shown else None,
        ),
        right=SideView(
            answer=row.right_answer,
            finished=row.right_finished,
            model=row.right_model if shown else None,
            name=row.right_name if shown else None,
        ),
        verdict=cast(Verdict, given.verdict) if given else None,
        rated=row.rated,
        note=None if row.rated else "arena.own_expert",
        created_at=row.created_at,
    )


def _checked_prompt(prompt: str) -> str:
    text = prompt.strip()
    if not text:
        raise BadInput("arena.empty_prompt", field="prompt")
    if len(text) > LONGEST_PROMPT:
        raise BadInput("arena.long_prompt", field="prompt", length=len(text), most=LONGEST_PROMPT)
    if text != _storable(text):
        raise BadInput("arena.unreadable_prompt", field="prompt")
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _storable(text: str) -> str:
    """Return `text` without what PostgreSQL refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _pair(a: Contestant, b: Contestant) -> str:
    return " ".join(sorted((a.model, b.model)))


def _owns_one(person_id: str, *pair: Contestant) -> bool:
    return any(one.owner_id == person_id for one in pair)
