//! Users, in a schema of the gateway's own, so that no model of the dataflow service can meet it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{config::Admin, domain::password};

const MAX_CONNECTIONS: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Replicas that start together must not create the same things at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('horme.gateway.schema'))";
const SCHEMA: &str = "
    CREATE SCHEMA IF NOT EXISTS gateway;
    CREATE TABLE IF NOT EXISTS gateway.users (
        username      text PRIMARY KEY,
        password_hash text NOT NULL,
        role          text NOT NULL,
        tenant        text NOT NULL,
        created_at    timestamptz NOT NULL DEFAULT now()
    );";

/// A user as stored.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) password_hash: String,
    pub(crate) role: String,
    pub(crate) tenant: String,
}

/// The users' store. It connects when asked, and again after every loss.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    pool: PgPool,
    admin: Option<Admin>,
    prepared: Arc<AtomicBool>,
}

impl Users {
    pub(crate) fn new(options: PgConnectOptions, admin: Option<Admin>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Self {
            pool,
            admin,
            prepared: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Whether the store answers. The first answer, and one after the database was replaced, leave it with
    /// the table and the administrator.
    pub(crate) async fn check(&self) -> Result<(), String> {
        if !self.prepared.load(Ordering::Acquire) {
            self.prepare().await?;
            self.prepared.store(true, Ordering::Release);
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

    async fn prepare(&self) -> Result<(), String> {
        let mut transaction = self.pool.begin().await.map_err(|error| error.to_string())?;
        sqlx::raw_sql(LOCK)
            .execute(&mut *transaction)
            .await
            .map_err(|error| error.to_string())?;
        sqlx::raw_sql(SCHEMA)
            .execute(&mut *transaction)
            .await
            .map_err(|error| error.to_string())?;
        transaction.commit().await.map_err(|error| error.to_string())?;
        match &self.admin {
            Some(admin) => self.create_admin(admin).await,
            None => Ok(()),
        }
    }

    /// An administrator who exists keeps the password that he has.
    async fn create_admin(&self, admin: &Admin) -> Result<(), String> {
        if self
            .find(&admin.username)
            .await
            .map_err(|error| error.to_string())?
            .is_some()
        {
            return Ok(());
        }
        let secret = admin.password.clone();
        let hashing = tokio::task::spawn_blocking(move || password::hash(secret.reveal()));
        let hash = hashing
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let insert = "INSERT INTO gateway.users (username, password_hash, role, tenant)
             VALUES ($1, $2, 'admin', 'default') ON CONFLICT (username) DO NOTHING";
        let done = sqlx::query(insert)
            .bind(&admin.username)
            .bind(hash)
            .execute(&self.pool)
            .await;
        done.map_err(|error| error.to_string())?;
        tracing::info!(user = %admin.username, "administrator created");
        Ok(())
    }

    /// The user of this name.
    pub(crate) async fn find(&self, username: &str) -> Result<Option<User>, sqlx::Error> {
        type Row = (String, String, String);
        let select = "SELECT password_hash, role, tenant FROM gateway.users WHERE username = $1";
        let row: Option<Row> = sqlx::query_as(select)
            .bind(username)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(password_hash, role, tenant)| User {
            password_hash,
            role,
            tenant,
        }))
    }
}
