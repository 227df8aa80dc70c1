-- The first tables of every room, with the triggers that guard ledger and votes.
-- Frozen: later changes are revisions of their own.

CREATE TABLE tenants (
    id VARCHAR NOT NULL,
    name VARCHAR(200) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_tenants PRIMARY KEY (id)
);

CREATE TABLE usage_events (
    id VARCHAR NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    tenant_id VARCHAR NOT NULL,
    person_id VARCHAR NOT NULL,
    expert_id VARCHAR NOT NULL,
    expert_name VARCHAR NOT NULL,
    developer_tenant_id VARCHAR,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    charged_micro BIGINT NOT NULL,
    developer_micro BIGINT NOT NULL,
    platform_micro BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    first_token_ms BIGINT,
    outcome VARCHAR NOT NULL,
    exported_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_usage_events PRIMARY KEY (id)
);

CREATE INDEX ix_usage_events_waiting ON usage_events (id) WHERE exported_at IS NULL;

CREATE INDEX ix_usage_events_tenant_id ON usage_events (tenant_id);

CREATE TABLE billing_accounts (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_accounts PRIMARY KEY (id),
    CONSTRAINT uq_billing_accounts_tenant_id_kind UNIQUE (tenant_id, kind)
);

CREATE TABLE billing_transactions (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    meta JSONB NOT NULL,
    CONSTRAINT pk_billing_transactions PRIMARY KEY (id),
    CONSTRAINT uq_billing_transactions_key UNIQUE (key)
);

CREATE INDEX ix_billing_transactions_tenant_id ON billing_transactions (tenant_id);

CREATE OR REPLACE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' refused';
END $$;
CREATE OR REPLACE TRIGGER billing_transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();

CREATE TABLE datasets (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    owner_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    filename VARCHAR NOT NULL,
    layout VARCHAR NOT NULL,
    encoding VARCHAR NOT NULL,
    rows BIGINT NOT NULL,
    train_rows BIGINT NOT NULL,
    validation_rows BIGINT NOT NULL,
    skipped_rows BIGINT NOT NULL,
    validation_percent BIGINT NOT NULL,
    seed BIGINT NOT NULL,
    fingerprint VARCHAR NOT NULL,
    train_sha256 VARCHAR NOT NULL,
    validation_sha256 VARCHAR NOT NULL,
    languages JSONB NOT NULL,
    problems JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_datasets PRIMARY KEY (id)
);

CREATE INDEX ix_datasets_tenant_id ON datasets (tenant_id);

CREATE TABLE eval_campaigns (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    person_id VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    judgements_each BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_eval_campaigns PRIMARY KEY (id)
);

CREATE INDEX ix_eval_campaigns_tenant_id ON eval_campaigns (tenant_id);

CREATE TABLE jobs (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    owner_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    subject_id VARCHAR,
    queue VARCHAR NOT NULL,
    priority BIGINT NOT NULL,
    state VARCHAR NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,
    message VARCHAR NOT NULL,
    metrics JSONB NOT NULL,
    params JSONB NOT NULL,
    checkpoint JSONB,
    result JSONB,
    error_key VARCHAR,
    error_facts JSONB NOT NULL,
    attempt BIGINT NOT NULL,
    silent_ends BIGINT NOT NULL,
    token BIGINT NOT NULL,
    delivery_id BIGINT,
    trace_id VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    heartbeat_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT ck_jobs_state CHECK (state IN ('queued', 'running', 'pausing', 'paused', 'cancelling', 'cancelled', 'succeeded', 'failed'))
);

CREATE INDEX ix_jobs_state_heartbeat_at ON jobs (state, heartbeat_at);

CREATE INDEX ix_jobs_subject_id ON jobs (subject_id);

CREATE INDEX ix_jobs_tenant_id_created_at ON jobs (tenant_id, created_at);

CREATE TABLE knowledge_bases (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    owner_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    language VARCHAR NOT NULL,
    embedder VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_knowledge_bases PRIMARY KEY (id)
);

CREATE INDEX ix_knowledge_bases_tenant_id ON knowledge_bases (tenant_id);

CREATE TABLE market_names (
    name VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_market_names PRIMARY KEY (name)
);

CREATE INDEX ix_market_names_tenant_id ON market_names (tenant_id);

CREATE TABLE training_runs (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    owner_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    job_id VARCHAR,
    dataset_id VARCHAR NOT NULL,
    knowledge_base_id VARCHAR,
    base_model VARCHAR NOT NULL,
    recipe JSONB NOT NULL,
    dataset_fingerprint VARCHAR,
    adapter_prefix VARCHAR,
    final_loss DOUBLE PRECISION,
    final_eval_loss DOUBLE PRECISION,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_training_runs PRIMARY KEY (id)
);

CREATE INDEX ix_training_runs_tenant_id ON training_runs (tenant_id);

CREATE INDEX ix_training_runs_dataset_id ON training_runs (dataset_id);

CREATE INDEX ix_training_runs_job_id ON training_runs (job_id);

CREATE TABLE arena_battles (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    person_id VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    prompt_sha256 VARCHAR NOT NULL,
    category VARCHAR,
    pair VARCHAR NOT NULL,
    left_model VARCHAR NOT NULL,
    left_name VARCHAR NOT NULL,
    left_answer VARCHAR NOT NULL,
    left_finished BOOLEAN NOT NULL,
    right_model VARCHAR NOT NULL,
    right_name VARCHAR NOT NULL,
    right_answer VARCHAR NOT NULL,
    right_finished BOOLEAN NOT NULL,
    rated BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_arena_battles PRIMARY KEY (id),
    CONSTRAINT ck_arena_battles_two_models CHECK (left_model <> right_model),
    CONSTRAINT uq_arena_battles_person_id_pair_prompt_sha256 UNIQUE (person_id, pair, prompt_sha256)
);

CREATE INDEX ix_arena_battles_tenant_id ON arena_battles (tenant_id);

CREATE INDEX ix_arena_battles_person_created ON arena_battles (person_id, created_at);

CREATE INDEX ix_arena_battles_right_model ON arena_battles (right_model);

CREATE INDEX ix_arena_battles_pair ON arena_battles (pair);

CREATE INDEX ix_arena_battles_left_model ON arena_battles (left_model);

CREATE TABLE people (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    email VARCHAR(254) NOT NULL,
    name VARCHAR(100) NOT NULL,
    password_hash VARCHAR(200) NOT NULL,
    roles JSONB NOT NULL,
    language VARCHAR(2) NOT NULL,
    disabled BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_people PRIMARY KEY (id),
    CONSTRAINT fk_people_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT uq_people_email UNIQUE (email)
);

CREATE INDEX ix_people_tenant_id ON people (tenant_id);

CREATE TABLE billing_entries (
    id VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    amount_micro BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_entries PRIMARY KEY (id),
    CONSTRAINT ck_billing_entries_moves_something CHECK (amount_micro <> 0),
    CONSTRAINT fk_billing_entries_transaction_id FOREIGN KEY(transaction_id) REFERENCES billing_transactions (id),
    CONSTRAINT fk_billing_entries_account_id FOREIGN KEY(account_id) REFERENCES billing_accounts (id)
);

CREATE INDEX ix_billing_entries_transaction_id ON billing_entries (transaction_id);

CREATE INDEX ix_billing_entries_newest ON billing_entries (tenant_id, at);

CREATE INDEX ix_billing_entries_balance ON billing_entries (account_id) INCLUDE (amount_micro);

CREATE OR REPLACE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' refused';
END $$;
CREATE OR REPLACE TRIGGER billing_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_entries
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();

CREATE OR REPLACE FUNCTION billing_refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT sum(amount_micro) FROM billing_entries WHERE transaction_id = NEW.transaction_id) <> 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'entries of ' || NEW.transaction_id || ' do not sum to zero';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS billing_entries_balanced ON billing_entries;
CREATE CONSTRAINT TRIGGER billing_entries_balanced AFTER INSERT ON billing_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_refuse_unbalanced();

CREATE TABLE billing_holds (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    amount_micro BIGINT NOT NULL,
    subject JSONB NOT NULL,
    state VARCHAR NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_holds PRIMARY KEY (id),
    CONSTRAINT ck_billing_holds_not_negative CHECK (amount_micro >= 0),
    CONSTRAINT uq_billing_holds_transaction_id UNIQUE (transaction_id),
    CONSTRAINT fk_billing_holds_transaction_id FOREIGN KEY(transaction_id) REFERENCES billing_transactions (id)
);

CREATE INDEX ix_billing_holds_tenant_id ON billing_holds (tenant_id);

CREATE INDEX ix_billing_holds_open ON billing_holds (expires_at) WHERE state = 'open';

CREATE TABLE eval_items (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    campaign_id VARCHAR NOT NULL,
    ordinal BIGINT NOT NULL,
    question VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    expert_id VARCHAR NOT NULL,
    expert_name VARCHAR NOT NULL,
    owner_id VARCHAR NOT NULL,
    CONSTRAINT pk_eval_items PRIMARY KEY (id),
    CONSTRAINT uq_eval_items_campaign_id_ordinal UNIQUE (campaign_id, ordinal),
    CONSTRAINT fk_eval_items_campaign_id FOREIGN KEY(campaign_id) REFERENCES eval_campaigns (id)
);

CREATE INDEX ix_eval_items_tenant_id ON eval_items (tenant_id);

CREATE TABLE knowledge_documents (
    id VARCHAR NOT NULL,
    base_id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    characters BIGINT NOT NULL,
    encoding VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    error VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_knowledge_documents PRIMARY KEY (id),
    CONSTRAINT uq_knowledge_documents_base_id_sha256 UNIQUE (base_id, sha256),
    CONSTRAINT fk_knowledge_documents_base_id FOREIGN KEY(base_id) REFERENCES knowledge_bases (id) ON DELETE CASCADE
);

CREATE INDEX ix_knowledge_documents_tenant_id ON knowledge_documents (tenant_id);

CREATE TABLE market_experts (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    owner_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    description VARCHAR NOT NULL,
    category VARCHAR NOT NULL,
    tags JSONB NOT NULL,
    version VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    input_price_micro BIGINT NOT NULL,
    output_price_micro BIGINT NOT NULL,
    example VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    adapter_prefix VARCHAR NOT NULL,
    base_model VARCHAR NOT NULL,
    knowledge_base_ids JSONB NOT NULL,
    knowledge_tenant_id VARCHAR NOT NULL,
    quality JSONB,
    published_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    calls BIGINT DEFAULT 0 NOT NULL,
    tokens BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_market_experts PRIMARY KEY (id),
    CONSTRAINT uq_market_experts_name_version UNIQUE (name, version),
    CONSTRAINT ck_market_experts_prices_not_negative CHECK (input_price_micro >= 0 AND output_price_micro >= 0),
    CONSTRAINT fk_market_experts_name FOREIGN KEY(name) REFERENCES market_names (name)
);

CREATE INDEX ix_market_experts_tenant_id ON market_experts (tenant_id);

CREATE INDEX ix_market_experts_state ON market_experts (state);

CREATE UNIQUE INDEX ix_market_experts_one_published ON market_experts (name) WHERE state = 'published';

CREATE TABLE training_points (
    run_id VARCHAR NOT NULL,
    step BIGINT NOT NULL,
    epoch DOUBLE PRECISION NOT NULL,
    loss DOUBLE PRECISION,
    eval_loss DOUBLE PRECISION,
    learning_rate DOUBLE PRECISION,
    grad_norm DOUBLE PRECISION,
    tokens_per_second DOUBLE PRECISION,
    CONSTRAINT pk_training_points PRIMARY KEY (run_id, step),
    CONSTRAINT fk_training_points_run_id FOREIGN KEY(run_id) REFERENCES training_runs (id) ON DELETE CASCADE
);

CREATE TABLE arena_votes (
    id VARCHAR NOT NULL,
    battle_id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    person_id VARCHAR NOT NULL,
    category VARCHAR,
    left_model VARCHAR NOT NULL,
    right_model VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    rated BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_arena_votes PRIMARY KEY (id),
    CONSTRAINT uq_arena_votes_battle_id UNIQUE (battle_id),
    CONSTRAINT ck_arena_votes_verdict CHECK (verdict IN ('left', 'right', 'tie', 'both_bad')),
    CONSTRAINT fk_arena_votes_battle_id FOREIGN KEY(battle_id) REFERENCES arena_battles (id)
);

CREATE INDEX ix_arena_votes_tenant_id ON arena_votes (tenant_id);

CREATE INDEX ix_arena_votes_person_id ON arena_votes (person_id);

CREATE OR REPLACE FUNCTION arena_votes_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'arena_votes is append-only';
END
$$;
CREATE OR REPLACE TRIGGER arena_votes_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON arena_votes
    FOR EACH STATEMENT EXECUTE FUNCTION arena_votes_append_only();

CREATE TABLE api_keys (
    id VARCHAR NOT NULL,
    person_id VARCHAR NOT NULL,
    tenant_id VARCHAR(40) NOT NULL,
    name VARCHAR(100) NOT NULL,
    prefix VARCHAR(16) NOT NULL,
    secret_hash VARCHAR(64) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT fk_api_keys_person_id FOREIGN KEY(person_id) REFERENCES people (id),
    CONSTRAINT uq_api_keys_secret_hash UNIQUE (secret_hash)
);

CREATE INDEX ix_api_keys_tenant_id ON api_keys (tenant_id);

CREATE INDEX ix_api_keys_person_id ON api_keys (person_id);

CREATE TABLE billing_receipts (
    id VARCHAR NOT NULL,
    hold_id VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    developer_tenant_id VARCHAR,
    held_micro BIGINT NOT NULL,
    charged_micro BIGINT NOT NULL,
    returned_micro BIGINT NOT NULL,
    developer_micro BIGINT NOT NULL,
    platform_micro BIGINT NOT NULL,
    usage JSONB NOT NULL,
    state VARCHAR NOT NULL,
    reason VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_receipts PRIMARY KEY (id),
    CONSTRAINT ck_billing_receipts_hold_accounted_for CHECK (charged_micro + returned_micro = held_micro),
    CONSTRAINT ck_billing_receipts_charge_split CHECK (developer_micro + platform_micro = charged_micro),
    CONSTRAINT uq_billing_receipts_hold_id UNIQUE (hold_id),
    CONSTRAINT fk_billing_receipts_hold_id FOREIGN KEY(hold_id) REFERENCES billing_holds (id),
    CONSTRAINT uq_billing_receipts_transaction_id UNIQUE (transaction_id),
    CONSTRAINT fk_billing_receipts_transaction_id FOREIGN KEY(transaction_id) REFERENCES billing_transactions (id)
);

CREATE INDEX ix_billing_receipts_newest ON billing_receipts (tenant_id, created_at);

CREATE INDEX ix_billing_receipts_developer_tenant_id ON billing_receipts (developer_tenant_id);

CREATE OR REPLACE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' refused';
END $$;
CREATE OR REPLACE TRIGGER billing_receipts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_receipts
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();

CREATE TABLE eval_slots (
    id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    item_id VARCHAR NOT NULL,
    number BIGINT NOT NULL,
    state VARCHAR NOT NULL,
    person_id VARCHAR,
    claimed_at TIMESTAMP WITH TIME ZONE,
    submitted_at TIMESTAMP WITH TIME ZONE,
    accuracy BIGINT,
    helpfulness BIGINT,
    tone BIGINT,
    comment VARCHAR NOT NULL,
    CONSTRAINT pk_eval_slots PRIMARY KEY (id),
    CONSTRAINT uq_eval_slots_item_id_number UNIQUE (item_id, number),
    CONSTRAINT ck_eval_slots_state CHECK (state IN ('open', 'claimed', 'done')),
    CONSTRAINT ck_eval_slots_taken_by_someone CHECK ((state = 'open') = (person_id IS NULL)),
    CONSTRAINT ck_eval_slots_scores CHECK (state <> 'done' OR (accuracy BETWEEN 1 AND 5 AND helpfulness BETWEEN 1 AND 5 AND tone BETWEEN 1 AND 5)),
    CONSTRAINT fk_eval_slots_item_id FOREIGN KEY(item_id) REFERENCES eval_items (id)
);

CREATE INDEX ix_eval_slots_waiting ON eval_slots (number, item_id) WHERE state <> 'done';

CREATE UNIQUE INDEX uq_eval_slots_item_person ON eval_slots (item_id, person_id) WHERE person_id IS NOT NULL;

CREATE INDEX ix_eval_slots_tenant_id ON eval_slots (tenant_id);

CREATE INDEX ix_eval_slots_person_id ON eval_slots (person_id);

CREATE TABLE eval_skips (
    item_id VARCHAR NOT NULL,
    person_id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_eval_skips PRIMARY KEY (item_id, person_id),
    CONSTRAINT fk_eval_skips_item_id FOREIGN KEY(item_id) REFERENCES eval_items (id)
);

CREATE INDEX ix_eval_skips_tenant_id ON eval_skips (tenant_id);

CREATE TABLE knowledge_chunks (
    base_id VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    document_id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    ordinal BIGINT NOT NULL,
    text VARCHAR NOT NULL,
    start BIGINT NOT NULL,
    "end" BIGINT NOT NULL,
    heading VARCHAR NOT NULL,
    content_hash VARCHAR NOT NULL,
    indexed_hash VARCHAR,
    indexed_by VARCHAR,
    CONSTRAINT pk_knowledge_chunks PRIMARY KEY (base_id, id),
    CONSTRAINT fk_knowledge_chunks_base_id FOREIGN KEY(base_id) REFERENCES knowledge_bases (id) ON DELETE CASCADE,
    CONSTRAINT fk_knowledge_chunks_document_id FOREIGN KEY(document_id) REFERENCES knowledge_documents (id) ON DELETE CASCADE
);

CREATE INDEX ix_knowledge_chunks_tenant_id ON knowledge_chunks (tenant_id);

CREATE INDEX ix_knowledge_chunks_document_id_ordinal ON knowledge_chunks (document_id, ordinal);

CREATE TABLE market_changes (
    id VARCHAR NOT NULL,
    expert_id VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    from_state VARCHAR,
    to_state VARCHAR NOT NULL,
    by_id VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_market_changes PRIMARY KEY (id),
    CONSTRAINT fk_market_changes_expert_id FOREIGN KEY(expert_id) REFERENCES market_experts (id)
);

CREATE INDEX ix_market_changes_tenant_id ON market_changes (tenant_id);

CREATE INDEX ix_market_changes_expert_id ON market_changes (expert_id);
