"""The rules of the market: register, describe, move along the road to publication, find."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.kit.ids import new_id
from engine.market import listing, repository, states
from engine.market.models import Expert
from engine.market.schemas import CATEGORIES, SORTS, SYSTEM, ExpertView, PersonLike, StateChange

FIRST_VERSION = "1.0.0"


def register(
    uow: Session,
    *,
    person_id: str,
    tenant_id: str,
    name: str,
    title: str,
    run_id: str,
    adapter_prefix: str,
    base_model: str,
    knowledge_base_ids: Sequence[str],
    template: str = "",
) -> ExpertView:
    """Add a freshly trained expert, private, in the state trained.

    A name that the tenant already has gets its next minor version, which starts with the listing of the
    version before; the earlier versions stay. Raises Conflict when another tenant has the name, BadInput
    for a bad name or title.
    """
    listing.check_name(name)
    title = listing.check_title(title)
    if repository.claim_name(uow, name, tenant_id) != tenant_id:
        raise Conflict("market.name_taken", field="name", name=name)
    earlier = repository.versions(uow, name)
    last = earlier[-1] if earlier else None
    row = Expert(
        id=new_id("exp"),
        tenant_id=tenant_id,
        owner_id=person_id,
        name=name,
        title=title,
        description=last.description if last else "",
        category=last.category if last else "other",
        tags=list(last.tags) if last else [],
        version=next_minor([one.version for one in earlier]),
        state="trained",
        input_price_micro=last.input_price_micro if last else 0,
        output_price_micro=last.output_price_micro if last else 0,
        example=last.example if last else "",
        run_id=run_id,
        adapter_prefix=adapter_prefix,
        template=template,
        base_model=base_model,
        knowledge_base_ids=list(knowledge_base_ids),
        knowledge_tenant_id=tenant_id,
        quality=None,
        published_at=None,
        created_at=now(),
        calls=0,
        tokens=0,
    )
    repository.add(uow, row)
    repository.add_change(uow, row, from_state=None, to_state="trained", by_id=person_id, reason="")
    return ExpertView.model_validate(row)


def free_name(uow: Session, title: str, tenant_id: str) -> str:
    """Return a name for `title` that this tenant has already or nobody has: `slug`, `slug-2`, `slug-3` ..."""
    slug = listing.slugify(title)
    for number in count(1):
        ending = "" if number == 1 else f"-{number}"
        name = slug[: listing.LONGEST_NAME - len(ending)].rstrip("-") + ending
        if repository.name_owner(uow, name) in (None, tenant_id):
            break
    return name


def next_minor(versions: Sequence[str]) -> str:
    """Return the version MAJOR.MINOR.PATCH after the highest of `versions`, one minor up."""
    if not versions:
        return FIRST_VERSION
    major, minor, _ = max(_number(version) for version in versions)
    return f"{major}.{minor + 1}.0"


def get(uow: Session, expert_id: str, viewer: PersonLike) -> ExpertView:
    """Return an expert that `viewer` may see.

    What is published everybody sees; the rest its own tenant, reviewers and the platform see, and for
    others it raises NotFound.
    """
    return ExpertView.model_validate(_visible(uow, expert_id, viewer))


def by_name(uow: Session, name: str) -> ExpertView:
    """Return the published version under a public model id; NotFound names the nearest ones."""
    row = repository.published(uow, name) if listing.is_name(name) else None
    if row is not None:
        return ExpertView.model_validate(row)
    near = difflib.get_close_matches(name[:80].lower(), repository.published_names(uow), n=3, cutoff=0.5)
    if near:
        raise NotFound("market.unknown_name_near", field="model", name=name[:80], near=", ".join(near))
    raise NotFound("market.unknown_name", field="model", name=name[:80])


def by_names(uow: Session, names: Collection[str]) -> dict[str, ExpertView]:
    """Return the published versions under public model ids; those that are none are left out."""
    found = repository.all_published(uow, [name for name in names if listing.is_name(name)])
    return {row.name: ExpertView.model_validate(row) for row in found}


def mine(uow: Session, tenant_id: str) -> list[ExpertView]:
    """Return every version of every expert of a tenant, newest first."""
    return [ExpertView.model_validate(row) for row in repository.of_tenant(uow, tenant_id)]


def review_queue(uow: Session) -> list[ExpertView]:
    """Return the experts that wait for a reviewer, the longest wait first."""
    return [ExpertView.model_validate(row) for row in repository.in_review(uow)]


def catalog(
    uow: Session, *, search: str = "", category: str | None = None, sort: str = "new"
) -> list[ExpertView]:
    """Return the published experts that hold every word of `search` in name, title, description or tags.

    `sort` is "new", "popular" (most calls) or "price" (lowest sum of both prices). Raises BadInput for an
    unknown category or sort.
    """
    if category is not None and category not in CATEGORIES:
        raise BadInput("market.bad_category", field="category", category=category[:40])
    if sort not in SORTS:
        raise BadInput("market.bad_sort", field="sort", sort=sort[:40])
    words = "".join(c if c.isprintable() else " " for c in search[:200]).split()
    return [ExpertView.model_validate(row) for row in repository.catalog(uow, words, category, sort)]


def describe(
    uow: Session,
    expert_id: str,
    *,
    title: str,
    description: str,
    category: str,
    tags: Sequence[str],
    input_price: str,
    output_price: str,
    example: str,
    tenant_id: str,
) -> ExpertView:
    """Fill in a listing; prices are credits per 1,000 tokens as text, such as "0.25".

    Possible while the expert is trained, tested or rejected, else Conflict. Raises BadInput naming the
    field at fault, NotFound for another tenant's expert.
    """
    row = repository.expert(uow, expert_id, lock=True) if expert_id.isprintable() else None
    if row is None or row.tenant_id != tenant_id:
        raise NotFound("market.unknown_expert", id=expert_id[:40])
    if row.state not in states.EDITABLE:
        raise Conflict("market.listing_closed")
    row.title = listing.check_title(title)
    row.description = listing.check_description(description)
    row.category = listing.check_category(category)
    row.tags = listing.check_tags(tags)
    row.input_price_micro = listing.check_price(input_price, "input_price")
    row.output_price_micro = listing.check_price(output_price, "output_price")
    row.example = listing.check_example(example)
    uow.flush()
    return ExpertView.model_validate(row)


def is_taken(uow: Session, name: str) -> bool:
    """Return whether somebody has a public name, published or not."""
    return listing.is_name(name) and repository.name_owner(uow, name) is not None


def require_name(uow: Session, name: str, *, tenant_id: str) -> None:
    """Raise NotFound for a public name that the tenant does not have."""
    if not listing.is_name(name) or repository.name_owner(uow, name) != tenant_id:
        raise NotFound("market.unknown_expert", id=name[:40])


def reprice(uow: Session, name: str, *, tenant_id: str, input_micro: int, output_micro: int) -> ExpertView:
    """Show other prices on the listing of a published expert, alone until the unit of work ends.

    Raises NotFound for a name that the tenant has nothing published under.
    """
    row = _own_published(uow, name, tenant_id)
    row.input_price_micro, row.output_price_micro = input_micro, output_micro
    uow.flush()
    return ExpertView.model_validate(row)


def own_published(uow: Session, name: str, *, tenant_id: str) -> ExpertView:
    """Return the published expert of a tenant, which stays as it is until the unit of work ends.

    Raises NotFound for a name that the tenant has nothing published under.
    """
    return ExpertView.model_validate(_own_published(uow, name, tenant_id))


def _own_published(uow: Session, name: str, tenant_id: str) -> Expert:
    row = repository.published(uow, name, lock=True) if listing.is_name(name) else None
    if row is None or row.tenant_id != tenant_id:
        raise NotFound("market.unknown_expert", id=name[:40])
    return row


def change_state(uow: Session, expert_id: str, to: str, *, by: PersonLike, reason: str) -> ExpertView:
    """Move an expert along its road, and record who, when and why.

    Submitting needs a passed test and a complete listing; rejecting and suspending need a reason.
    Publishing retires the version of that name that was on the market before; a retired version comes back
    only in place of the newer one that replaced it. Raises NotFound for what `by` cannot see, Conflict when
    the state does not allow the move, Forbidden when it is another's to make, BadInput for a missing reason.
    """
    row = _visible(uow, expert_id, by, lock=True)
    states.check_move(row.state, to, by, row.owner_id)
    reason = listing.check_text(reason, "reason", int((row.state, to) in states.REASON_NEEDED), 1000)
    if to == "testing":
        row.quality = None
    elif to == "pending_review":
        _check_ready(row)
    elif to == "published":
        if row.state == "retired":
            repository.lock_name(uow, row.name)
            _check_return(uow, row)
        _make_room(uow, row, by)
        row.published_at = row.published_at or now()
    repository.add_change(uow, row, from_state=row.state, to_state=to, by_id=by.id, reason=reason)
    return ExpertView.model_validate(row)


def replacing(before: ExpertView | Expert, after: ExpertView | Expert) -> str:
    """Return the reason of a step that puts one version in the place of another."""
    return f"{before.version} -> {after.version}"


def note(uow: Session, expert_id: str, *, by: PersonLike, reason: str) -> None:
    """Record for an expert's history what happened to it while its state stays."""
    row = _visible(uow, expert_id, by, lock=True)
    repository.add_change(uow, row, from_state=row.state, to_state=row.state, by_id=by.id, reason=reason)


def lock(uow: Session, name: str) -> None:
    """Let the versions of a name, and what depends on them, change one at a time until the unit of work ends.

    Whoever locks a version too, locks its name first.
    """
    if repository.name_owner(uow, name) is not None:
        repository.lock_name(uow, name)


def versions(uow: Session, name: str, tenant_id: str) -> list[ExpertView]:
    """Return the versions of a tenant's name, the first one first. Raises NotFound for another tenant's."""
    found = repository.versions(uow, name) if listing.is_name(name) else []
    if not found or found[0].tenant_id != tenant_id:
        raise NotFound("market.unknown_expert", id=name[:40])
    return [ExpertView.model_validate(row) for row in found]


def by_ids(uow: Session, ids: Collection[str]) -> dict[str, ExpertView]:
    """Return versions by their ids, in whatever state; for the platform itself."""
    return {row.id: ExpertView.model_validate(row) for row in repository.by_ids(uow, ids)} if ids else {}


def record_quality(
    uow: Session, expert_id: str, quality: dict[str, Any], passed: bool, by: PersonLike = SYSTEM
) -> ExpertView:
    """Store a test's result and move its expert from testing to tested or rejected.

    Only the platform itself may: Forbidden for a person, Conflict for an expert that is not being tested.
    """
    if states.SYSTEM_ROLE not in by.roles:
        raise Forbidden("market.system_only")
    to = "tested" if passed else "rejected"
    row = _visible(uow, expert_id, by, lock=True)
    states.check_move(row.state, to, by, row.owner_id)
    row.quality = {**quality, "passed": passed}
    repository.add_change(uow, row, from_state=row.state, to_state=to, by_id=by.id, reason="")
    return ExpertView.model_validate(row)


def history(uow: Session, expert_id: str, viewer: PersonLike) -> list[StateChange]:
    """Return every step of an expert, oldest first, for its own tenant, reviewers and the platform.

    Raises NotFound for others, also when the expert is published: a reviewer's reasons are not public.
    """
    row = _visible(uow, expert_id, viewer)
    if not _inside(row, viewer):
        raise NotFound("market.unknown_expert", id=expert_id[:40])
    return [StateChange.model_validate(change) for change in repository.changes(uow, expert_id)]


def count_uses(uow: Session, uses: Mapping[str, tuple[int, int]]) -> None:
    """Count calls of experts and their tokens, in and out: by expert (calls, tokens)."""
    if uses:
        repository.count_uses(uow, uses)


def _inside(row: Expert, viewer: PersonLike) -> bool:
    return row.tenant_id == viewer.tenant_id or bool({"reviewer", states.SYSTEM_ROLE} & viewer.roles)


def _visible(uow: Session, expert_id: str, viewer: PersonLike, *, lock: bool = False) -> Expert:
    row = repository.expert(uow, expert_id, lock=lock) if expert_id.isprintable() else None
    if row is None or not (row.state == "published" or _inside(row, viewer)):
        raise NotFound("market.unknown_expert", id=expert_id[:40])
    return row


def _check_ready(row: Expert) -> None:
    """Raise unless a reviewer would find a passed test and a whole listing."""
    if not (row.quality or {}).get("passed"):
        raise Conflict("market.not_passed")
    listing.check_description(row.description)
    listing.check_example(row.example)


def _make_room(uow: Session, row: Expert, by: PersonLike) -> None:
    """Keep one published version per name: a new one replaces, a restored one does not."""
    repository.lock_name(uow, row.name)
    before = repository.published(uow, row.name, lock=True)
    if before is None:
        return
    if row.state == "suspended":
        raise Conflict("market.newer_published", version=before.version)
    reason = replacing(before, row)
    repository.add_change(uow, before, from_state="published", to_state="retired", by_id=by.id, reason=reason)


def _check_return(uow: Session, row: Expert) -> None:
    """Raise Conflict unless the version on the market is a newer one that replaced this one."""
    present = repository.published(uow, row.name, lock=True)
    last = repository.changes(uow, row.id)[-1]
    if (
        present is None
        or row.published_at is None
        or last.reason != replacing(row, present)
        or _number(present.version) < _number(row.version)
    ):
        raise Conflict("market.not_replaced", version=row.version)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
