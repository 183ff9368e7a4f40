//! The service's own tables: a list of changes, each applied once and in order, and never edited afterwards. Two
//! replicas that start together apply each once, since it happens under the lock on all changes of tables.

use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};

use super::connections::{Guard, ROLE};
use crate::error::{Error, Result};

/// One change. Its SQL may hold several statements.
struct Change {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

/// Append; what was released stays as it is, to the letter.
const CHANGES: &[Change] = &[
    Change {
        version: 1,
        name: "registry",
        // Databases of the first release have this table.
        sql: "CREATE TABLE IF NOT EXISTS dataflow.model_registry (
                  name text PRIMARY KEY,
                  table_name text NOT NULL UNIQUE,
                  definition jsonb NOT NULL,
                  registered_at timestamptz NOT NULL DEFAULT now()
              );
              CREATE SEQUENCE dataflow.revisions;
              ALTER TABLE dataflow.model_registry
                  ADD COLUMN revision bigint NOT NULL DEFAULT nextval('dataflow.revisions')",
    },
    Change {
        version: 2,
        name: "migrations",
        sql: "CREATE TABLE dataflow.migrations (
                  version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                  model text NOT NULL,
                  name text NOT NULL,
                  checksum text NOT NULL,
                  statements jsonb NOT NULL,
                  risk text NOT NULL,
                  before jsonb,
                  after jsonb,
                  status text NOT NULL CHECK (status IN ('pending', 'applied', 'failed', 'rolled_back')),
                  steps_done integer NOT NULL DEFAULT 0,
                  error text,
                  rolls_back bigint REFERENCES dataflow.migrations,
                  created_at timestamptz NOT NULL DEFAULT now(),
                  applied_at timestamptz,
                  rolled_back_at timestamptz
              );
              CREATE INDEX migrations_of_model ON dataflow.migrations (model, version DESC)",
    },
    Change {
        version: 3,
        name: "outbox",
        // `tell` runs with its owner's rights, so that the role of the rows can neither read nor change what was
        // told. A model's version is the sum over 16 rows, of which a writer raises the one of its connection: with
        // one row, all writers of a model would wait for each other. Each row only grows, and is seen when its
        // writer has committed, so that equal sums in two snapshots mean that nothing was committed in between.
        sql: "CREATE TABLE dataflow.outbox (
                  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                  id uuid NOT NULL DEFAULT gen_random_uuid(),
                  kind text NOT NULL,
                  tenant text,
                  at timestamptz NOT NULL DEFAULT now(),
                  data text NOT NULL
              );
              CREATE TABLE dataflow.versions (
                  model text NOT NULL,
                  tenant text NOT NULL,
                  shard integer NOT NULL,
                  n bigint NOT NULL,
                  PRIMARY KEY (model, tenant, shard)
              ) WITH (fillfactor = 50);
              CREATE FUNCTION dataflow.tell(of_model text, action text, data jsonb, of_tenant text)
              RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
              SET search_path = pg_catalog, pg_temp AS $$
              BEGIN
                  INSERT INTO dataflow.outbox (kind, tenant, data)
                      VALUES ('dataflow.' || of_model || '.' || action, of_tenant,
                              (jsonb_build_object('model', of_model) || data)::text);
                  INSERT INTO dataflow.versions AS v (model, tenant, shard, n)
                      VALUES (of_model, coalesce(of_tenant, ''), pg_backend_pid() % 16, 1)
                      ON CONFLICT (model, tenant, shard) DO UPDATE SET n = v.n + 1;
                  RETURN true;
              END $$;
              CREATE FUNCTION dataflow.version_of(of_model text, of_tenant text)
              RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
              SET search_path = pg_catalog, pg_temp AS $$
                  SELECT coalesce((SELECT revision FROM dataflow.model_registry WHERE name = of_model), 0)
                      || '.' || coalesce((SELECT sum(n) FROM dataflow.versions
                                          WHERE model = of_model AND tenant = coalesce(of_tenant, '')), 0)
              $$;
              REVOKE EXECUTE ON FUNCTION dataflow.tell(text, text, jsonb, text),
                                         dataflow.version_of(text, text) FROM PUBLIC",
    },
    Change {
        version: 4,
        name: "jobs",
        // A chunk of an import is deleted in the transaction that writes its rows: what is there is to be done.
        sql: "CREATE TABLE dataflow.jobs (
                  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
                  kind text NOT NULL,
                  model text NOT NULL,
                  tenant text,
                  -- Of the schedule: for all tenants, and nobody's to see.
                  scheduled text UNIQUE,
                  options jsonb NOT NULL DEFAULT '{}',
                  status text NOT NULL DEFAULT 'queued'
                      CHECK (status IN ('queued', 'running', 'done', 'dead', 'cancelled')),
                  done bigint NOT NULL DEFAULT 0,
                  failed bigint NOT NULL DEFAULT 0,
                  total bigint,
                  faults jsonb NOT NULL DEFAULT '[]',
                  attempts integer NOT NULL DEFAULT 0,
                  worker uuid,
                  lease_until timestamptz,
                  run_after timestamptz NOT NULL DEFAULT now(),
                  error text,
                  created_at timestamptz NOT NULL DEFAULT now(),
                  started_at timestamptz,
                  finished_at timestamptz
              );
              CREATE INDEX jobs_to_do ON dataflow.jobs (run_after) WHERE status IN ('queued', 'running');
              CREATE INDEX jobs_of_tenant ON dataflow.jobs (tenant, created_at DESC);
              CREATE TABLE dataflow.job_chunks (
                  job uuid NOT NULL REFERENCES dataflow.jobs ON DELETE CASCADE,
                  n integer NOT NULL,
                  first bigint NOT NULL,
                  rows text NOT NULL,
                  PRIMARY KEY (job, n)
              );
              CREATE FUNCTION dataflow.chunk_done(
                  of_job uuid, chunk integer, by_worker uuid, written bigint, refused bigint, told jsonb)
              RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
              SET search_path = pg_catalog, pg_temp AS $$
              BEGIN
                  UPDATE dataflow.jobs SET done = done + written, failed = failed + refused,
                      faults = CASE WHEN jsonb_array_length(faults) < 100 THEN faults || told ELSE faults END
                      WHERE id = of_job AND worker = by_worker AND status = 'running';
                  IF NOT FOUND THEN RETURN false; END IF;
                  DELETE FROM dataflow.job_chunks WHERE job = of_job AND n = chunk;
                  RETURN FOUND;
              END $$;
              REVOKE EXECUTE ON FUNCTION dataflow.chunk_done(uuid, integer, uuid, bigint, bigint, jsonb)
                  FROM PUBLIC",
    },
    Change {
        version: 5,
        name: "texts",
        // JSONB writes some numbers otherwise than they were sent (1e18, -0.0), and so is neither what a checksum was
        // made of nor equal to the definition that is sent again.
        sql: "ALTER TABLE dataflow.model_registry ALTER COLUMN definition TYPE text;
              ALTER TABLE dataflow.migrations
                  ALTER COLUMN statements TYPE text, ALTER COLUMN before TYPE text, ALTER COLUMN after TYPE text",
    },
    Change {
        version: 6,
        name: "cascades",
        // The registry says what follows a deleted row: rows that are deleted with it take others with them, rows
        // that lose their reference do not. A deletion of nobody's rows may reach those of all tenants; so the
        // version of nobody's rows counts for every tenant. A job that made progress begins to count its attempts
        // anew.
        sql: "CREATE FUNCTION dataflow.tell_cascades(of_model text, of_tenant text)
              RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
              SET search_path = pg_catalog, pg_temp AS $$
              DECLARE reached text;
              BEGIN
                  FOR reached IN
                      WITH RECURSIVE refers AS MATERIALIZED (
                          SELECT r.name, split_part(f.value->>'references', '.', 1) AS target,
                                 f.value->>'on_delete' AS follows
                          FROM dataflow.model_registry r, jsonb_each(r.definition::jsonb->'fields') f
                          WHERE r.definition::text LIKE '%\"on_delete\"%'
                              AND f.value->>'on_delete' IN ('cascade', 'set_null')
                      ), gone(name) AS (
                          SELECT of_model UNION
                          SELECT r.name FROM refers r JOIN gone ON r.target = gone.name WHERE follows = 'cascade'
                      )
                      SELECT DISTINCT r.name FROM refers r JOIN gone ON r.target = gone.name ORDER BY 1
                  LOOP
                      PERFORM dataflow.tell(reached, 'cascade', jsonb_build_object('of', of_model), of_tenant);
                  END LOOP;
                  RETURN true;
              END $$;
              REVOKE EXECUTE ON FUNCTION dataflow.tell_cascades(text, text) FROM PUBLIC;
              CREATE OR REPLACE FUNCTION dataflow.version_of(of_model text, of_tenant text)
              RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
              SET search_path = pg_catalog, pg_temp AS $$
                  SELECT coalesce((SELECT revision FROM dataflow.model_registry WHERE name = of_model), 0)
                      || '.' || coalesce((SELECT sum(n) FROM dataflow.versions
                                          WHERE model = of_model AND tenant IN ('', coalesce(of_tenant, ''))), 0)
              $$;
              CREATE OR REPLACE FUNCTION dataflow.chunk_done(
                  of_job uuid, chunk integer, by_worker uuid, written bigint, refused bigint, told jsonb)
              RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
              SET search_path = pg_catalog, pg_temp AS $$
              BEGIN
                  UPDATE dataflow.jobs SET done = done + written, failed = failed + refused, attempts = 0,
                      faults = CASE WHEN jsonb_array_length(faults) < 100 THEN faults || told ELSE faults END
                      WHERE id = of_job AND worker = by_worker AND status = 'running';
                  IF NOT FOUND THEN RETURN false; END IF;
                  DELETE FROM dataflow.job_chunks WHERE job = of_job AND n = chunk;
                  RETURN FOUND;
              END $$",
    },
];

/// What the role of row connections may do with these tables. Granted at every start, so that it may change.
const GRANTS: &[&str] = &[
    "GRANT USAGE ON SCHEMA models, dataflow TO dataflow_rows",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA models TO dataflow_rows",
    "GRANT EXECUTE ON FUNCTION dataflow.tell(text, text, jsonb, text), dataflow.version_of(text, text), \
     dataflow.tell_cascades(text, text), dataflow.chunk_done(uuid, integer, uuid, bigint, bigint, jsonb) TO dataflow_rows",
];

/// Whether every change has been applied, so that nobody has to wait for the lock.
pub(super) async fn is_current(connection: &mut PgConnection) -> Result<bool> {
    let there = "SELECT to_regclass('dataflow.schema_changes') IS NOT NULL";
    let there: bool = sqlx::query(there).fetch_one(&mut *connection).await?.try_get(0)?;
    if !there {
        return Ok(false);
    }
    let rows = sqlx::query("SELECT version, checksum FROM dataflow.schema_changes")
        .fetch_all(&mut *connection)
        .await?;
    let applied: Vec<(i32, String)> = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(CHANGES
        .iter()
        .all(|change| applied.contains(&(change.version, checksum_of(change.sql)))))
}

/// Whether the role has the rights on these tables and on the models': they may have been made before it could be had.
pub(super) async fn is_granted(connection: &mut PgConnection) -> Result<bool> {
    let granted = "SELECT has_schema_privilege($1, 'dataflow', 'USAGE') AND has_schema_privilege($1, 'models', 'USAGE')
                   AND NOT EXISTS (SELECT 1 FROM pg_proc WHERE pronamespace = 'dataflow'::regnamespace
                                   AND NOT has_function_privilege($1, oid, 'EXECUTE'))
                   AND NOT EXISTS (SELECT 1 FROM dataflow.model_registry
                                   WHERE NOT has_table_privilege(
                                       $1, to_regclass('models.' || quote_ident(table_name))::oid, 'SELECT'))";
    let row = sqlx::query(granted).bind(ROLE).fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

/// Brings the service's own tables to this version.
///
/// # Errors
/// An applied change is not what this version knows by its number: `Broken`, with the change's name.
pub(super) async fn apply(connection: &mut PgConnection, guard: Guard) -> Result<()> {
    let begin = "CREATE SCHEMA IF NOT EXISTS dataflow; CREATE SCHEMA IF NOT EXISTS models;
                 CREATE TABLE IF NOT EXISTS dataflow.schema_changes (
                     version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
                     applied_at timestamptz NOT NULL DEFAULT now())";
    sqlx::raw_sql(begin).execute(&mut *connection).await?;
    for change in CHANGES {
        let known = "SELECT checksum FROM dataflow.schema_changes WHERE version = $1";
        let known = sqlx::query(known)
            .bind(change.version)
            .fetch_optional(&mut *connection)
            .await?;
        let checksum = checksum_of(change.sql);
        match known.map(|row| row.try_get::<String, _>(0)).transpose()? {
            Some(known) if known == checksum => continue,
            Some(_) => return Err(Error::Broken(altered(change))),
            None => {}
        }
        sqlx::raw_sql(change.sql).execute(&mut *connection).await?;
        sqlx::query("INSERT INTO dataflow.schema_changes (version, name, checksum) VALUES ($1, $2, $3)")
            .bind(change.version)
            .bind(change.name)
            .bind(checksum)
            .execute(&mut *connection)
            .await?;
    }
    if guard == Guard::Role {
        for grant in GRANTS {
            sqlx::query(*grant).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

fn altered(change: &Change) -> String {
    format!(
        "change {} ({}) of the service's own tables was applied in another form: restore the row of \
         dataflow.schema_changes, or the release that wrote it",
        change.version, change.name
    )
}

/// SHA-256 of a text, 64 hex digits.
pub(super) fn checksum_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_from_one_without_a_gap() {
        for (place, change) in CHANGES.iter().enumerate() {
            assert_eq!(usize::try_from(change.version), Ok(place + 1), "{}", change.name);
        }
    }
}
