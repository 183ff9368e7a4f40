//! Statements: names are quoted, values are bound, nothing else of a caller's gets in.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

use crate::domain::field::Kind;
use crate::domain::filter::{Condition, Test};

/// A statement in the making.
#[derive(Debug, Default)]
pub(super) struct Sql {
    text: String,
    binds: Vec<Option<String>>,
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

    /// A column or constraint.
    pub(super) fn name(self, name: &str) -> Self {
        let quoted = quote(name);
        self.push(&quoted)
    }

    /// A model's table.
    pub(super) fn table(self, table: &str) -> Self {
        self.push("models.").name(table)
    }

    /// A bound value.
    pub(super) fn value(mut self, kind: Kind, value: Option<String>) -> Self {
        self.binds.push(value);
        let place = self.binds.len();
        let text = match kind {
            // Text without a zone is UTC, the session's zone; with one, it is converted and not cut off.
            Kind::Datetime => format!("(${place}::timestamptz AT TIME ZONE 'UTC')"),
            kind => format!("${place}::{}", column_type(kind)),
        };
        self.push(&text)
    }

    /// A bound number of rows.
    pub(super) fn count(mut self, count: i64) -> Self {
        self.binds.push(Some(count.to_string()));
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

    /// ` WHERE ...`, or nothing.
    pub(super) fn filter(self, conditions: Vec<Condition>) -> Self {
        if conditions.is_empty() {
            return self;
        }
        self.push(" WHERE ").joined(conditions, " AND ", Sql::condition)
    }

    fn condition(self, condition: Condition) -> Self {
        let Condition { column, kind, test } = condition;
        let list = |sql: Self, word, values: Vec<String>| {
            sql.name(&column)
                .push(word)
                .joined(values, ", ", |sql, value| sql.value(kind, Some(value)))
                .push(")")
        };
        match test {
            Test::Compare(operator, value) => self
                .name(&column)
                .push(&format!(" {operator} "))
                .value(kind, Some(value)),
            Test::OneOf(values) if values.is_empty() => self.push("FALSE"),
            Test::NoneOf(values) if values.is_empty() => self.push("TRUE"),
            Test::OneOf(values) => list(self, " IN (", values),
            Test::NoneOf(values) => list(self, " NOT IN (", values),
            Test::IsNull => self.name(&column).push(" IS NULL"),
            Test::IsNotNull => self.name(&column).push(" IS NOT NULL"),
        }
    }

    /// The text alone, for statements without values.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// To be run.
    pub(super) fn query(self) -> Query<'static, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text));
        self.binds.into_iter().fold(query, Query::bind)
    }
}

/// PostgreSQL's type for a field.
pub(super) fn column_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "integer",
        Kind::Str => "text",
        Kind::Float => "double precision",
        Kind::Bool => "boolean",
        Kind::Datetime => "timestamp",
        Kind::Dict | Kind::List => "jsonb",
    }
}

/// Names were checked against the model before; doubling quotes makes that no matter of life and death.
fn quote(name: &str) -> String {
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
        let sql = Sql::new("SELECT 1 FROM ").table("products").filter(conditions);
        assert_eq!(
            sql.text,
            "SELECT 1 FROM models.\"products\" WHERE \"a\"\"b\" = $1::text AND \"n\" IN ($2::integer, $3::integer)"
        );
        assert_eq!(sql.binds.len(), 3);
    }

    #[test]
    fn an_empty_list_matches_nothing() {
        let nothing = Condition {
            column: "n".to_owned(),
            kind: Kind::Int,
            test: Test::OneOf(vec![]),
        };
        assert_eq!(Sql::default().filter(vec![nothing]).text, " WHERE FALSE");
    }
}
