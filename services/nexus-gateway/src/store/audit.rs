//! The audit log: who did what, how it ended, from where. Writing never holds up a request: entries wait in a bounded
//! queue, and are written in batches. A lost PostgreSQL fills it; what does not fit is counted, and gone. An orderly end
//! waits for what was recorded before it.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kit::health::InFlight;
use serde::Serialize;
use sqlx::PgPool;
use tokio::{sync::mpsc, time::timeout};

/// Entries that wait.
const MOST_WAITING: usize = 10_000;
/// Entries that are written at once.
const BATCH: usize = 500;
/// How long a batch may take to fill, and to be written.
const GATHER: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Old entries that are removed at once.
const SWEPT: i64 = 10_000;
/// Longer texts are cut: targets and names come from outside.
const MAX_TEXT_CHARS: usize = 256;

/// What is recorded. The time is added; so is the request's id, from the task that records it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// Who did it, as far as that is known.
    pub(crate) user: Option<String>,
    /// Of which tenant.
    pub(crate) tenant: Option<String>,
    /// What was done: `auth.login`, `user.create`, or a method and a route's template.
    pub(crate) action: String,
    /// To whom or what.
    pub(crate) target: Option<String>,
    /// How it ended: `ok`, `refused`, `error`, or a status.
    pub(crate) outcome: String,
    /// From where.
    pub(crate) client: Option<IpAddr>,
}

/// An entry as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Recorded {
    /// Grows with time; the next page is `before` it.
    id: i64,
    /// RFC 3339, UTC.
    at: String,
    user: Option<String>,
    tenant: Option<String>,
    action: String,
    target: Option<String>,
    outcome: String,
    client: Option<String>,
    request_id: Option<String>,
}

/// Which entries are asked for; `None` is any.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) tenant: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: i64,
}

/// What waits to be written.
#[derive(Debug)]
enum Waiting {
    Entry(Stamped),
    /// Ends once all before it is written.
    Settled(InFlight),
}

struct Stamped {
    at_s: f64,
    request_id: Option<String>,
    entry: Entry,
}

type Row = (
    i64,
    String,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    String,
    Option<String>,
    Option<String>,
);

/// The audit log; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pool: PgPool,
    waiting: mpsc::Sender<Waiting>,
}

impl std::fmt::Debug for Stamped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.entry.fmt(out)
    }
}

impl Audit {
    /// Writes in the background, for ever.
    pub(crate) fn start(pool: PgPool) -> Self {
        let (waiting, entries) = mpsc::channel(MOST_WAITING);
        tokio::spawn(write_all(pool.clone(), entries));
        Self { pool, waiting }
    }

    /// Records an entry, soon. Never waits.
    pub(crate) fn record(&self, entry: Entry) {
        let stamped = Stamped {
            at_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |elapsed| elapsed.as_secs_f64()),
            request_id: kit::current_ids().map(|ids| ids.request_id),
            entry,
        };
        if self.waiting.try_send(Waiting::Entry(stamped)).is_err() {
            metrics::counter!("gateway_audit_dropped_total").increment(1);
        }
    }

    /// Lets `under_way` end when what was recorded until now is written, or cannot be.
    pub(crate) fn settle(&self, under_way: InFlight) {
        // Where nothing more can wait, it ends here.
        let _ = self.waiting.try_send(Waiting::Settled(under_way));
    }

    /// Removes what is older than `retention`. Entries lie nearly in the order of their times.
    pub(super) async fn sweep(pool: &PgPool, retention: Duration) -> sqlx::Result<()> {
        loop {
            let removed = sqlx::query(
                "DELETE FROM gateway.audit_log
                 WHERE id IN (SELECT id FROM gateway.audit_log ORDER BY id LIMIT $1)
                   AND at < now() - make_interval(secs => $2)",
            )
            .bind(SWEPT)
            .bind(retention.as_secs_f64())
            .execute(pool)
            .await?;
            if removed.rows_affected() < SWEPT.unsigned_abs() {
                return Ok(());
            }
        }
    }

    /// Entries, the latest first.
    pub(crate) async fn read(&self, query: Query<'_>) -> sqlx::Result<Vec<Recorded>> {
        let select = "SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
             username, tenant, action, target, outcome, client, request_id FROM gateway.audit_log
             WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR username = $2)
             AND ($3::text IS NULL OR action = $3) AND ($4::bigint IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5";
        let rows: Vec<Row> = sqlx::query_as(select)
            .bind(query.tenant)
            .bind(query.user)
            .bind(query.action)
            .bind(query.before)
            .bind(query.limit)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(recorded).collect())
    }
}

fn recorded((id, at, user, tenant, action, target, outcome, client, request_id): Row) -> Recorded {
    Recorded {
        id,
        at,
        user,
        tenant,
        action,
        target,
        outcome,
        client,
        request_id,
    }
}

async fn write_all(pool: PgPool, mut waiting: mpsc::Receiver<Waiting>) {
    let mut gathered = Vec::new();
    while waiting.recv_many(&mut gathered, BATCH).await > 0 {
        if gathered.len() < BATCH {
            tokio::time::sleep(GATHER).await;
            while gathered.len() < BATCH {
                let Ok(more) = waiting.try_recv() else { break };
                gathered.push(more);
            }
        }
        let (mut batch, mut settled) = (Vec::new(), Vec::new());
        for one in gathered.drain(..) {
            match one {
                Waiting::Entry(stamped) => batch.push(stamped),
                Waiting::Settled(under_way) => settled.push(under_way),
            }
        }
        if !batch.is_empty() {
            write(&pool, &batch, settled).await;
        }
    }
}

/// Until it is written. Where the first try fails, an orderly end waits no longer.
async fn write(pool: &PgPool, batch: &[Stamped], mut settled: Vec<InFlight>) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let error = match timeout(PATIENCE, insert(pool, batch)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!(error, entries = batch.len(), "the audit log waits");
        settled.clear();
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

async fn insert(pool: &PgPool, batch: &[Stamped]) -> sqlx::Result<()> {
    let column = |text: fn(&Stamped) -> Option<String>| -> Vec<Option<String>> {
        batch.iter().map(|stamped| text(stamped).map(storable)).collect()
    };
    let at_s: Vec<f64> = batch.iter().map(|stamped| stamped.at_s).collect();
    let insert = "INSERT INTO gateway.audit_log
             (at, username, tenant, action, target, outcome, client, request_id)
         SELECT to_timestamp(at_s), username, tenant, action, target, outcome, client, request_id
         FROM unnest($1::float8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
             AS t(at_s, username, tenant, action, target, outcome, client, request_id)";
    sqlx::query(insert)
        .bind(at_s)
        .bind(column(|stamped| stamped.entry.user.clone()))
        .bind(column(|stamped| stamped.entry.tenant.clone()))
        .bind(column(|stamped| Some(stamped.entry.action.clone())))
        .bind(column(|stamped| stamped.entry.target.clone()))
        .bind(column(|stamped| Some(stamped.entry.outcome.clone())))
        .bind(column(|stamped| {
            stamped.entry.client.map(|client| client.to_string())
        }))
        .bind(column(|stamped| stamped.request_id.clone()))
        .execute(pool)
        .await?;
    Ok(())
}

/// PostgreSQL stores no zero byte; one entry must not hold up the others.
fn storable(text: String) -> String {
    text.chars()
        .filter(|char| *char != '\0')
        .take(MAX_TEXT_CHARS)
        .collect()
}
