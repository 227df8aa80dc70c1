"""Keys over HTTP: what they open, where from, and for whom; and their own routes."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import KeyTerms, Person
from engine.flows import manage_keys, top_up_wallet
from engine.market.schemas import ExpertView
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
QUESTION = {"model": "help-desk", "messages": [{"role": "user", "content": "How long?"}]}
TEXTS = {"model": "ngram", "input": "云杉"}


def with_key(gateway: Gateway, person: Person, ip: str = "203.0.113.7", **terms: Any) -> TestClient:
    _, secret = manage_keys.create_key(person, KeyTerms(name="k", **terms))
    headers = {"Authorization": f"Bearer {secret}"}
    return TestClient(gateway(None).app, raise_server_exceptions=False, headers=headers, client=(ip, 5000))


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_scope_opens_its_routes_and_no_other(
    gateway: Gateway, developer: Person, published: ExpertView
) -> None:
    top_up_wallet.top_up(developer, "20", "first")
    refused = (403, "accounts.key_scope")
    chat = with_key(gateway, developer, scopes=("chat",))
    assert chat.post("/v1/chat/completions", json=QUESTION).status_code == 200
    assert chat.get("/v1/models").status_code == 200
    embeddings = with_key(gateway, developer, scopes=("embeddings",))
    assert embeddings.post("/v1/embeddings", json=TEXTS).status_code == 200
    assert embeddings.get("/v1/models").status_code == 200
    account = with_key(gateway, developer, scopes=("account",))
    assert account.get("/auth/me").json()["id"] == developer.id
    for client, method, path, body in (
        (chat, "POST", "/v1/embeddings", TEXTS),
        (chat, "GET", "/auth/me", None),
        (chat, "GET", "/api/keys", None),
        (chat, "GET", "/admin/knowledge", None),
        (embeddings, "POST", "/v1/chat/completions", QUESTION),
        (embeddings, "GET", "/api/wallet", None),
        (account, "GET", "/v1/models", None),
        (account, "POST", "/v1/embeddings", TEXTS),
        (account, "POST", "/v1/chat/completions", QUESTION),
    ):
        assert code(client.request(method, path, json=body)) == refused, path
    # What a caller may put into an address or a header does not make one route look like another.
    lies = {"Host": "x/v1/models?"}
    assert code(chat.get("/auth/me", headers=lies)) == refused


def test_a_key_reaches_its_models_only(gateway: Gateway, developer: Person, published: ExpertView) -> None:
    top_up_wallet.top_up(developer, "20", "first")
    client = with_key(gateway, developer, models=("help-desk", "minilm"))
    assert client.post("/v1/chat/completions", json=QUESTION).status_code == 200
    for path, body in (
        ("/v1/embeddings", TEXTS),
        ("/v1/chat/completions", {**QUESTION, "model": "other"}),
        ("/v1/chat/completions", {**QUESTION, "model": "other", "stream": True}),
    ):
        assert code(client.post(path, json=body)) == (403, "accounts.key_model")
    for broken in (b"{", b"[]", b"\xff", b'{"model": 1}'):
        headers = {"Content-Type": "application/json"}
        assert client.post("/v1/chat/completions", content=broken, headers=headers).status_code in (400, 422)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_what_the_models_routes_refuse_is_neither_held_nor_charged(
    gateway: Gateway, developer: Person, published: ExpertView, path: str
) -> None:
    top_up_wallet.top_up(developer, "20", "first")
    body = {"model": "help-desk", "max_tokens": 8}
    body |= {"prompt": "Hello"} if path == "/v1/completions" else {"messages": QUESTION["messages"]}
    refusals: list[tuple[dict[str, Any], dict[str, str], tuple[int, str]]] = [
        ({"cap_micro": 1}, {}, (402, "billing.budget_spent")),
        ({"ips": ("198.51.100.1",)}, {"X-Forwarded-For": "198.51.100.1"}, (403, "accounts.key_ip")),
        ({"scopes": ("account",)}, {}, (403, "accounts.key_scope")),
        ({"models": ("other",)}, {}, (403, "accounts.key_model")),
        ({}, {"X-Tenant-ID": "tn_other"}, (403, "accounts.other_tenant")),
        ({}, {"X-Project-ID": "nothing"}, (404, "accounts.no_project")),
    ]
    for terms, headers, refusal in refusals:
        answer = with_key(gateway, developer, **terms).post(path, json=body, headers=headers)
        assert code(answer) == refusal
    wallet = top_up_wallet.wallet(developer)
    assert (wallet.balance_micro, wallet.held_micro) == (20_000_000, 0)
    capped = with_key(gateway, developer, cap_micro=10_000_000)
    assert capped.post(path, json=body).status_code == 200
    [spent] = [key.spent_micro for key in manage_keys.keys(developer) if key.cap_micro == 10_000_000]
    assert spent == 20_000_000 - top_up_wallet.wallet(developer).balance_micro > 0


@pytest.mark.parametrize(
    ("ips", "ip", "status"),
    [
        (("203.0.113.0/24",), "203.0.113.7", 200),
        (("203.0.113.0/24",), "198.51.100.1", 403),
        (("2001:db8::/32",), "2001:db8::7", 200),
        (("2001:db8::/32",), "2001:db9::7", 403),
    ],
)
def test_a_key_is_accepted_from_its_addresses_whatever_a_header_says(
    gateway: Gateway, developer: Person, ips: tuple[str, ...], ip: str, status: int
) -> None:
    client = with_key(gateway, developer, ip=ip, ips=ips)
    for headers in ({}, {"X-Forwarded-For": "203.0.113.7, 2001:db8::7", "Forwarded": "for=203.0.113.7"}):
        assert client.get("/auth/me", headers=headers).status_code == status


def test_a_call_may_name_its_tenant_and_project(gateway: Gateway, developer: Person) -> None:
    rival = make_person("rival@example.com", "developer")
    mine, theirs = gateway(developer), gateway(rival)
    project = mine.post("/api/projects", json={"name": "网站"}).json()["id"]
    for client in (mine, with_key(gateway, developer)):
        for wish in (project.encode(), "网站".encode()):
            headers = {"X-Tenant-ID": developer.tenant_id.encode(), "X-Project-ID": wish}
            assert client.get("/auth/me", headers=headers).status_code == 200
        wrong = client.get("/auth/me", headers={"X-Tenant-ID": rival.tenant_id})
        assert code(wrong) == (403, "accounts.other_tenant")
        nothing = client.get("/auth/me", headers={"X-Project-ID": "elsewhere"})
        assert code(nothing) == (404, "accounts.no_project")
    assert code(theirs.get("/auth/me", headers={"X-Project-ID": project})) == (404, "accounts.no_project")
    mine.post("/api/projects", json={"name": "two"})
    tied = with_key(gateway, developer, project="two")
    assert tied.get("/auth/me", headers={"X-Project-ID": "two"}).status_code == 200
    assert code(tied.get("/auth/me", headers={"X-Project-ID": project})) == (403, "accounts.key_project")


def test_a_key_is_made_changed_rotated_and_revoked(gateway: Gateway, developer: Person) -> None:
    http = gateway(developer)
    http.post("/api/projects", json={"name": "Website"})
    given = {
        "name": "shop",
        "scopes": ["account", "chat"],
        "models": ["help-desk"],
        "ips": ["203.0.113.7", "::1/128"],
        "expires_at": "2999-01-31T00:00:00Z",
        "project": "Website",
        "cap": "2.5",
        "requests_per_minute": 60,
        "tokens_per_minute": 10_000,
        "parallel": 4,
    }
    made = http.post("/api/keys", json=given)
    assert made.status_code == 201
    key = made.json()
    assert (key["scopes"], key["ips"], key["cap_micro"]) == (
        ["chat", "account"],
        ["203.0.113.7", "::1"],
        2_500_000,
    )
    client = TestClient(gateway(None).app, client=("203.0.113.7", 1))
    bearer = {"Authorization": f"Bearer {key['secret']}"}
    [listed] = client.get("/api/keys", headers=bearer).json()
    assert (listed["project"], listed["spent_micro"], listed["parallel"]) == ("Website", 0, 4)
    assert "secret" not in listed and "secret_hash" not in listed
    changed = http.patch(f"/api/keys/{key['id']}", json={"ips": [], "cap": None, "project": None}).json()
    assert (changed["ips"], changed["cap_micro"], changed["project"], changed["name"]) == (
        [],
        None,
        None,
        "shop",
    )
    new = http.post(f"/api/keys/{key['id']}/rotate").json()
    assert new["id"] == key["id"]
    assert code(client.get("/auth/me", headers=bearer)) == (401, "accounts.bad_key")
    bearer = {"Authorization": f"Bearer {new['secret']}"}
    assert client.get("/auth/me", headers=bearer).status_code == 200
    assert http.delete(f"/api/keys/{key['id']}").json() == {"revoked": True}
    assert client.get("/auth/me", headers=bearer).status_code == 401
    assert code(http.patch(f"/api/keys/{key['id']}", json={"name": "x"})) == (409, "accounts.key_is_revoked")


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"models": "help-desk"}, "models"),
        ({"ips": ["nowhere"]}, "ips"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"cap": "-1"}, "cap"),
        ({"cap": "a lot"}, "cap"),
        ({"cap": "NaN"}, "cap"),
        ({"parallel": 0}, "parallel"),
        ({"parallel": 10**30}, "parallel"),
        ({"request_per_minute": 5}, "request_per_minute"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
    ],
)
def test_bad_terms_are_refused_by_name(
    gateway: Gateway, developer: Person, bad: dict[str, Any], field: str
) -> None:
    http = gateway(developer)
    key = http.post("/api/keys", json={"name": "k"}).json()
    for answer in (
        http.post("/api/keys", json={"name": "k", **bad}),
        http.patch(f"/api/keys/{key['id']}", json=bad),
    ):
        assert answer.status_code in (400, 422) and answer.json()["error"]["param"] == field
    assert len(http.get("/api/keys").json()) == 1
    assert http.get(f"/api/keys/{key['id']}").json()["name"] == "k"


def test_a_limited_key_reads_but_makes_and_changes_nothing(gateway: Gateway, developer: Person) -> None:
    http = gateway(developer)
    key = http.post("/api/keys", json={"name": "k"}).json()["id"]
    project = http.post("/api/projects", json={"name": "p"}).json()["id"]
    limited, free = with_key(gateway, developer, cap_micro=5), with_key(gateway, developer)
    assert limited.get("/api/keys").status_code == 200 and limited.get("/api/projects").status_code == 200
    changes: tuple[tuple[str, str, Any], ...] = (
        ("POST", "/api/keys", {"name": "free"}),
        ("PATCH", f"/api/keys/{key}", {"cap": None}),
        ("POST", f"/api/keys/{key}/rotate", None),
        ("POST", "/api/projects", {"name": "q"}),
        ("PATCH", f"/api/projects/{project}", {"parallel": 100}),
        ("DELETE", f"/api/projects/{project}", None),
        ("DELETE", f"/api/keys/{key}", None),
    )
    for method, path, body in changes:
        assert code(limited.request(method, path, json=body)) == (403, "accounts.key_limited"), path
    for method, path, body in changes:
        assert free.request(method, path, json=body).status_code in (200, 201), path


def test_projects_are_made_changed_and_archived_by_their_tenant(gateway: Gateway, developer: Person) -> None:
    http, rival = gateway(developer), gateway(make_person("rival@example.com", "developer"))
    project = http.post("/api/projects", json={"name": "Website", "parallel": 2}).json()
    assert code(http.post("/api/projects", json={"name": "Website"})) == (409, "accounts.project_taken")
    assert http.post("/api/projects", json={"name": "x", "parallels": 2}).status_code in (400, 422)
    path = f"/api/projects/{project['id']}"
    assert http.patch(path, json={"requests_per_day": 9}).json()["parallel"] == 2
    for answer in (rival.patch(path, json={"name": "mine"}), rival.delete(path)):
        assert code(answer) == (404, "accounts.no_project")
    assert rival.get("/api/projects").json() == []
    evaluator = gateway(make_person("eva@example.com", "evaluator"))
    assert evaluator.post("/api/projects", json={"name": "x"}).status_code == 403
    assert http.delete(path).json() == {"archived": True}
    assert http.delete(path).status_code == 404
    assert http.get("/api/projects").json()[0]["archived_at"]


def test_nobody_without_a_session_or_key_has_keys(gateway: Gateway, developer: Person) -> None:
    key = gateway(developer).post("/api/keys", json={"name": "k"}).json()["id"]
    nobody = gateway(None)
    assert nobody.get("/api/keys").status_code == 401
    assert nobody.post("/api/keys", json={"name": "k"}).status_code == 401
    assert nobody.delete(f"/api/keys/{key}").status_code == 401
    # A page of another site that a signed-in person opens makes no key either.
    other_site = gateway(developer).post(
        "/api/keys", json={"name": "k"}, headers={"Origin": "https://evil.example"}
    )
    assert other_site.status_code == 403
