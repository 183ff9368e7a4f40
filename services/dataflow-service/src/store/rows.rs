//! A model's rows. Rows leave PostgreSQL as JSON, so that no type is translated twice.

use serde_json::{Map, Value, json};
use sqlx::Row;

use super::Store;
use super::sql::Sql;
use crate::domain::field::Kind;
use crate::domain::filter::Condition;
use crate::domain::model::Model;
use crate::domain::node::{Action, Page};
use crate::domain::row::Assignment;
use crate::error::{Error, Result};

/// A row, or a node's result.
pub(crate) type Fields = Map<String, Value>;

impl Store {
    /// Does what a node was called for. The result has the shape of DataFlow's node of that name.
    pub(crate) async fn run(&self, model: &Model, action: Action) -> Result<Fields> {
        match action {
            Action::Create(values) => self.insert(model, values).await,
            Action::Read { id, raise } => match self.one(read(model, &id)).await? {
                Some(row) => Ok(with(row, [("found", json!(true))])),
                None if raise => Err(Error::row_not_found(&model.name, &id)),
                None => Ok(with(
                    Fields::new(),
                    [("id", id_value(model, &id)), ("found", json!(false))],
                )),
            },
            Action::Update { id, values } => {
                let updated = self.one(update(model, &id, values)).await?;
                let done = updated.is_some();
                let row = updated.unwrap_or_default();
                Ok(with(
                    row,
                    [("id", id_value(model, &id)), ("updated", json!(done))],
                ))
            }
            Action::Delete { id } => {
                let deleted = self.one(delete(model, &id)).await?.is_some();
                let result = [("id", id_value(model, &id)), ("deleted", json!(deleted))];
                Ok(with(Fields::new(), result))
            }
            Action::List(page) => {
                let limit = page.limit;
                let records = self.many(list(model, page)).await?;
                let result = [("count", json!(records.len())), ("limit", json!(limit))];
                Ok(with(with(Fields::new(), [("records", json!(records))]), result))
            }
            Action::Count(conditions) => {
                let row = count(model, conditions).query().fetch_one(self.pool()?).await?;
                let count: i64 = row.try_get(0)?;
                Ok(with(Fields::new(), [("count", json!(count))]))
            }
        }
    }

    async fn insert(&self, model: &Model, values: Vec<Assignment>) -> Result<Fields> {
        let row = self.one(insert(model, values)).await?;
        row.ok_or_else(|| Error::Broken("a row was inserted and not returned".to_owned()))
    }

    async fn one(&self, sql: Sql) -> Result<Option<Fields>> {
        let row = sql.query().fetch_optional(self.pool()?).await?;
        row.map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?))
            .transpose()
    }

    async fn many(&self, sql: Sql) -> Result<Vec<Fields>> {
        let rows = sql.query().fetch_all(self.pool()?).await?;
        rows.iter()
            .map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?))
            .collect()
    }
}

const AS_JSON: &str = "row_to_json(t)::text";

fn insert(model: &Model, values: Vec<Assignment>) -> Sql {
    let sql = Sql::new("INSERT INTO ").table(&model.table()).push(" AS t ");
    let sql = if values.is_empty() {
        sql.push("DEFAULT VALUES")
    } else {
        sql.push("(")
            .joined(&values, ", ", |sql, value| sql.name(&value.column))
            .push(") VALUES (")
            .joined(values, ", ", |sql, value| sql.value(value.kind, value.value))
            .push(")")
    };
    sql.push(" RETURNING ").push(AS_JSON)
}

fn read(model: &Model, id: &str) -> Sql {
    let sql = Sql::new("SELECT ").push(AS_JSON).push(" FROM ");
    by_id(sql.table(&model.table()).push(" AS t"), model, id)
}

fn update(model: &Model, id: &str, values: Vec<Assignment>) -> Sql {
    let sql = Sql::new("UPDATE ")
        .table(&model.table())
        .push(" AS t SET \"updated_at\" = (now() AT TIME ZONE 'UTC'), ")
        .joined(values, ", ", |sql, value| {
            sql.name(&value.column).push(" = ").value(value.kind, value.value)
        });
    by_id(sql, model, id).push(" RETURNING ").push(AS_JSON)
}

fn delete(model: &Model, id: &str) -> Sql {
    let sql = Sql::new("DELETE FROM ").table(&model.table()).push(" AS t");
    by_id(sql, model, id).push(" RETURNING ").push(AS_JSON)
}

fn list(model: &Model, page: Page) -> Sql {
    Sql::new("SELECT ")
        .push(AS_JSON)
        .push(" FROM ")
        .table(&model.table())
        .push(" AS t")
        .filter(page.conditions)
        .push(" ORDER BY ")
        .joined(&page.order, ", ", |sql, (column, descends)| {
            sql.name(column).push(if *descends { " DESC" } else { " ASC" })
        })
        .push(" LIMIT ")
        .count(page.limit)
        .push(" OFFSET ")
        .count(page.offset)
}

fn count(model: &Model, conditions: Vec<Condition>) -> Sql {
    Sql::new("SELECT count(*) FROM ")
        .table(&model.table())
        .filter(conditions)
}

fn by_id(sql: Sql, model: &Model, id: &str) -> Sql {
    sql.push(" WHERE \"id\" = ")
        .value(model.id_kind(), Some(id.to_owned()))
}

fn id_value(model: &Model, id: &str) -> Value {
    match model.id_kind() {
        Kind::Int => model.id_from_path(id),
        _ => Value::from(id),
    }
}

fn with<const N: usize>(mut fields: Fields, more: [(&str, Value); N]) -> Fields {
    for (name, value) in more {
        fields.insert(name.to_owned(), value);
    }
    fields
}
