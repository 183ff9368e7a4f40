//! The statements on a model's rows. Each is held to its tenant, and to rows that are not deleted, by its scope.

use super::scope::Scope;
use super::sql::Sql;
use crate::domain::call::{Key, Page};
use crate::domain::field::{Kind, Metric};
use crate::domain::filter::{Condition, Test};
use crate::domain::model::{DELETED, Model, TENANT};
use crate::domain::row::Assignment;
use crate::domain::search::Search;
use crate::domain::upsert::Upsert;

/// PostgreSQL's own moment, as the stamps are stored.
const NOW: &str = "(now() AT TIME ZONE 'UTC')";

/// A statement that changes rows, without its `RETURNING`: the rows are `t`.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) dml: Sql,
    /// As the event of it is named: `dataflow.{Model}.{action}`.
    pub(super) action: &'static str,
    /// Whether rows leave the table, and rows of other models may follow.
    pub(super) removes: bool,
}

impl Write {
    /// The whole statement: the change, its event and the model's new version, then the row as it is afterwards and
    /// whether it is new. One round trip, and all of it or nothing.
    pub(super) fn telling(self, scope: Scope<'_>) -> Sql {
        let text = |text: &str| Some(text.to_owned());
        let tenant = || scope.tenant().and_then(text);
        let told = self
            .dml
            .within("WITH t AS (", " RETURNING t.*, (t.xmax = 0) AS \"_new\")")
            .push(", told AS (SELECT dataflow.tell(")
            .value(Kind::Str, text(&scope.model.name))
            .push(", ")
            .value(Kind::Str, text(self.action))
            .push(", jsonb_build_object('ids', jsonb_agg(t.\"id\")), ")
            .value(Kind::Str, tenant())
            .push(")");
        let told = if self.removes {
            told.push(" AND dataflow.tell_cascades(")
                .value(Kind::Str, text(&scope.model.name))
                .push(", ")
                .value(Kind::Str, tenant())
                .push(")")
        } else {
            told
        };
        let told = told.push(" FROM t HAVING count(*) > 0) SELECT ");
        row_as_json(told, scope.model).push(", t.\"_new\" FROM t, told")
    }
}

/// A row `t` as JSON: its fields and the service's stamps, in the form in which they are sent.
pub(super) fn row_as_json(sql: Sql, model: &Model) -> Sql {
    sql.push("(SELECT row_to_json(r)::text FROM (SELECT ")
        .joined(model.columns(), ", ", |sql, (name, kind)| {
            match kind {
                // Base64 of PostgreSQL has line ends.
                Kind::Bytes => sql
                    .push("translate(encode(")
                    .column(name)
                    .push(", 'base64'), chr(10), '')"),
                // As a number it would be rounded by whoever reads it.
                Kind::Decimal => sql.column(name).push("::text"),
                Kind::Vector(_) => sql.column(name).push("::text::json"),
                _ => return sql.column(name),
            }
            .push(" AS ")
            .name(name)
        })
        .push(") AS r)")
}

pub(super) fn create(scope: Scope<'_>, values: Vec<Assignment>) -> Write {
    Write {
        dml: insert(scope, values),
        action: "create",
        removes: false,
    }
}

fn insert(scope: Scope<'_>, values: Vec<Assignment>) -> Sql {
    let tenant = scope.tenant().map(|tenant| Assignment {
        column: TENANT.to_owned(),
        kind: Kind::Str,
        value: Some(tenant.to_owned()),
    });
    let values: Vec<_> = values.into_iter().chain(tenant).collect();
    let sql = scope.table(Sql::new("INSERT INTO "));
    if values.is_empty() {
        return sql.push(" DEFAULT VALUES");
    }
    sql.push(" (")
        .joined(&values, ", ", |sql, value| sql.name(&value.column))
        .push(") VALUES (")
        .joined(values, ", ", |sql, value| sql.value(value.kind, value.value))
        .push(")")
}

/// A deleted row that has the key comes back by it.
pub(super) fn upsert(scope: Scope<'_>, upsert: Upsert) -> Write {
    let sql = insert(scope, upsert.create).push(" ON CONFLICT (");
    let sql = match scope.tenant() {
        Some(_) => sql.name(TENANT).push(", "),
        None => sql,
    };
    let sql = sql.name(&upsert.on).push(") DO UPDATE SET ");
    let sql = if upsert.update.is_empty() {
        // Nothing changes; but only so is the row returned.
        sql.name("id").push(" = ").column("id")
    } else {
        set(sql, upsert.update)
    };
    let sql = if scope.model.config.soft_delete {
        sql.push(", ").name(DELETED).push(" = NULL")
    } else {
        sql
    };
    let sql = if upsert.also.is_empty() {
        sql
    } else {
        sql.push(" WHERE ").joined(upsert.also, " AND ", |sql, value| {
            sql.column(&value.column)
                .push(" = ")
                .value(value.kind, value.value)
        })
    };
    Write {
        dml: sql,
        action: "upsert",
        removes: false,
    }
}

pub(super) fn update(scope: Scope<'_>, key: Key, values: Vec<Assignment>) -> Write {
    let sql = scope.table(Sql::new("UPDATE ")).push(" SET ");
    Write {
        dml: scope.one(set(sql, values), key),
        action: "update",
        removes: false,
    }
}

fn set(sql: Sql, values: Vec<Assignment>) -> Sql {
    sql.name("updated_at")
        .push(" = ")
        .push(NOW)
        .push(", ")
        .joined(values, ", ", |sql, value| {
            sql.name(&value.column).push(" = ").value(value.kind, value.value)
        })
}

pub(super) fn delete(scope: Scope<'_>, key: Key) -> Write {
    let sql = if scope.model.config.soft_delete {
        scope
            .table(Sql::new("UPDATE "))
            .push(" SET ")
            .name(DELETED)
            .push(" = ")
            .push(NOW)
    } else {
        scope.table(Sql::new("DELETE FROM "))
    };
    Write {
        dml: scope.one(sql, key),
        action: "delete",
        removes: !scope.model.config.soft_delete,
    }
}

pub(super) fn read(scope: Scope<'_>, key: Key) -> Sql {
    scope.one(rows_as_json(scope), key)
}

pub(super) fn list(scope: Scope<'_>, page: Page) -> Sql {
    let Page {
        of,
        order,
        limit,
        offset,
    } = page;
    scope
        .rows(rows_as_json(scope), of.conditions)
        .push(" ORDER BY ")
        .joined(&order, ", ", |sql, (column, descends)| {
            sql.column(column).push(if *descends { " DESC" } else { " ASC" })
        })
        .push(" LIMIT ")
        .count(limit)
        .push(" OFFSET ")
        .count(offset)
}

pub(super) fn count(scope: Scope<'_>, conditions: Vec<Condition>) -> Sql {
    scope.rows(scope.table(Sql::new("SELECT count(*) FROM ")), conditions)
}

/// Rows and distances, the nearest first. The order is written as pgvector's index answers it.
pub(super) fn search(scope: Scope<'_>, search: Search) -> Sql {
    let operator = match search.metric {
        Metric::Cosine => " <=> ",
        Metric::L2 => " <-> ",
        Metric::Ip => " <#> ",
    };
    let distance = |sql: Sql| {
        sql.column(&search.column)
            .push(operator)
            .value(search.kind, Some(search.vector.clone()))
    };
    let sql = distance(row_as_json(Sql::new("SELECT "), scope.model).push(", (")).push(")::float8 FROM ");
    let given = Condition {
        column: search.column.clone(),
        kind: search.kind,
        test: Test::IsNotNull,
    };
    let conditions = std::iter::once(given).chain(search.conditions.clone()).collect();
    let sql = scope.rows(scope.table(sql), conditions).push(" ORDER BY ");
    distance(sql).push(" LIMIT ").count(search.k)
}

/// Whether a statement with these conditions holds as many places as values, and nothing that a caller sent.
#[cfg(any(fuzzing, test))]
pub(crate) fn all_bound(identity: &kit::Identity, model: &Model, conditions: Vec<Condition>) -> bool {
    Scope::of(identity, model).is_ok_and(|scope| count(scope, conditions).is_bound())
}

fn rows_as_json(scope: Scope<'_>) -> Sql {
    scope.table(row_as_json(Sql::new("SELECT "), scope.model).push(" FROM "))
}

#[cfg(test)]
mod tests {
    use kit::Identity;
    use serde_json::json;

    use super::*;
    use crate::error::Error;

    fn model(config: serde_json::Value) -> Model {
        let definition = json!({ "name": "Note", "fields": { "text": "str" }, "config": config });
        Model::from_definition(&serde_json::from_value(definition).unwrap()).unwrap()
    }

    fn key() -> Key {
        Key {
            id: "1".to_owned(),
            also: Vec::new(),
        }
    }

    #[test]
    fn every_statement_is_held_to_its_tenant() {
        let model = model(json!({ "multi_tenant": true, "soft_delete": true }));
        let identity = Identity {
            tenant: Some("acme".to_owned()),
            ..Identity::default()
        };
        let scope = Scope::of(&identity, &model).unwrap();
        let held = "WHERE t.\"tenant_id\" = $1::text AND t.\"deleted_at\" IS NULL AND t.\"id\" = $2::integer";
        for sql in [read(scope, key()), delete(scope, key()).dml] {
            assert!(sql.into_text().ends_with(held));
        }
        assert!(
            create(scope, vec![])
                .dml
                .into_text()
                .contains("(\"tenant_id\") VALUES ($1::text)")
        );
        let all = count(scope.with_deleted(true), vec![]).into_text();
        assert_eq!(
            all,
            "SELECT count(*) FROM models.\"notes\" AS t WHERE t.\"tenant_id\" = $1::text"
        );
        assert!(matches!(
            Scope::of(&Identity::default(), &model),
            Err(Error::Named(axum::http::StatusCode::FORBIDDEN, _))
        ));
    }

    #[test]
    fn a_model_of_nobody_has_no_predicate() {
        let model = model(json!({}));
        let identity = Identity::default();
        let scope = Scope::of(&identity, &model).unwrap();
        assert!(
            read(scope, key())
                .into_text()
                .ends_with("AS t WHERE t.\"id\" = $1::integer")
        );
        assert_eq!(
            count(scope, vec![]).into_text(),
            "SELECT count(*) FROM models.\"notes\" AS t"
        );
    }
}
