//! Many rows in one transaction: one statement a batch, one bind a column (`unnest`). Where the database refuses
//! a batch because of a row, the batch is halved under savepoints until the row is found.

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use kit::Identity;

use super::retry::Tries;
use super::sql::Sql;
use super::{Store, bulk_sql};
use crate::domain::bulk::{Bulk, BulkOperation, Conflict, OnError, Target};
use crate::domain::field::Kind;
use crate::domain::items::{Group, Item, ItemFault};
use crate::domain::model::Model;
use crate::error::{Error, Result, fault_of};
use crate::metrics::Call;

/// Rows named where nothing is written because of them; more would have to be looked for one by one.
const MOST_NAMED: usize = 20;
/// Ids that are looked at together, at least.
const IDS_AHEAD: usize = 1000;
/// Faults in an answer.
const MOST_TOLD: usize = 100;

/// What a bulk call came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    inserted: u64,
    updated: u64,
    deleted: u64,
    ids: Vec<Value>,
    pub(super) faults: Vec<ItemFault>,
}

impl Done {
    pub(super) fn written(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    /// Items that were neither written nor named.
    fn skipped(&self, bulk: &Bulk) -> u64 {
        let failed = self
            .faults
            .iter()
            .map(|item| item.index)
            .collect::<std::collections::BTreeSet<_>>();
        (bulk.sent as u64).saturating_sub(self.written() + failed.len() as u64)
    }

    /// The result as the node of that name gives it.
    fn fields(self, bulk: &Bulk) -> Map<String, Value> {
        let processed = match bulk.target {
            Target::Items(_) => bulk.sent as u64,
            Target::Filter(..) => self.written(),
        };
        let skipped = self.skipped(bulk);
        let mut fields = Map::new();
        let mut say = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        say("processed", json!(processed));
        match bulk.operation {
            BulkOperation::Create | BulkOperation::Upsert => {
                say("inserted", json!(self.inserted));
                say("skipped", json!(skipped));
                if bulk.operation == BulkOperation::Upsert {
                    say("upserted", json!(self.inserted + self.updated));
                    say("total", json!(processed));
                }
                if bulk.operation == BulkOperation::Upsert || bulk.conflict == Conflict::Update {
                    say("updated", json!(self.updated));
                }
            }
            BulkOperation::Update => drop(say("updated", json!(self.updated))),
            BulkOperation::Delete => drop(say("deleted", json!(self.deleted))),
        }
        if bulk.return_ids {
            say("ids", json!(self.ids));
        }
        if bulk.on_error == OnError::Continue {
            let told: Vec<Value> = self
                .faults
                .iter()
                .take(MOST_TOLD)
                .map(ItemFault::to_json)
                .collect();
            say("failed", json!(self.faults.len()));
            say("errors", json!(told));
        }
        say("batch_size", json!(bulk.batch_size));
        say("operation", json!(bulk.operation.word()));
        say("success", json!(self.faults.is_empty()));
        fields
    }
}

impl Store {
    /// Writes all that is meant in one transaction, with its event.
    ///
    /// # Errors
    /// `Items` where rows were refused and nothing was written.
    pub(crate) async fn run_bulk(
        &self,
        identity: &Identity,
        model: &Model,
        bulk: &Bulk,
    ) -> Result<Map<String, Value>> {
        let call = Call::begin(&model.name, bulk.operation.word());
        let mut tries = Tries::default();
        let result = loop {
            match self.bulk_once(identity, model, bulk).await {
                Err(error) if tries.again(&error).await => {}
                result => break result,
            }
        };
        call.end(&result, self.0.slow_query);
        let done = result?;
        self.wake_relay();
        Ok(done.fields(bulk))
    }

    async fn bulk_once(&self, identity: &Identity, model: &Model, bulk: &Bulk) -> Result<Done> {
        let mut change = self.rows(identity, model).await?.begin("BEGIN").await?;
        let tenant = tenant_of(identity, model);
        let done = write(&mut change, model, tenant, bulk).await?;
        change.commit().await?;
        Ok(done)
    }
}

/// The tenant whose rows are meant; `None` where a model's rows belong to none.
pub(super) fn tenant_of<'a>(identity: &'a Identity, model: &Model) -> Option<&'a str> {
    identity.tenant.as_deref().filter(|_| model.config.multi_tenant)
}

/// Writes within a transaction, and leaves its event there.
pub(super) async fn write(
    change: &mut PgConnection,
    model: &Model,
    tenant: Option<&str>,
    bulk: &Bulk,
) -> Result<Done> {
    let mut done = Done {
        faults: bulk.faults.clone(),
        ..Done::default()
    };
    match &bulk.target {
        Target::Filter(..) => by_filter(change, model, tenant, bulk, &mut done).await?,
        Target::Items(groups) => {
            for group in groups {
                let statement = Statement::of(model, tenant, bulk, group);
                for items in group.items.chunks(bulk.batch_size) {
                    if statement.draws_ids {
                        free_ids(change, model, items.len()).await?;
                    }
                    batch(change, &statement, bulk, items, &mut done).await?;
                }
            }
        }
    }
    if bulk.on_error == OnError::Abort && !done.faults.is_empty() {
        done.faults.sort_by_key(|item| item.index);
        return Err(Error::Items(done.faults));
    }
    if done.written() > 0 {
        tell(change, model, bulk.operation.word(), done.written(), tenant).await?;
    }
    if done.deleted > 0 && !model.config.soft_delete {
        sqlx::query("SELECT dataflow.tell_cascades($1, $2)")
            .bind(&model.name)
            .bind(tenant)
            .execute(change)
            .await?;
    }
    Ok(done)
}

/// The event of many rows: how many, not which. It comes last, since raising the model's version makes the next
/// writer of the same connection number wait.
pub(super) async fn tell(
    change: &mut PgConnection,
    model: &Model,
    action: &str,
    count: u64,
    tenant: Option<&str>,
) -> Result<()> {
    sqlx::query("SELECT dataflow.tell($1, $2, $3::jsonb, $4)")
        .bind(&model.name)
        .bind(action)
        .bind(json!({ "count": count }).to_string())
        .bind(tenant)
        .execute(change)
        .await?;
    Ok(())
}

async fn by_filter(
    change: &mut PgConnection,
    model: &Model,
    tenant: Option<&str>,
    bulk: &Bulk,
    done: &mut Done,
) -> Result<()> {
    let Target::Filter(conditions, values) = &bulk.target else {
        return Ok(());
    };
    let table = model.table();
    let sql = match bulk.operation {
        BulkOperation::Delete if !model.config.soft_delete => {
            Sql::new("DELETE FROM ").table(&table).push(" AS t")
        }
        BulkOperation::Delete => Sql::new("UPDATE ")
            .table(&table)
            .push(" AS t SET \"deleted_at\" = (now() AT TIME ZONE 'UTC')"),
        _ => Sql::new("UPDATE ")
            .table(&table)
            .push(" AS t SET \"updated_at\" = (now() AT TIME ZONE 'UTC'), ")
            .joined(values.clone(), ", ", |sql, value| {
                sql.name(&value.column).push(" = ").value(value.kind, value.value)
            }),
    };
    let sql = sql.scoped(model, tenant, false).conditions(conditions.clone());
    let count = sql.query().execute(change).await?.rows_affected();
    match bulk.operation {
        BulkOperation::Delete => done.deleted += count,
        _ => done.updated += count,
    }
    Ok(())
}

async fn batch(
    change: &mut PgConnection,
    statement: &Statement<'_>,
    bulk: &Bulk,
    items: &[Item],
    done: &mut Done,
) -> Result<()> {
    let mut open = vec![items];
    while let Some(part) = open.pop() {
        sqlx::query("SAVEPOINT part").execute(&mut *change).await?;
        let Err(error) = statement.run(change, part, done).await else {
            sqlx::query("RELEASE SAVEPOINT part")
                .execute(&mut *change)
                .await?;
            continue;
        };
        let Error::Database(refused) = &error else {
            return Err(error);
        };
        let Some(fault) = fault_of(refused) else {
            return Err(error);
        };
        sqlx::raw_sql("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
            .execute(&mut *change)
            .await?;
        if let [item] = part {
            done.faults.push(ItemFault {
                index: item.index,
                fault,
            });
        } else {
            let (left, right) = part.split_at(part.len() / 2);
            open.extend([right, left]);
        }
        if bulk.on_error == OnError::Abort && done.faults.len() >= MOST_NAMED {
            return Ok(());
        }
    }
    Ok(())
}

/// Lets the sequence of a model's ids pass over those next ones that are there already: rows that were sent with an id
/// do not advance it. A drawn id that is taken would refuse a row, or pass over it as if it were there. Only of the
/// connection's tenant, and never backwards, since others draw at the same time.
pub(super) async fn free_ids(change: &mut PgConnection, model: &Model, wanted: usize) -> Result<()> {
    let passed = bulk_sql::free_ids(model);
    loop {
        let row = sqlx::query(AssertSqlSafe(passed.as_str()))
            .bind(wanted.max(IDS_AHEAD) as i64)
            .fetch_one(&mut *change)
            .await?;
        if row.try_get::<i64, _>(0)? == 0 {
            return Ok(());
        }
    }
}

/// The statement of a group, made once.
struct Statement<'a> {
    /// Whether the table makes the ids.
    draws_ids: bool,
    text: String,
    columns: usize,
    tenant: Option<&'a str>,
    operation: BulkOperation,
}

impl<'a> Statement<'a> {
    fn of(model: &Model, tenant: Option<&'a str>, bulk: &Bulk, group: &Group) -> Self {
        let columns = &group.columns;
        let text = match bulk.operation {
            BulkOperation::Create | BulkOperation::Upsert => bulk_sql::insert(model, tenant, bulk, group),
            BulkOperation::Update => bulk_sql::update(model, tenant, columns),
            BulkOperation::Delete => bulk_sql::delete(model, tenant, columns),
        };
        let inserts = matches!(bulk.operation, BulkOperation::Create | BulkOperation::Upsert);
        let has_ids = columns.iter().any(|(column, _)| column == "id");
        Statement {
            draws_ids: inserts && !has_ids && model.id_kind() == Kind::Int,
            text,
            columns: columns.len(),
            tenant,
            operation: bulk.operation,
        }
    }

    async fn run(&self, change: &mut PgConnection, items: &[Item], done: &mut Done) -> Result<()> {
        let mut query = sqlx::query(AssertSqlSafe(self.text.as_str()));
        for column in 0..self.columns {
            let values: Vec<Option<&str>> = items.iter().map(|item| item.values[column].as_deref()).collect();
            query = query.bind(values);
        }
        if self.columns == 0 {
            query = query.bind(items.len() as i64);
        }
        if let Some(tenant) = self.tenant {
            query = query.bind(tenant);
        }
        match self.operation {
            BulkOperation::Update => done.updated += query.execute(change).await?.rows_affected(),
            BulkOperation::Delete => done.deleted += query.execute(change).await?.rows_affected(),
            BulkOperation::Create | BulkOperation::Upsert => {
                let row = query.fetch_one(change).await?;
                done.inserted += u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
                done.updated += u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default();
                if let Some(ids) = row.try_get::<Option<String>, _>(2)? {
                    done.ids.extend(serde_json::from_str::<Vec<Value>>(&ids)?);
                }
            }
        }
        Ok(())
    }
}
