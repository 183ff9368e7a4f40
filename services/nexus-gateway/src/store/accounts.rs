//! Accounts: who may log in, with which password, as what.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use sqlx::{
    PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{sync::Mutex, task::JoinHandle};

use super::{migrations, refresh};
use crate::{
    config::Admin,
    domain::{password, roles::Role},
};

const MAX_CONNECTIONS: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the database works on one statement.
const STATEMENT_TIMEOUT_MS: &str = "10000";

/// A user as stored.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) password_hash: String,
    pub(crate) role: Role,
    pub(crate) tenant: String,
    pub(crate) disabled: bool,
}

/// A user as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Account {
    /// Name to log in with.
    pub(crate) username: String,
    /// What the user may do.
    pub(crate) role: Role,
    /// The tenant whose data the user sees.
    pub(crate) tenant: String,
    /// Whether the user may not log in.
    pub(crate) disabled: bool,
    /// RFC 3339, UTC.
    pub(crate) created_at: String,
}

/// What is to change of a user; `None` stays.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) disabled: Option<bool>,
    pub(crate) role: Option<Role>,
    pub(crate) password_hash: Option<String>,
}

impl Change {
    /// Whether the logins of before are wrong after it.
    fn ends_logins(&self) -> bool {
        self.disabled == Some(true) || self.role.is_some() || self.password_hash.is_some()
    }
}

/// A change that is made, and not kept before [`Changing::keep`].
#[derive(Debug)]
pub(crate) struct Changing {
    transaction: Transaction<'static, Postgres>,
    account: Account,
    /// The logins that end with it.
    pub(crate) ended: Vec<String>,
}

impl Changing {
    /// Keeps the change. Where it is dropped instead, nothing has happened.
    pub(crate) async fn keep(self) -> sqlx::Result<Account> {
        self.transaction.commit().await?;
        Ok(self.account)
    }
}

type Row = (String, String, String, bool, String);
type Preparing = JoinHandle<Result<(), String>>;

/// The accounts' store. It connects when asked, and again after every loss.
#[derive(Debug, Clone)]
pub(crate) struct Accounts {
    pool: PgPool,
    admin: Option<Admin>,
    prepared: Arc<AtomicBool>,
    preparing: Arc<Mutex<Option<Preparing>>>,
}

impl Accounts {
    pub(crate) fn new(options: PgConnectOptions, admin: Option<Admin>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.options([("statement_timeout", STATEMENT_TIMEOUT_MS)]));
        Self {
            pool,
            admin,
            prepared: Arc::new(AtomicBool::new(false)),
            preparing: Arc::default(),
        }
    }

    /// The pool, for the other stores of this database. Their tables are there once [`Self::check`] succeeded.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Whether the store answers. The first answer, and one after the database was replaced, leave it with
    /// the tables and the administrator.
    pub(crate) async fn check(&self) -> Result<(), String> {
        if !self.is_prepared() {
            // In a task of its own: who asks may lose patience before it is done, and asks again.
            let mut preparing = self.preparing.lock().await;
            let task = preparing.get_or_insert_with(|| tokio::spawn(self.clone().prepare()));
            let ended = task.await;
            *preparing = None;
            ended.map_err(|error| error.to_string())??;
        }
        let asked = sqlx::query("SELECT 1 FROM gateway.users LIMIT 1")
            .execute(&self.pool)
            .await;
        if let Err(error) = asked {
            if error.as_database_error().is_some() {
                self.prepared.store(false, Ordering::Release);
            }
            return Err(error.to_string());
        }
        Ok(())
    }

    /// Whether the tables are there, as far as that is known.
    pub(super) fn is_prepared(&self) -> bool {
        self.prepared.load(Ordering::Acquire)
    }

    async fn prepare(self) -> Result<(), String> {
        migrations::apply(&self.pool).await?;
        if let Some(admin) = &self.admin {
            self.create_admin(admin).await?;
        }
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    /// An administrator who exists keeps the password that he has.
    async fn create_admin(&self, admin: &Admin) -> Result<(), String> {
        let found = self
            .find(&admin.username)
            .await
            .map_err(|error| error.to_string())?;
        if found.is_some() {
            return Ok(());
        }
        let secret = admin.password.clone();
        let hashing = tokio::task::spawn_blocking(move || password::hash(secret.reveal()));
        let hash = hashing
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let created = self.create(&admin.username, &hash, Role::Admin, "default").await;
        if created.map_err(|error| error.to_string())?.is_some() {
            tracing::info!(user = %admin.username, "administrator created");
        }
        Ok(())
    }

    /// The user of this name.
    pub(crate) async fn find(&self, username: &str) -> sqlx::Result<Option<User>> {
        type Row = (String, String, String, bool);
        let select = "SELECT password_hash, role, tenant, disabled FROM gateway.users WHERE username = $1";
        let row: Option<Row> = sqlx::query_as(select)
            .bind(username)
            .fetch_optional(&self.pool)
            .await?;
        row.map(user).transpose()
    }

    /// A new user; `None` where the name is taken.
    pub(crate) async fn create(
        &self,
        username: &str,
        password_hash: &str,
        role: Role,
        tenant: &str,
    ) -> sqlx::Result<Option<Account>> {
        let insert =
            "INSERT INTO gateway.users (username, password_hash, role, tenant) VALUES ($1, $2, $3, $4)
             ON CONFLICT (username) DO NOTHING RETURNING username, role, tenant, disabled,
             to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
        let row: Option<Row> = sqlx::query_as(insert)
            .bind(username)
            .bind(password_hash)
            .bind(role.as_str())
            .bind(tenant)
            .fetch_optional(&self.pool)
            .await?;
        row.map(account).transpose()
    }

    /// Users in the order of their names, after one, of one tenant or of all.
    pub(crate) async fn list(
        &self,
        tenant: Option<&str>,
        after: &str,
        limit: i64,
    ) -> sqlx::Result<Vec<Account>> {
        let select = "SELECT username, role, tenant, disabled,
             to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             FROM gateway.users WHERE username > $1 AND ($2::text IS NULL OR tenant = $2)
             ORDER BY username LIMIT $3";
        let rows: Vec<Row> = sqlx::query_as(select)
            .bind(after)
            .bind(tenant)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(account).collect()
    }

    /// Changes a user, of one tenant or of any, and ends the logins that are wrong after it, in one step; `None` where
    /// there is none. `token_ttl` is how long an access token lives.
    pub(crate) async fn change(
        &self,
        username: &str,
        tenant: Option<&str>,
        change: &Change,
        token_ttl: Duration,
    ) -> sqlx::Result<Option<Changing>> {
        let update = "UPDATE gateway.users SET disabled = coalesce($3, disabled), role = coalesce($4, role),
             password_hash = coalesce($5, password_hash)
             WHERE username = $1 AND ($2::text IS NULL OR tenant = $2)
             RETURNING username, role, tenant, disabled,
             to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
        let mut transaction = super::transaction(&self.pool).await?;
        let row: Option<Row> = sqlx::query_as(update)
            .bind(username)
            .bind(tenant)
            .bind(change.disabled)
            .bind(change.role.map(Role::as_str))
            .bind(change.password_hash.as_deref())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(account) = row.map(account).transpose()? else {
            return Ok(None);
        };
        // The user's row is locked by its change: no login begins in between.
        let ended = match change.ends_logins() {
            true => refresh::end_all(&mut transaction, username, token_ttl).await?,
            false => Vec::new(),
        };
        Ok(Some(Changing {
            transaction,
            account,
            ended,
        }))
    }
}

/// A row of `password_hash, role, tenant, disabled`.
pub(super) fn user(row: (String, String, String, bool)) -> sqlx::Result<User> {
    let (password_hash, role, tenant, disabled) = row;
    Ok(User {
        password_hash,
        role: known(&role)?,
        tenant,
        disabled,
    })
}

fn account((username, role, tenant, disabled, created_at): Row) -> sqlx::Result<Account> {
    Ok(Account {
        username,
        role: known(&role)?,
        tenant,
        disabled,
        created_at,
    })
}

/// A role as stored; the table's check lets no other in.
pub(super) fn known(role: &str) -> sqlx::Result<Role> {
    Role::parse(role).ok_or_else(|| sqlx::Error::Decode("a role that is none".into()))
}
