"""The part of the publish page that an expert is taken along in: its handlers, without a browser."""

from pathlib import Path

import pytest

from engine.accounts.schemas import Person
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.market.schemas import ExpertView
from studio.handlers import jobs, take_along
from tests.experts import as_if_merged, plain_adapter, trained_expert
from tests.hub import TOKEN, Hub


@pytest.fixture
def expert(dana: Person, tmp_path: Path) -> ExpertView:
    return trained_expert(dana, plain_adapter(tmp_path / "adapter"))


def test_a_merge_shows_its_job_and_then_the_way_to_the_model(dana: Person, expert: ExpertView) -> None:
    before = take_along.state(dana, expert.id, "en")
    assert before.can_merge and not before.merged and before.job is None and "adapter" in before.shown
    job = take_along.merge(dana, expert.id)
    during = take_along.state(dana, expert.id, "zh")
    assert during.job is not None and not during.can_merge
    assert "合并“Shop helper”" in jobs.card(during.job, "zh")
    with pytest.raises(Conflict):
        take_along.merge(dana, expert.id)
    jobs.change(dana, job.id, "cancel")
    as_if_merged(expert)
    after = take_along.state(dana, expert.id, "zh")
    assert after.merged and after.can_merge and after.job is None
    assert f"/api/admin/models/{expert.id}/merged.zip?language=zh" in after.shown and "2.9 MB" in after.shown


def test_what_was_pushed_is_linked(dana: Person, expert: ExpertView, hub: Hub) -> None:
    said = take_along.push(dana, expert.id, "dana/shop", TOKEN, "adapter", True, "en")
    assert f'href="{hub.address}/dana/shop"' in said and "4 files" in said and TOKEN not in said
    assert take_along.hub_name() in hub.address and hub.repos["dana/shop"].private


def test_an_empty_form_is_refused_at_its_first_field(dana: Person, expert: ExpertView) -> None:
    with pytest.raises(BadInput) as caught:
        take_along.push(dana, expert.id, "", "", "adapter", True, "zh")
    assert caught.value.field == "repo"


def test_another_tenant_sees_and_sends_nothing(dana: Person, other: Person, expert: ExpertView) -> None:
    with pytest.raises(NotFound):
        take_along.state(other, expert.id, "en")
    with pytest.raises(NotFound):
        take_along.push(other, expert.id, "dana/shop", TOKEN, "adapter", True, "en")
