import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.accounts import keys
from engine.accounts.schemas import KeyTerms
from engine.flows import edit_chunks
from engine.jobs import service as jobs
from engine.kit.database import Base, engine, plain_url, unit_of_work
from engine.kit.migrate import alembic_config, upgrade
from engine.knowledge import checks, service


def test_the_migrations_make_exactly_the_tables_of_the_models(db: str) -> None:
    with engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": ours})
        assert compare_metadata(context, Base.metadata) == []


def ours(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and (name or "").startswith(("procrastinate_", "alembic_")))


def begin_at(revision: str) -> None:
    """Leave a database without rows, as it was at `revision`."""
    with unit_of_work() as uow:
        uow.execute(text("drop schema public cascade"))
        uow.execute(text("create schema public"))
    command.upgrade(alembic_config(plain_url()), revision)


def test_the_base_of_an_old_run_becomes_the_first_of_its_list(db: str) -> None:
    begin_at("0004")
    insert = (
        "insert into training_runs (id, tenant_id, owner_id, name, dataset_id, knowledge_base_id, base_model,"
        " recipe, created_at) values (:id, 't', 'p', 'Shop', 'ds', :base, 'starter', '{}', now())"
    )
    old = {"run_1": "kb_1", "run_2": None, "run_3": ""}
    with unit_of_work() as uow:
        uow.execute(text(insert), [{"id": run_id, "base": base} for run_id, base in old.items()])
    command.upgrade(alembic_config(db), "0005")
    with unit_of_work() as uow:
        rows = uow.execute(text("select id, knowledge_base_ids from training_runs"))
        lists = {row.id: row.knowledge_base_ids for row in rows}
    assert lists == {"run_1": ["kb_1"], "run_2": [], "run_3": []}
    command.downgrade(alembic_config(db), "0004")
    with unit_of_work() as uow:
        rows = uow.execute(text("select id, knowledge_base_id from training_runs"))
        assert {row.id: row.knowledge_base_id for row in rows} == {**old, "run_3": None}


def test_runs_from_before_they_were_watched_keep_what_was_measured(db: str) -> None:
    begin_at("0007")
    with unit_of_work() as uow:
        uow.execute(
            text(
                "insert into training_runs (id, tenant_id, owner_id, name, dataset_id, base_model, recipe,"
                " created_at) values ('run_1', 't', 'p', 'Shop', 'ds', 'starter', '{}', now());"
                "insert into training_points (run_id, step, epoch, loss) values ('run_1', 1, 0.1, 2)"
            )
        )
    command.upgrade(alembic_config(db), "0008")
    with unit_of_work() as uow:
        assert uow.execute(text("select loss, memory from training_points")).one() == (2, None)
        assert uow.execute(text("select questions from training_runs")).scalar_one() == []
    command.downgrade(alembic_config(db), "0007")
    with unit_of_work() as uow:
        assert uow.execute(text("select loss from training_points")).scalar_one() == 2
    upgrade(plain_url())


def test_runs_from_before_there_were_searches_belong_to_none(db: str) -> None:
    begin_at("0009")
    with unit_of_work() as uow:
        uow.execute(
            text(
                "insert into training_runs (id, tenant_id, owner_id, name, dataset_id, base_model, recipe,"
                " created_at) values ('run_1', 't', 'p', 'Shop', 'ds', 'starter', '{}', now())"
            )
        )
    command.upgrade(alembic_config(db), "0010")
    with unit_of_work() as uow:
        assert uow.execute(text("select search_id, trial, ended, result from training_runs")).one() == (
            *(None,) * 4,
        )
    command.downgrade(alembic_config(db), "0009")
    with unit_of_work() as uow:
        assert uow.execute(text("select id from training_runs")).scalar_one() == "run_1"
    upgrade(plain_url())


def test_money_in_and_out_can_be_forgotten_and_made_again(db: str) -> None:
    command.downgrade(alembic_config(db), "0011")
    with unit_of_work() as uow:
        assert uow.execute(text("select to_regclass('billing_payouts')")).scalar_one() is None
    upgrade(plain_url())
    with unit_of_work() as uow:
        assert uow.execute(text("select count(*) from billing_payouts")).scalar_one() == 0


def test_migrating_again_changes_nothing(db: str) -> None:
    upgrade(plain_url())
    with unit_of_work() as uow:
        assert uow.execute(text("select version_num from alembic_version")).scalar_one()


@pytest.mark.parametrize("table", ["billing_entries", "billing_transactions", "arena_votes"])
def test_a_migrated_database_refuses_to_rewrite_history(db: str, table: str) -> None:
    with pytest.raises(DBAPIError), unit_of_work() as uow:
        uow.execute(text(f"delete from {table}"))


BEFORE_INDEXES = """
insert into knowledge_bases (id, tenant_id, owner_id, name, language, embedder, least_evidence, created_at)
  values ('kb_1', 't1', 'p1', 'Help', 'zh', 'ngram', 0.3, now()),
         ('kb_2', 't1', 'p1', 'Two', 'en', 'minilm', null, now());
insert into knowledge_documents
  (id, base_id, tenant_id, name, size, characters, encoding, sha256, state, created_at)
  values ('doc_1', 'kb_1', 't1', 'a.md', 2, 2, 'utf-8', 's1', 'chunked', now()),
         ('doc_2', 'kb_1', 't1', 'b.md', 2, 2, 'utf-8', 's2', 'stored', now());
insert into knowledge_chunks
  (base_id, id, document_id, tenant_id, ordinal, text, start, "end", heading, content_hash, indexed_hash,
   indexed_by, edited)
  values ('kb_1', 'ch_1', 'doc_1', 't1', 0, 'ab', 0, 2, '', 'h', 'h', 'ngram', true);
insert into knowledge_checks (id, base_id, tenant_id, embedder, chunks, answerable, unanswerable, recall_1,
    recall_5, mrr, least_evidence, created_at)
  values ('kc_1', 'kb_1', 't1', 'ngram', 1, 1, 0, 1, 1, 1, 0.3, now());
insert into jobs
  (id, tenant_id, owner_id, kind, title, subject_id, queue, priority, state, done, total, message,
    metrics, params, error_facts, attempt, silent_ends, token, trace_id, created_at)
  select 'job_' || n, 't1', 'p1', kind, 'Help', 'kb_1', 'normal', 0, state, 0, 0, '', '{}',
    '{"base_id": "kb_1", "tenant_id": "t1"}', '{}', 1, 0, 0, '', now()
  from (values (1, 'knowledge.index', 'succeeded'), (2, 'knowledge.restore', 'paused'))
    as old (n, kind, state);
"""


def test_bases_made_before_there_were_indexes_keep_all_but_their_vectors(db: str) -> None:
    begin_at("0004")
    with unit_of_work() as uow:
        uow.execute(text(BEFORE_INDEXES))
    upgrade(plain_url())
    with unit_of_work() as uow:
        base = service.get_base(uow, "kb_1", "t1")
        states = {each.id: each.state for each in service.documents(uow, "kb_1", "t1")}
        [chunk] = service.chunks(uow, "kb_1", "t1")
        [check] = checks.history(uow, "kb_1", "t1")
        assert len(service.bases(uow, "t1")) == 2
    assert (base.embedder, base.target_tokens, base.least_evidence) == ("ngram", 80, 0.3)
    assert states == {"doc_1": "chunked", "doc_2": "stored"}
    assert (chunk.text, chunk.edited, chunk.indexed) == ("ab", True, False)
    assert (base.chunks, base.indexed_chunks, check.index_id) == (1, 0, base.index_id)
    with unit_of_work() as uow:
        found = {job.id: job for job in jobs.listing(uow, "t1", subject_id=base.index_id)}
    assert found["job_2"].state == "cancelled" and found["job_1"].params["index_id"] == base.index_id
    assert edit_chunks.index_what_lost_its_vectors() == 1


def test_keys_from_before_they_had_limits_go_on_as_they_were(db: str) -> None:
    begin_at("0011")
    with unit_of_work() as uow:
        uow.execute(
            text(
                "insert into tenants (id, name, plan, created_at) values ('t', 'T', 'free', now());"
                "insert into people (id, tenant_id, email, name, password_hash, roles, language, disabled,"
                " created_at) values ('p', 't', 'p@example.com', 'P', '', '[]', 'en', false, now());"
                "insert into api_keys (id, person_id, tenant_id, name, prefix, secret_hash, created_at)"
                " values ('key_1', 'p', 't', 'Old', 'mbe-old', encode(sha256('mbe-old'), 'hex'), now())"
            )
        )
    command.upgrade(alembic_config(db), "0012")
    with unit_of_work() as uow:
        caller = keys.caller(uow, "mbe-old")
        assert caller.key is not None and not caller.key.limited
        limits = KeyTerms(name="New", parallel=1)
        keys.create(uow, person=caller.person, terms=limits)
    command.downgrade(alembic_config(db), "0011")
    with unit_of_work() as uow:
        live = uow.execute(text("select name from api_keys where revoked_at is null")).scalars().all()
        assert live == ["Old"]
    upgrade(plain_url())
