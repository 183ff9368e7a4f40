//! What is over is forgotten: kept answers, refresh tokens, and old entries of the audit log.

use std::time::Duration;

use super::{Accounts, Audit, Idempotency, RefreshTokens};

const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// How soon it is looked again whether there are tables to sweep.
const PREPARED_EVERY: Duration = Duration::from_secs(1);

/// Sweeps once the tables are there, and then now and then, for ever.
pub(crate) fn sweep(accounts: Accounts, audit_retention: Duration) {
    tokio::spawn(async move {
        loop {
            if !accounts.is_prepared() {
                tokio::time::sleep(PREPARED_EVERY).await;
                continue;
            }
            if let Err(error) = once(&accounts, audit_retention).await {
                tracing::warn!(%error, "what is over stays for now");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    });
}

async fn once(accounts: &Accounts, audit_retention: Duration) -> sqlx::Result<()> {
    let pool = accounts.pool();
    Idempotency::new(pool).sweep().await?;
    RefreshTokens::new(pool.clone()).sweep().await?;
    Audit::sweep(pool, audit_retention).await
}
