//! The gateway's tables, in a schema of its own, so that no model of the dataflow service can meet them: an ordered
//! list of steps, each applied once, in one transaction. A step that was applied is never changed.

use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

/// Replicas that start together must not create the same things at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('horme.gateway.schema'))";
const LEDGER: &str = "
    CREATE SCHEMA IF NOT EXISTS gateway;
    CREATE TABLE IF NOT EXISTS gateway.migrations (
        version    integer PRIMARY KEY,
        name       text NOT NULL,
        checksum   bytea NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );";

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

/// Append only.
const ALL: &[Migration] = &[
    Migration {
        version: 1,
        name: "users",
        // Of the releases before this list there may be a table already.
        sql: "
    CREATE TABLE IF NOT EXISTS gateway.users (
        username      text PRIMARY KEY,
        password_hash text NOT NULL,
        role          text NOT NULL,
        tenant        text NOT NULL,
        created_at    timestamptz NOT NULL DEFAULT now()
    );
    ALTER TABLE gateway.users
        ADD COLUMN IF NOT EXISTS disabled boolean NOT NULL DEFAULT false,
        ADD CONSTRAINT users_role CHECK (role IN ('user', 'deployer', 'admin'));
    CREATE INDEX users_tenant ON gateway.users (tenant, username);",
    },
    Migration {
        version: 2,
        name: "refresh tokens",
        sql: "
    CREATE TABLE gateway.refresh_tokens (
        hash       bytea PRIMARY KEY,
        family     text NOT NULL,
        parent     bytea,
        username   text NOT NULL REFERENCES gateway.users ON DELETE CASCADE,
        issued_at  timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        used_at    timestamptz,
        revoked    boolean NOT NULL DEFAULT false
    );
    CREATE INDEX refresh_tokens_family ON gateway.refresh_tokens (family);
    CREATE INDEX refresh_tokens_username ON gateway.refresh_tokens (username);",
    },
    Migration {
        version: 3,
        name: "api keys",
        sql: "
    CREATE TABLE gateway.api_keys (
        id           text PRIMARY KEY,
        hash         bytea NOT NULL,
        name         text NOT NULL,
        username     text NOT NULL REFERENCES gateway.users ON DELETE CASCADE,
        created_at   timestamptz NOT NULL DEFAULT now(),
        expires_at   timestamptz,
        last_used_at timestamptz
    );
    CREATE INDEX api_keys_username ON gateway.api_keys (username);",
    },
    Migration {
        version: 4,
        name: "audit log",
        sql: "
    CREATE TABLE gateway.audit_log (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at         timestamptz NOT NULL,
        username   text,
        tenant     text,
        action     text NOT NULL,
        target     text,
        outcome    text NOT NULL,
        client     text,
        request_id text
    );
    CREATE INDEX audit_log_username ON gateway.audit_log (username, id);
    CREATE INDEX audit_log_tenant ON gateway.audit_log (tenant, id);",
    },
    Migration {
        version: 5,
        name: "idempotency",
        sql: "
    CREATE TABLE gateway.idempotency (
        key         text NOT NULL,
        tenant      text NOT NULL,
        username    text NOT NULL,
        fingerprint bytea NOT NULL,
        state       text NOT NULL,
        status      integer,
        headers     text,
        body        bytea,
        expires_at  timestamptz NOT NULL,
        PRIMARY KEY (key, tenant, username)
    );
    CREATE INDEX idempotency_expires ON gateway.idempotency (expires_at);",
    },
    Migration {
        version: 6,
        name: "what is over is found",
        sql: "
    CREATE INDEX refresh_tokens_expires ON gateway.refresh_tokens (expires_at);
    CREATE INDEX idempotency_owner ON gateway.idempotency (tenant, username);",
    },
];

/// Brings the tables to where this release needs them. Steps of a later release are left alone, so that two
/// releases can run side by side.
///
/// # Errors
/// The database does not answer, or a step that it has is another one than ours.
pub(crate) async fn apply(pool: &PgPool) -> Result<(), String> {
    let told = |error: sqlx::Error| error.to_string();
    let mut transaction = super::transaction(pool).await.map_err(told)?;
    // A step over a large table, and waiting for another replica's, take as long as they take.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0")
        .execute(&mut *transaction)
        .await
        .map_err(told)?;
    sqlx::raw_sql(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(told)?;
    sqlx::raw_sql(LEDGER)
        .execute(&mut *transaction)
        .await
        .map_err(told)?;
    let applied: Vec<(i32, Vec<u8>)> = sqlx::query_as("SELECT version, checksum FROM gateway.migrations")
        .fetch_all(&mut *transaction)
        .await
        .map_err(told)?;
    for migration in missing(&applied)? {
        step(&mut transaction, migration).await.map_err(told)?;
    }
    transaction.commit().await.map_err(told)
}

/// The steps that are to be applied, in their order.
fn missing(applied: &[(i32, Vec<u8>)]) -> Result<Vec<&'static Migration>, String> {
    let mut missing = Vec::new();
    for migration in ALL {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            Some((_, known)) if *known == migration.checksum() => {}
            Some(_) => {
                return Err(format!(
                    "migration {} was applied as another one",
                    migration.version
                ));
            }
            None => missing.push(migration),
        }
    }
    Ok(missing)
}

impl Migration {
    fn checksum(&self) -> Vec<u8> {
        Sha256::digest(self.sql.as_bytes()).to_vec()
    }
}

async fn step(connection: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    sqlx::raw_sql(migration.sql).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO gateway.migrations (version, name, checksum) VALUES ($1, $2, $3)")
        .bind(migration.version)
        .bind(migration.name)
        .bind(migration.checksum())
        .execute(&mut *connection)
        .await?;
    tracing::info!(
        version = migration.version,
        name = migration.name,
        "migration applied"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ALL, missing};

    #[test]
    fn steps_are_numbered_without_gaps() {
        let versions: Vec<i32> = ALL.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=6).collect::<Vec<i32>>());
    }

    #[test]
    fn steps_are_applied_once_and_never_over_another_one() {
        let mut applied: Vec<(i32, Vec<u8>)> = ALL[..4]
            .iter()
            .map(|migration| (migration.version, migration.checksum()))
            .collect();
        // Of a later release.
        applied.push((99, vec![1]));
        let left = missing(&applied).unwrap();
        let left: Vec<i32> = left.iter().map(|migration| migration.version).collect();
        assert_eq!(left, [5, 6]);
        applied[1].1[0] ^= 1;
        assert_eq!(
            missing(&applied).err().as_deref(),
            Some("migration 2 was applied as another one")
        );
    }
}
