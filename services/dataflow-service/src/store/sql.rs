//! Statements: names are quoted, values are bound, nothing else of a caller's gets in.

use std::borrow::Cow;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

use crate::domain::field::Kind;
use crate::domain::filter::{Condition, Test};
use crate::domain::model::Model;

/// A statement in the making.
#[derive(Debug, Default, Clone)]
pub(super) struct Sql {
    text: String,
    binds: Vec<Bind>,
}

#[derive(Debug, Clone)]
enum Bind {
    One(Option<String>),
    Many(Vec<String>),
}

impl Sql {
    pub(super) fn new(text: &str) -> Self {
        Sql::default().push(text)
    }

    /// The service's own words.
    pub(super) fn push(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// The statement so far, with words around it.
    pub(super) fn within(mut self, before: &str, after: &str) -> Self {
        self.text.insert_str(0, before);
        self.push(after)
    }

    /// A column or constraint.
    pub(super) fn name(self, name: &str) -> Self {
        let quoted = quote(name);
        self.push(&quoted)
    }

    /// A column of the rows `t`.
    pub(super) fn column(self, name: &str) -> Self {
        self.push("t.").name(name)
    }

    /// A model's table.
    pub(super) fn table(self, table: &str) -> Self {
        self.push("models.").name(table)
    }

    /// A bound value.
    pub(super) fn value(mut self, kind: Kind, value: Option<String>) -> Self {
        self.binds.push(Bind::One(value));
        let place = format!("${}", self.binds.len());
        self.push(&cast(kind, &place))
    }

    /// A bound number of rows.
    pub(super) fn count(mut self, count: i64) -> Self {
        self.binds.push(Bind::One(Some(count.to_string())));
        let place = self.binds.len();
        self.push(&format!("${place}::bigint"))
    }

    /// `each`, with `between` in between.
    pub(super) fn joined<T>(
        mut self,
        items: impl IntoIterator<Item = T>,
        between: &str,
        each: impl Fn(Self, T) -> Self,
    ) -> Self {
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self = self.push(between);
            }
            self = each(self, item);
        }
        self
    }

    /// Bound values, as one array: their number is not limited by that of parameters.
    fn values(mut self, kind: Kind, values: Vec<String>) -> Self {
        self.binds.push(Bind::Many(values));
        let place = self.binds.len();
        self.push("(ARRAY(SELECT ")
            .push(&cast(kind, "v"))
            .push(&format!(" FROM unnest(${place}::text[]) AS v))"))
    }

    /// ` WHERE` the rows that the caller may mean: those of the tenant, and those that were not deleted.
    pub(super) fn scoped(self, model: &Model, tenant: Option<&str>, deleted_too: bool) -> Self {
        let sql = match tenant {
            Some(tenant) => self
                .push(" WHERE \"tenant_id\" = ")
                .value(Kind::Str, Some(tenant.to_owned())),
            None => self.push(" WHERE TRUE"),
        };
        if model.config.soft_delete && !deleted_too {
            return sql.push(" AND \"deleted_at\" IS NULL");
        }
        sql
    }

    /// ` AND ...` for each.
    pub(super) fn conditions(self, conditions: Vec<Condition>) -> Self {
        conditions
            .into_iter()
            .fold(self, |sql, condition| sql.push(" AND ").condition(condition))
    }

    /// A condition on the rows `t`.
    pub(super) fn condition(self, condition: Condition) -> Self {
        let Condition { column, kind, test } = condition;
        let sql = self.column(&column);
        match test {
            Test::Compare(operator, value) => sql.push(" ").push(operator).push(" ").value(kind, Some(value)),
            Test::OneOf(values) => sql.push(" = ANY ").values(kind, values),
            Test::NoneOf(values) => sql.push(" <> ALL ").values(kind, values),
            Test::IsNull => sql.push(" IS NULL"),
            Test::IsNotNull => sql.push(" IS NOT NULL"),
        }
    }

    /// The text alone, for statements without values.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Whether its places are those of its values: each once, and none more.
    #[cfg(any(fuzzing, test))]
    pub(super) fn is_bound(&self) -> bool {
        let place = |n: usize| format!("${n}:");
        self.text.matches('$').count() == self.binds.len()
            && (1..=self.binds.len())
                .all(|n| self.text.contains(&place(n)) || self.text.contains(&format!("${n},")))
    }

    /// To be run.
    pub(super) fn query(self) -> Query<'static, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text));
        self.binds.into_iter().fold(query, |query, bind| match bind {
            Bind::One(value) => query.bind(value),
            Bind::Many(values) => query.bind(values),
        })
    }
}

/// Text as a value of a field's type.
pub(super) fn cast(kind: Kind, text: &str) -> String {
    match kind {
        // Text without a zone is UTC, the session's zone; with one, it is converted and not cut off.
        Kind::Datetime => format!("({text}::timestamptz AT TIME ZONE 'UTC')"),
        Kind::Bytes => format!("decode({text}, 'base64')"),
        kind => format!("{text}::{}", column_type(kind)),
    }
}

/// PostgreSQL's type for a field.
pub(super) fn column_type(kind: Kind) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        Kind::Int => "integer",
        Kind::Str => "text",
        Kind::Float => "double precision",
        Kind::Bool => "boolean",
        Kind::Datetime => "timestamp",
        Kind::Timestamp => "timestamptz",
        Kind::Dict | Kind::Json | Kind::List => "jsonb",
        Kind::Bytes => "bytea",
        Kind::Uuid => "uuid",
        Kind::Decimal => "numeric",
        Kind::Vector(length) => return Cow::Owned(format!("vector({length})")),
    })
}

/// Names were checked against the model before; doubling quotes makes that no matter of life and death.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bound_and_names_quoted() {
        let conditions = vec![
            Condition {
                column: "a\"b".to_owned(),
                kind: Kind::Str,
                test: Test::Compare("=", "'; drop table x".to_owned()),
            },
            Condition {
                column: "n".to_owned(),
                kind: Kind::Int,
                test: Test::OneOf(vec!["1".to_owned(), "2".to_owned()]),
            },
        ];
        let sql = Sql::default().joined(conditions, " AND ", Sql::condition);
        assert_eq!(
            sql.text,
            "t.\"a\"\"b\" = $1::text AND t.\"n\" = ANY (ARRAY(SELECT v::integer FROM unnest($2::text[]) AS v))"
        );
        assert_eq!(sql.binds.len(), 2);
    }
}
