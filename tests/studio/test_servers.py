"""The model servers on the operators' page, and the text that stands in, without a browser."""

from collections.abc import Iterator
from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Forbidden, NotFound
from engine.market import service as market
from studio.handlers import servers
from tests import model_servers
from tests.model_servers import ModelServer
from tests.studio.conftest import MakePerson

GOOD: dict[str, Any] = {
    "name": "gpu-1",
    "model": "*",
    "served_as": "m",
    "key_variable": "MBE_UPSTREAM_KEY_NONE",
    "weight": 3,
    "fallback": 1,
}


@pytest.fixture
def rui(make_person: MakePerson) -> Person:
    return make_person("Rui", "operator")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_servers.running() as found:
        yield found


@pytest.mark.parametrize(
    ("language", "never", "ready", "broken", "missing"),
    [
        ("en", "not asked yet", "ready", "no answer", "MBE_UPSTREAM_KEY_NONE is not set"),
        ("zh", "尚未询问", "正常", "无响应", "未设置 MBE_UPSTREAM_KEY_NONE"),
    ],
)
def test_servers_are_shown_and_asked(
    model: None,
    rui: Person,
    server: ModelServer,
    language: str,
    never: str,
    ready: str,
    broken: str,
    missing: str,
) -> None:
    before = servers.listing(rui, language)
    assert never in before.table and before.choices == [("local", "local")]
    assert "gpu-1" in servers.add(rui, language, base_url=server.address, **GOOD)
    now = servers.probed(rui, language)
    assert now.table.count(f"{ready}</span>") == 2 and server.probes == 1 and missing in now.table
    server.mood = "fails"
    now = servers.probed(rui, language)
    assert now.table.count(f"{ready}</span>") == 1 and broken in now.table
    assert [name for name, _ in now.choices] == ["local", "gpu-1"]


def test_a_server_is_changed_turned_off_and_removed(model: None, rui: Person, server: ModelServer) -> None:
    servers.add(rui, "en", base_url=server.address, **GOOD)
    choices = dict(servers.listing(rui, "en").choices)
    assert servers.values(rui, choices["gpu-1"]) == (3, 1, True)
    servers.change(rui, "en", choices["gpu-1"], 0, 2, False)
    assert servers.values(rui, choices["gpu-1"]) == (0, 2, False)
    assert "turned off" in servers.probed(rui, "en").table and server.probes == 0
    # The built-in one keeps its id when it is declared by a first change.
    for rank in (5, 6):
        servers.change(rui, "en", "local", 1, rank, True)
        assert servers.values(rui, "local") == (1, rank, True)
    with pytest.raises(BadInput) as refused:
        servers.remove(rui, "en", choices["gpu-1"], False)
    assert refused.value.field == "confirmed"
    assert "gpu-1" in servers.remove(rui, "en", choices["gpu-1"], True)
    assert [name for name, _ in servers.listing(rui, "en").choices] == ["local"]
    for unknown, error in ((None, BadInput), (choices["gpu-1"], NotFound)):
        with pytest.raises(error):
            servers.values(rui, unknown)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"weight": None}, "weight"), ({"fallback": 1.5}, "fallback"), ({"name": None}, "name")],
)
def test_what_is_typed_wrong_is_told_at_its_field(rui: Person, change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        servers.add(rui, "en", base_url="https://gpu.example", **{**GOOD, **change})
    assert refused.value.field == field


def test_servers_are_for_operators(dana: Person) -> None:
    for act in (
        lambda: servers.listing(dana, "en"),
        lambda: servers.add(dana, "en", base_url="https://gpu.example", **GOOD),
        lambda: servers.change(dana, "en", "local", 1, 1, True),
        lambda: servers.remove(dana, "en", "local", True),
    ):
        with pytest.raises(Forbidden):
            act()


def test_the_owner_of_a_name_writes_what_stands_in(dana: Person, other: Person) -> None:
    with unit_of_work() as uow:
        market.register(
            uow,
            person_id=dana.id,
            tenant_id=dana.tenant_id,
            name="help-desk",
            title="Help desk",
            run_id="r",
            adapter_prefix="a",
            base_model="starter",
            knowledge_base_ids=[],
        )
    assert servers.instead(dana, "help-desk") == ""
    assert "saved" in servers.write_instead(dana, "help-desk", "We are away.", "en")
    assert servers.instead(dana, "help-desk") == "We are away."
    with pytest.raises(NotFound):
        servers.write_instead(other, "help-desk", "hacked", "en")
    assert "已取消" in servers.write_instead(dana, "help-desk", " ", "zh")
    assert servers.instead(dana, "help-desk") == ""
