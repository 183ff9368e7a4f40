//! Two pools of one database. The service's own connections make tables and keep the books, as the user of
//! `DATABASE_URL`. Rows are touched by connections that run as the role `dataflow_rows`, which row-level security
//! binds, and which says by `dataflow.tenant` whose rows it means. A superuser would see every tenant's.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use kit::Identity;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, Postgres, Row, SqlSafeStr, Transaction};

use super::Store;
use crate::config::Config;
use crate::domain::model::Model;
use crate::error::{Error, Result};
use crate::metrics;

/// The role of the connections that touch rows.
pub(super) const ROLE: &str = "dataflow_rows";
/// Every statement gets a plan of its own; the same text is planned once a connection.
const STATEMENTS_KEPT: usize = 200;
/// Connections of the service's own: a change of tables, the listener, and background work.
const OWN: u32 = 5;

/// What keeps one tenant's rows from another, besides the predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Not known before the database was asked.
    Unknown,
    /// Rows are touched as `dataflow_rows`.
    Role,
    /// The role cannot be had, but the policies bind the user of `DATABASE_URL`, too.
    Owner,
    /// The user of `DATABASE_URL` passes over policies, and may not make the role.
    Missing,
}

/// Both pools. They connect when they are first asked, and again after the database was away.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) own: PgPool,
    options: PgConnectOptions,
    limits: PgPoolOptions,
    /// Together: who finds the guard finds the connections that were made under it.
    rows: RwLock<(Guard, PgPool)>,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, config: &Config) -> Self {
        let limit = config.statement_timeout.as_millis().to_string();
        let options = options
            .statement_cache_capacity(STATEMENTS_KEPT)
            .options([("statement_timeout", limit)]);
        let limits = |size: u32| {
            PgPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(config.acquire_timeout)
        };
        // The policy `maintenance` lets the tables' owner see all rows where this is said: retention and the like.
        let own = options.clone().options([
            ("dataflow.maintenance", "on"),
            ("client_connection_check_interval", "1s"),
        ]);
        let (own, limits) = (limits(OWN).connect_lazy_with(own), limits(config.pool_size));
        let rows = limits.clone().connect_lazy_with(options.clone());
        Connections {
            own,
            options,
            limits,
            rows: RwLock::new((Guard::Unknown, rows)),
        }
    }

    pub(super) fn guard(&self) -> Guard {
        self.rows().0
    }

    fn rows(&self) -> (Guard, PgPool) {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on rows are touched so. The role is a start-up option: what a session resets to. Connections that
    /// were made without it are not used again: they might pass over the policies.
    pub(super) fn guarded_by(&self, guard: Guard) {
        if guard == self.guard() {
            return;
        }
        let options = match guard {
            Guard::Role => self.options.clone().options([("role", ROLE)]),
            _ => self.options.clone(),
        };
        let rows = (guard, self.limits.clone().connect_lazy_with(options));
        let (_, former) = std::mem::replace(
            &mut *self.rows.write().unwrap_or_else(PoisonError::into_inner),
            rows,
        );
        // Ends when the last of them was given back.
        tokio::spawn(async move { former.close().await });
        if guard != Guard::Role {
            tracing::error!(
                ?guard,
                "the role {ROLE} cannot be had: give the user of DATABASE_URL CREATEROLE, or make the role and grant it"
            );
        }
    }
}

/// A connection for the rows of one model, on behalf of one tenant.
#[derive(Debug)]
pub(super) struct RowConnection(PoolConnection<Postgres>);

impl Deref for RowConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for RowConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl RowConnection {
    /// A transaction; see `begin`.
    pub(super) async fn begin(self, statement: impl SqlSafeStr) -> Result<Transaction<'static, Postgres>> {
        begin(self.0, statement).await
    }
}

/// The one way to begin a transaction that its caller may stop waiting for. sqlx 0.9.0 counts a transaction only
/// when `BEGIN` was answered (its issue 4385): who stops waiting before that gives the connection back in the middle of
/// one, and what others write on it then is acknowledged and never committed. So a task waits for the answer. A
/// transaction that nobody fetches is dropped, and so rolled back.
async fn begin(
    connection: PoolConnection<Postgres>,
    statement: impl SqlSafeStr,
) -> Result<Transaction<'static, Postgres>> {
    let statement = statement.into_sql_str();
    let begun = tokio::spawn(Transaction::begin(connection, Some(statement)));
    let begun = begun.await.map_err(|error| Error::Broken(error.to_string()))?;
    Ok(begun?)
}

/// A connection; 503 where all there may be were in use for too long.
async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>> {
    match pool.acquire().await {
        // Without the database connections cannot be made: then there are fewer than there may be.
        Err(sqlx::Error::PoolTimedOut) if pool.size() >= pool.options().get_max_connections() => {
            Err(Error::PoolExhausted)
        }
        acquired => Ok(acquired?),
    }
}

impl Store {
    /// A transaction on one of the service's own connections.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        begin(acquire(self.pool()?).await?, "BEGIN").await
    }

    /// The one way to rows. For a multi-tenant model it costs a round trip, which says the tenant anew: nobody
    /// inherits the tenant of a connection's user before. Tables of other models have no policy, and no tenant.
    ///
    /// # Errors
    /// 403 `TENANT_REQUIRED` before any SQL; 503 where PostgreSQL could not keep tenants apart.
    pub(super) async fn rows(&self, identity: &Identity, model: &Model) -> Result<RowConnection> {
        let connections = self.connections()?;
        let tenant = match (&identity.tenant, model.config.multi_tenant) {
            (_, false) => None,
            (Some(tenant), true) => Some(tenant),
            (None, true) => return Err(Error::tenant_required(&model.name)),
        };
        let (guard, pool) = connections.rows();
        match (guard, tenant) {
            (Guard::Unknown, _) => return Err(Error::NotPrepared),
            (Guard::Missing, Some(_)) => return Err(Error::Unguarded),
            _ => {}
        }
        let begun = Instant::now();
        let acquired = acquire(&pool).await;
        metrics::waited(begun, !matches!(acquired, Err(Error::PoolExhausted)));
        let mut connection = acquired?;
        if let Some(tenant) = tenant {
            sqlx::query("SELECT set_config('dataflow.tenant', $1, false)")
                .bind(tenant)
                .execute(&mut *connection)
                .await?;
        }
        Ok(RowConnection(connection))
    }

    /// The pool of the connections that touch rows, for its figures.
    pub(super) fn row_pool(&self) -> Result<PgPool> {
        Ok(self.connections()?.rows().1)
    }
}

/// Makes the role, where the user may, and says what keeps tenants apart. Part of the change that prepares.
pub(super) async fn make_role(connection: &mut PgConnection) -> Result<Guard> {
    // A role belongs to the whole server: another database's service may make it at this moment.
    let make = "DO $$ BEGIN CREATE ROLE dataflow_rows NOLOGIN; \
                EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL; END $$";
    let join = "DO $$ BEGIN GRANT dataflow_rows TO CURRENT_USER; \
                EXCEPTION WHEN undefined_object OR insufficient_privilege OR invalid_grant_operation THEN NULL; END $$";
    let had = "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)";
    let had: bool = sqlx::query(had)
        .bind(ROLE)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if !had {
        sqlx::query(make).execute(&mut *connection).await?;
    }
    sqlx::query(join).execute(&mut *connection).await?;
    known(connection).await
}

/// What keeps tenants apart as things are.
pub(super) async fn known(connection: &mut PgConnection) -> Result<Guard> {
    let usable = "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1 AND NOT rolsuper AND NOT rolbypassrls \
                  AND pg_has_role(current_user, oid, 'MEMBER')), \
                  (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)";
    let row = sqlx::query(usable).bind(ROLE).fetch_one(connection).await?;
    Ok(match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Guard::Role,
        (false, false) => Guard::Owner,
        (false, true) => Guard::Missing,
    })
}
