//! One error for the whole service, and its one response: public words out, details to the log. Values that a
//! driver's message may hold never go out.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kit::Problem;
use serde_json::{Value, json};

use crate::domain::fault::{
    Fault, MIGRATION_LOCKED, MODEL_EXISTS, MODEL_UNKNOWN, NO_DATABASE, NODE_UNKNOWN, NOT_IMPLEMENTED,
    PARAMETER, ROW_EXISTS, ROW_NOT_FOUND, TOO_SLOW,
};

/// A handler's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request cannot be served.
#[derive(Debug)]
pub(crate) enum Error {
    /// It says something that the service does not accept.
    Refused(Vec<Fault>),
    /// What it names does not exist, or is taken.
    Named(StatusCode, Fault),
    /// The database could not do it.
    Database(sqlx::Error),
    /// `DATABASE_URL` is absent.
    NoDatabase,
    /// What the service itself stored is not what it reads.
    Broken(String),
}

impl Error {
    pub(crate) fn model_unknown(name: &str) -> Self {
        let fault = Fault::new(MODEL_UNKNOWN, format!("no model is named {name}"));
        Error::Named(StatusCode::NOT_FOUND, fault)
    }

    pub(crate) fn model_exists(message: String) -> Self {
        Error::Named(StatusCode::CONFLICT, Fault::new(MODEL_EXISTS, message))
    }

    pub(crate) fn node_unknown(name: &str) -> Self {
        let fault = Fault::new(NODE_UNKNOWN, format!("no node is named {name}"));
        Error::Named(StatusCode::NOT_FOUND, fault)
    }

    pub(crate) fn not_implemented(name: &str) -> Self {
        let fault = Fault::new(NOT_IMPLEMENTED, format!("{name} does not exist in this version"));
        Error::Named(StatusCode::NOT_IMPLEMENTED, fault)
    }

    pub(crate) fn row_not_found(model: &str, id: &str) -> Self {
        let fault = Fault::about(ROW_NOT_FOUND, "id", format!("{model} has no row with id {id}"));
        Error::Named(StatusCode::NOT_FOUND, fault)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(error)
    }
}

impl From<Vec<Fault>> for Error {
    fn from(faults: Vec<Fault>) -> Self {
        Error::Refused(faults)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::Broken(error.to_string())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Refused(faults) => write!(f, "{} faults", faults.len()),
            Error::Named(_, fault) => f.write_str(&fault.message),
            Error::Database(error) => error.fmt(f),
            Error::NoDatabase => f.write_str("DATABASE_URL is not set"),
            Error::Broken(what) => f.write_str(what),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Error::Refused(faults) => refused(&faults),
            Error::Named(status, fault) => {
                with_field(Problem::new(status, fault.code, fault.message), fault.field)
            }
            Error::Database(error) => database(&error),
            Error::NoDatabase => Problem::unavailable(
                NO_DATABASE,
                "the database cannot be reached",
                "DATABASE_URL is not set",
            ),
            Error::Broken(what) => Problem::internal(what),
        }
        .into_response()
    }
}

fn with_field(problem: Problem, field: Option<String>) -> Problem {
    match field {
        Some(field) => problem.field("field", field),
        None => problem,
    }
}

/// 422 with the first fault's words, and all of them under `faults`.
fn refused(faults: &[Fault]) -> Problem {
    let (code, message, field) = match faults.first() {
        Some(first) => (first.code, first.message.clone(), first.field.clone()),
        None => (PARAMETER, "the request is not accepted".to_owned(), None),
    };
    let all: Vec<Value> = faults
        .iter()
        .map(|fault| json!({ "code": fault.code, "field": fault.field, "message": fault.message }))
        .collect();
    with_field(
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message),
        field,
    )
    .field("faults", all)
}

/// By SQLSTATE (PostgreSQL documentation, appendix A).
fn database(error: &sqlx::Error) -> Problem {
    let Some(told) = error.as_database_error() else {
        return match error {
            sqlx::Error::RowNotFound | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                Problem::internal(error)
            }
            _ => Problem::unavailable(NO_DATABASE, "the database cannot be reached", error),
        };
    };
    let state = told.code().unwrap_or_default();
    match &*state {
        "23505" => {
            let message = "another row has the same value in a unique field";
            let field = told.constraint().and_then(unique_field);
            with_field(Problem::new(StatusCode::CONFLICT, ROW_EXISTS, message), field)
        }
        "42P07" => Problem::new(StatusCode::CONFLICT, MODEL_EXISTS, "its table is taken"),
        // No schema or no table yet: the database has come, but is not prepared.
        "3F000" | "42P01" => Problem::unavailable(NO_DATABASE, "the database is not prepared yet", error),
        "55P03" => Problem::unavailable(MIGRATION_LOCKED, "another change of tables is under way", error),
        "57014" => Problem::unavailable(TOO_SLOW, "the database took too long", error),
        "23502" | "23514" => unacceptable(error),
        _ if state.starts_with("22") => unacceptable(error),
        _ if ["08", "53", "57"].iter().any(|class| state.starts_with(class)) => {
            Problem::unavailable(NO_DATABASE, "the database cannot be reached", error)
        }
        _ => Problem::internal(error),
    }
}

fn unacceptable(error: &sqlx::Error) -> Problem {
    tracing::debug!(%error, "refused by the database");
    let message = "the database does not accept a value";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, PARAMETER, message)
}

/// Unique constraints are named `<field>__of__<table>`, primary keys by PostgreSQL.
fn unique_field(constraint: &str) -> Option<String> {
    if constraint.ends_with("_pkey") {
        return Some("id".to_owned());
    }
    constraint.split_once("__of__").map(|(field, _)| field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_names_its_field() {
        assert_eq!(unique_field("sku__of__products").as_deref(), Some("sku"));
        assert_eq!(unique_field("products_pkey").as_deref(), Some("id"));
        assert_eq!(unique_field("other"), None);
    }

    #[test]
    fn a_lost_database_is_503_and_tells_nothing() {
        let problem = database(&sqlx::Error::PoolTimedOut);
        assert_eq!((problem.status().as_u16(), problem.code()), (503, "DF-201"));
    }
}
