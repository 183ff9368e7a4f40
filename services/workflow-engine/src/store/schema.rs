//! The tables, as an ordered list of changes. Each is made once, by whichever replica comes first.

use sqlx::PgConnection;

/// What each change does, in its place: one is never edited after a release, only added.
const CHANGES: [&[&str]; 2] = [
    &[
        "CREATE TABLE IF NOT EXISTS workflow.definitions (
            workflow_id text PRIMARY KEY,
            name text NOT NULL,
            version text NOT NULL,
            fingerprint text NOT NULL,
            definition jsonb NOT NULL,
            place bigserial,
            registered_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (name, version)
        )",
        "CREATE TABLE IF NOT EXISTS workflow.executions (
            execution_id text PRIMARY KEY,
            workflow_id text NOT NULL REFERENCES workflow.definitions,
            state text NOT NULL,
            inputs jsonb NOT NULL,
            outputs jsonb,
            error jsonb,
            started_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz
        )",
    ],
    &[
        // A deleted workflow is kept for the sake of its runs; its name is free again.
        "ALTER TABLE workflow.definitions ADD COLUMN deleted_at timestamptz",
        "ALTER TABLE workflow.definitions DROP CONSTRAINT IF EXISTS definitions_name_version_key",
        "CREATE UNIQUE INDEX definitions_live ON workflow.definitions (name, version) WHERE deleted_at IS NULL",
        "ALTER TABLE workflow.executions ADD COLUMN workflow text, ADD COLUMN version text,
            ADD COLUMN tenant text, ADD COLUMN owner text, ADD COLUMN lease_until timestamptz,
            ADD COLUMN took_s double precision",
        "UPDATE workflow.executions e SET workflow = d.name, version = d.version
            FROM workflow.definitions d WHERE d.workflow_id = e.workflow_id",
        "CREATE INDEX executions_by_tenant ON workflow.executions (tenant, started_at DESC)",
        "CREATE INDEX executions_active ON workflow.executions (lease_until)
            WHERE state IN ('pending', 'running', 'waiting')",
        "CREATE TABLE workflow.history (
            place bigserial PRIMARY KEY,
            execution_id text NOT NULL REFERENCES workflow.executions ON DELETE CASCADE,
            seq bigint,
            kind text NOT NULL,
            node text,
            data jsonb,
            output jsonb,
            at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (execution_id, seq)
        )",
        "CREATE INDEX history_of ON workflow.history (execution_id, place)",
        "CREATE TABLE workflow.signals (
            place bigserial PRIMARY KEY,
            execution_id text NOT NULL REFERENCES workflow.executions ON DELETE CASCADE,
            name text NOT NULL,
            payload jsonb NOT NULL,
            taken_by text
        )",
        "CREATE INDEX signals_of ON workflow.signals (execution_id, name, place)",
        "CREATE TABLE workflow.outbox (place bigserial PRIMARY KEY, event jsonb NOT NULL)",
        "CREATE FUNCTION workflow.rfc3339(at timestamptz) RETURNS text LANGUAGE sql STABLE AS
            $$ SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') $$",
        // contract::events::Event
        "CREATE FUNCTION workflow.event(kind text, tenant text, workflow text, version text, execution_id text,
                status text) RETURNS jsonb LANGUAGE sql VOLATILE AS
            $$ SELECT jsonb_build_object('id', gen_random_uuid(), 'type', kind, 'tenant', tenant,
                'at', workflow.rfc3339(clock_timestamp()), 'data', jsonb_strip_nulls(jsonb_build_object(
                'workflow', workflow, 'version', version, 'execution_id', execution_id, 'status', status))) $$",
    ],
];

/// Makes the changes that are not made yet. The caller holds the lock of all replicas.
pub(super) async fn change(connection: &mut PgConnection) -> sqlx::Result<()> {
    for statement in [
        "CREATE SCHEMA IF NOT EXISTS workflow",
        "CREATE TABLE IF NOT EXISTS workflow.changes (
            number int PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now()
        )",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM workflow.changes")
        .fetch_one(&mut *connection)
        .await?;
    let made = usize::try_from(made).unwrap_or(0);
    for (number, statements) in CHANGES.iter().enumerate().skip(made) {
        for statement in *statements {
            sqlx::query(*statement).execute(&mut *connection).await?;
        }
        sqlx::query("INSERT INTO workflow.changes (number) VALUES ($1)")
            .bind(i32::try_from(number).unwrap_or(i32::MAX))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
