//! What PostgreSQL refuses, in public words: the field and the code, never a value.

use axum::http::StatusCode;
use kit::Problem;
use sqlx::postgres::PgDatabaseError;

use super::{status_of, with_field};
use crate::domain::fault::{
    CONTENDED, FILTER, Fault, MIGRATION_LOCKED, MODEL_CHANGED, MODEL_EXISTS, NO_DATABASE, REFERENCE,
    ROW_EXISTS, TOO_SLOW, VALUE,
};

/// By SQLSTATE (PostgreSQL documentation, appendix A).
pub(super) fn database(error: &sqlx::Error) -> Problem {
    if let Some(fault) = fault_of(error) {
        let status = status_of(&fault);
        return with_field(Problem::new(status, fault.code, fault.message), fault.field);
    }
    let said = Said(error);
    let Some(told) = error.as_database_error() else {
        return match error {
            sqlx::Error::RowNotFound | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                Problem::internal(said)
            }
            _ => Problem::unavailable(NO_DATABASE, "the database cannot be reached", said),
        };
    };
    let state = told.code().unwrap_or_default();
    match &*state {
        "42P07" => Problem::new(StatusCode::CONFLICT, MODEL_EXISTS, "its table is taken"),
        // No schema or no table yet: the database has come, but is not prepared.
        "3F000" | "42P01" => Problem::unavailable(NO_DATABASE, "the database is not prepared yet", said),
        // A replica that has not read the new definition yet; it does so within two seconds. A column that is gone, or
        // of another type (no such operator, another type assigned), or rights that are gone.
        "42703" | "42883" | "42804" | "42501" => {
            tracing::info!(%said, "a statement for a former definition");
            Problem::new(
                StatusCode::CONFLICT,
                MODEL_CHANGED,
                "the model has just changed: try again",
            )
        }
        "55P03" => Problem::unavailable(MIGRATION_LOCKED, "another change of tables is under way", said),
        "57014" => Problem::unavailable(TOO_SLOW, "the database took too long", said),
        "40001" | "40P01" => {
            let message = "others change the same rows at the same time; try again";
            Problem::unavailable(CONTENDED, message, said)
        }
        _ if ["08", "53", "57"].iter().any(|class| state.starts_with(class)) => {
            Problem::unavailable(NO_DATABASE, "the database cannot be reached", said)
        }
        _ => Problem::internal(said),
    }
}

/// What is wrong with the row that was to be written; `None` where the error is about something else. The
/// database's own words may repeat a value, and are not used.
pub(crate) fn fault_of(error: &sqlx::Error) -> Option<Fault> {
    let told = error.as_database_error()?;
    let state = told.code()?;
    let column = || {
        let told = told.try_downcast_ref::<PgDatabaseError>()?;
        told.column().map(str::to_owned)
    };
    let constrained = || told.constraint().and_then(constrained_field);
    let (code, message, field) = match &*state {
        "23505" => (
            ROW_EXISTS,
            "another row has the same value in a unique field",
            constrained(),
        ),
        "23503" if told.message().starts_with("update or delete") => {
            (REFERENCE, "other rows refer to the row", constrained())
        }
        "23503" => (
            REFERENCE,
            "the row that the field refers to does not exist",
            constrained(),
        ),
        "23502" => (VALUE, "the field may not be null", column()),
        "23514" => (VALUE, "a value is against a rule of its field", constrained()),
        "2201B" => (FILTER, "the pattern of $regex is no regular expression", None),
        // Said of a value that an index would have to hold, too.
        "54000" => (VALUE, "a value is too long for the index of its field", None),
        "22003" => (VALUE, "a number is out of its field's range", column()),
        _ if state.starts_with("22") => (VALUE, "the database does not accept a value", column()),
        _ => return None,
    };
    Some(Fault {
        code,
        message: message.to_owned(),
        field,
    })
}

/// A database's error as the log may have it: the server's own words may repeat values.
pub(super) struct Said<'a>(pub(super) &'a sqlx::Error);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(told) = self.0.as_database_error() else {
            return match self.0 {
                sqlx::Error::Decode(_) => f.write_str("a value could not be decoded"),
                sqlx::Error::ColumnDecode { index, .. } => write!(f, "column {index} could not be decoded"),
                other => other.fmt(f),
            };
        };
        write!(f, "SQLSTATE {}", told.code().unwrap_or_default())?;
        let names = [("table", told.table()), ("constraint", told.constraint())];
        for (what, name) in names {
            if let Some(name) = name {
                write!(f, ", {what} {name}")?;
            }
        }
        Ok(())
    }
}

/// Constraints are named `<field>__<what>__<table>`, primary keys by PostgreSQL.
fn constrained_field(constraint: &str) -> Option<String> {
    if constraint.ends_with("_pkey") {
        return Some("id".to_owned());
    }
    let apart = constraint
        .split_once("__of__")
        .or_else(|| constraint.split_once("__"));
    apart.map(|(field, _)| field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_names_its_field() {
        assert_eq!(constrained_field("sku__of__products").as_deref(), Some("sku"));
        assert_eq!(constrained_field("products_pkey").as_deref(), Some("id"));
        assert_eq!(constrained_field("other"), None);
    }

    #[test]
    fn a_lost_database_is_503_and_tells_nothing() {
        let problem = database(&sqlx::Error::PoolTimedOut);
        assert_eq!((problem.status().as_u16(), problem.code()), (503, "DF-201"));
    }
}
