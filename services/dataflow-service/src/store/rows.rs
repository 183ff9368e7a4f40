//! A model's rows. Rows leave PostgreSQL as JSON, so that no type is translated twice.

use kit::Identity;
use serde_json::{Map, Value, json};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::bulk::free_ids;
use super::connections::RowConnection;
use super::retry::Tries;
use super::scope::Scope;
use super::sql::Sql;
use super::statements::{self, Write};
use crate::domain::cache_key::{CacheWish, Question};
use crate::domain::call::{Action, Page, Selection};
use crate::domain::fault::ROW_EXISTS;
use crate::domain::field::Kind;
use crate::domain::model::Model;
use crate::domain::search::Search;
use crate::error::{Error, Result, fault_of};
use crate::metrics::Call;

/// A row, or a node's result.
pub(crate) type Fields = Map<String, Value>;
/// Candidates that pgvector's index keeps while it searches: its own default, and its limit.
const CANDIDATES: (i64, i64) = (40, 1000);

impl Store {
    /// Does what a node was called for, on rows of the identity's tenant. The result has the shape of DataFlow's
    /// node of that name.
    ///
    /// # Errors
    /// 403 `TENANT_REQUIRED` before any SQL.
    pub(crate) async fn run(&self, identity: &Identity, model: &Model, action: Action) -> Result<Fields> {
        let scope = Scope::of(identity, model)?;
        if let Action::Bulk(bulk) = action {
            return self.run_bulk(identity, model, &bulk).await;
        }
        let call = Call::begin(&model.name, action.word());
        let mut tries = Tries::default();
        let result = loop {
            match self.once(identity, scope, action.clone()).await {
                Err(error) if tries.again(&error).await => {}
                Err(error) if draws_id(&action, model) && id_is_taken(&error) && tries.at_once() => {
                    free_ids(&mut *self.rows(identity, model).await?, model, 1).await?;
                }
                result => break result,
            }
        };
        call.end(&result, self.0.slow_query);
        result
    }

    async fn once(&self, identity: &Identity, scope: Scope<'_>, action: Action) -> Result<Fields> {
        let model = scope.model;
        let mut rows = self.rows(identity, model).await?;
        match action {
            Action::Create(values) => {
                let made = self
                    .write(&mut rows, scope, statements::create(scope, values))
                    .await?;
                let (row, _) =
                    made.ok_or_else(|| Error::Broken("a row was made and not returned".to_owned()))?;
                Ok(row)
            }
            Action::Read {
                key,
                raise,
                include_deleted,
            } => {
                let id = model.id_from_path(&key.id);
                let sql = statements::read(scope.with_deleted(include_deleted), key);
                match sql.query().fetch_optional(&mut *rows).await? {
                    Some(row) => Ok(with(fields_of(&row)?, [("found", json!(true))])),
                    None if raise => Err(Error::row_not_found(&model.name)),
                    None => Ok(with(Fields::new(), [("id", id), ("found", json!(false))])),
                }
            }
            Action::Update { key, values } => {
                let id = model.id_from_path(&key.id);
                let done = self
                    .write(&mut rows, scope, statements::update(scope, key, values))
                    .await?;
                let updated = done.is_some();
                let (row, _) = done.unwrap_or_default();
                Ok(with(row, [("id", id), ("updated", json!(updated))]))
            }
            Action::Delete(key) => {
                let id = model.id_from_path(&key.id);
                let done = self
                    .write(&mut rows, scope, statements::delete(scope, key))
                    .await?;
                Ok(with(
                    Fields::new(),
                    [("id", id), ("deleted", json!(done.is_some()))],
                ))
            }
            Action::Upsert(upsert) => {
                let on = upsert.on.clone();
                let done = self
                    .write(&mut rows, scope, statements::upsert(scope, upsert))
                    .await?;
                let (row, is_new) = done.ok_or_else(|| Error::row_taken(&model.name, &on))?;
                Ok(upserted(row, is_new))
            }
            Action::List(page) => self.list(&mut rows, scope, page).await,
            Action::Count(selection) => self.count(&mut rows, scope, selection).await,
            Action::Search(search) => nearest(rows, scope, search).await,
            Action::Bulk(_) => Err(Error::Broken("many rows are no single statement".to_owned())),
        }
    }

    async fn list(&self, rows: &mut RowConnection, scope: Scope<'_>, page: Page) -> Result<Fields> {
        let (wish, limit) = (page.of.cache.clone(), page.limit);
        let scope = scope.with_deleted(page.of.include_deleted);
        let asked = format!(
            "{:?}",
            (
                &page.of.conditions,
                page.of.include_deleted,
                &page.order,
                limit,
                page.offset
            )
        );
        let sql = statements::list(scope, page);
        let (answer, told) = self
            .cached(rows, scope, "list", (&asked, &wish), async |rows| {
                let records = sql.query().fetch_all(&mut **rows).await?;
                let records = records.iter().map(fields_of).collect::<Result<Vec<_>>>()?;
                let count = records.len();
                let result = [
                    ("records", json!(records)),
                    ("count", json!(count)),
                    ("limit", json!(limit)),
                ];
                Ok(with(Fields::new(), result))
            })
            .await?;
        Ok(with(answer, [("_cache", told)]))
    }

    async fn count(&self, rows: &mut RowConnection, scope: Scope<'_>, of: Selection) -> Result<Fields> {
        let scope = scope.with_deleted(of.include_deleted);
        let asked = format!("{:?}", (&of.conditions, of.include_deleted));
        let sql = statements::count(scope, of.conditions);
        let (answer, _) = self
            .cached(rows, scope, "count", (&asked, &of.cache), async |rows| {
                let count: i64 = sql.query().fetch_one(&mut **rows).await?.try_get(0)?;
                Ok(with(Fields::new(), [("count", json!(count))]))
            })
            .await?;
        Ok(answer)
    }

    /// An answer from the cache, or else from the database and then kept; and where it came from.
    async fn cached(
        &self,
        rows: &mut RowConnection,
        scope: Scope<'_>,
        operation: &'static str,
        (asked, wish): (&str, &CacheWish),
        ask: impl AsyncFnOnce(&mut RowConnection) -> Result<Fields>,
    ) -> Result<(Fields, Value)> {
        // A replica that does not know a new definition yet must not answer for those that do.
        let asked = format!("{asked} {:?}", scope.model.columns().collect::<Vec<_>>());
        let question = Question {
            tenant: scope.tenant(),
            model: &scope.model.name,
            operation,
            asked: &asked,
        };
        let mut kept = self.look_up(rows, question, wish).await?;
        let told = kept.told();
        if let Some(answer) = kept.answer.take() {
            return Ok((answer, told));
        }
        let answer = ask(rows).await?;
        self.keep_answer(&kept, &answer);
        Ok((answer, told))
    }

    /// The one way in which nodes change a row: the row as it is afterwards, and whether it is new; `None` where
    /// no row was meant.
    async fn write(
        &self,
        rows: &mut RowConnection,
        scope: Scope<'_>,
        write: Write,
    ) -> Result<Option<(Fields, bool)>> {
        let row = write.telling(scope).query().fetch_optional(&mut **rows).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        self.wake_relay();
        Ok(Some((fields_of(&row)?, row.try_get(1)?)))
    }
}

/// The index keeps more candidates where more are asked for, and goes on where a filter takes some away (pgvector,
/// "iterative index scans"); both hold for this transaction alone.
async fn nearest(rows: RowConnection, scope: Scope<'_>, search: Search) -> Result<Fields> {
    let (k, tells_distance) = (search.k, search.include_distance);
    let scope = scope.with_deleted(search.include_deleted);
    let candidates = k.clamp(CANDIDATES.0, CANDIDATES.1);
    let begin = format!(
        "BEGIN; SET LOCAL hnsw.ef_search = {candidates}; SET LOCAL hnsw.iterative_scan = 'strict_order'"
    );
    let sql: Sql = statements::search(scope, search);
    let mut transaction = rows.begin(AssertSqlSafe(begin)).await?;
    let found = sql.query().fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    let near = |row: &PgRow| {
        let (fields, distance): (_, f64) = (fields_of(row)?, row.try_get(1)?);
        Ok(if tells_distance {
            with(fields, [("_distance", json!(distance))])
        } else {
            fields
        })
    };
    let records = found.iter().map(near).collect::<Result<Vec<_>>>()?;
    let count = records.len();
    let result = [
        ("records", json!(records)),
        ("count", json!(count)),
        ("k", json!(k)),
    ];
    Ok(with(Fields::new(), result))
}

/// Whether the table makes the id of a row that is to be made.
fn draws_id(action: &Action, model: &Model) -> bool {
    let values = match action {
        Action::Create(values) => values,
        Action::Upsert(upsert) => &upsert.create,
        _ => return false,
    };
    model.id_kind() == Kind::Int && values.iter().all(|value| value.column != "id")
}

/// Whether a row has the id of the row that was to be made.
fn id_is_taken(error: &Error) -> bool {
    let Error::Database(error) = error else {
        return false;
    };
    fault_of(error).is_some_and(|fault| fault.code == ROW_EXISTS && fault.field.as_deref() == Some("id"))
}

/// The first column of an answer: a row as JSON.
fn fields_of(row: &PgRow) -> Result<Fields> {
    Ok(serde_json::from_str(row.try_get::<&str, _>(0)?)?)
}

fn upserted(row: Fields, is_new: bool) -> Fields {
    let action = if is_new { "created" } else { "updated" };
    let result = [
        ("created", json!(is_new)),
        ("record", json!(row)),
        ("action", json!(action)),
    ];
    with(Fields::new(), result)
}

fn with<const N: usize>(mut fields: Fields, more: [(&str, Value); N]) -> Fields {
    for (name, value) in more {
        fields.insert(name.to_owned(), value);
    }
    fields
}
