"""The road of an expert, as a table: who may move it from which state to which.

Nothing here touches the database. The roles are an expert's `owner` (with the role developer), a
`reviewer` who is not its owner, and the `system` itself. A published version that a newer one replaces is
`retired`, as is one that its owner takes off the market.
"""

from collections.abc import Set

from engine.kit.errors import BadInput, Conflict, Forbidden
from engine.market.schemas import PersonLike

STATES = (
    "trained",
    "testing",
    "tested",
    "rejected",
    "pending_review",
    "approved",
    "published",
    "suspended",
    "retired",
)

OWNER, REVIEWER, SYSTEM_ROLE = "owner", "reviewer", "system"

MOVES: dict[tuple[str, str], frozenset[str]] = {
    ("trained", "testing"): frozenset({OWNER, SYSTEM_ROLE}),
    # A test that broke down or was cancelled leaves no mark: its expert can be tested anew.
    ("testing", "trained"): frozenset({OWNER, SYSTEM_ROLE}),
    ("testing", "tested"): frozenset({SYSTEM_ROLE}),
    ("testing", "rejected"): frozenset({SYSTEM_ROLE}),
    ("tested", "testing"): frozenset({OWNER}),
    ("tested", "pending_review"): frozenset({OWNER}),
    ("rejected", "testing"): frozenset({OWNER}),
    ("pending_review", "approved"): frozenset({REVIEWER}),
    ("pending_review", "rejected"): frozenset({REVIEWER}),
    ("pending_review", "tested"): frozenset({OWNER}),
    ("approved", "published"): frozenset({OWNER}),
    ("approved", "tested"): frozenset({OWNER}),
    ("published", "suspended"): frozenset({REVIEWER}),
    ("published", "retired"): frozenset({OWNER, SYSTEM_ROLE}),
    ("suspended", "published"): frozenset({REVIEWER}),
    # The way to a changed listing or price: off the market, back to tested, through review again.
    ("retired", "tested"): frozenset({OWNER}),
    # Back to the version before: only for one that the present version replaced (`service.change_state`).
    ("retired", "published"): frozenset({OWNER}),
}

EDITABLE = frozenset({"trained", "tested", "rejected"})
REASON_NEEDED = frozenset({("pending_review", "rejected"), ("published", "suspended")})


def part_of(person: PersonLike, owner_id: str) -> Set[str]:
    """Return the parts that a person can play for an expert.

    The owner never acts as the reviewer of their own expert, whatever roles they hold.
    """
    if SYSTEM_ROLE in person.roles:
        return {SYSTEM_ROLE}
    if person.id == owner_id:
        return {OWNER} if "developer" in person.roles else set()
    return {REVIEWER} if "reviewer" in person.roles else set()


def check_move(from_state: str, to: str, person: PersonLike, owner_id: str) -> None:
    """Raise unless `person` may move an expert of `owner_id` from `from_state` to `to`.

    BadInput for a state that does not exist, Conflict when no such move exists, Forbidden when it is
    someone else's to make.
    """
    if to not in STATES:
        raise BadInput("market.unknown_state", field="to", state=to[:40])
    allowed = MOVES.get((from_state, to))
    if allowed is None:
        raise Conflict(f"market.cannot_be_{to}", state=from_state)
    if allowed & part_of(person, owner_id):
        return
    if REVIEWER in allowed:
        raise Forbidden("market.own_review" if person.id == owner_id else "market.reviewers_only")
    raise Forbidden("market.owner_only" if OWNER in allowed else "market.system_only")
