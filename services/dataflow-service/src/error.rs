//! One error for the whole service, and its one response: public words out, details to the log. Values that a
//! driver's message may hold never go out.

mod database;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kit::Problem;
use serde_json::{Value, json};

use crate::domain::bulk::Refusal;
use crate::domain::fault::{
    Fault, JOB_STATE, JOB_UNKNOWN, MIGRATION_UNKNOWN, MODEL_EXISTS, MODEL_UNKNOWN, NO_DATABASE, NODE_UNKNOWN,
    PARAMETER, POOL_EXHAUSTED, REFERENCE, ROW_EXISTS, ROW_NOT_FOUND, TENANT_REQUIRED, UNGUARDED,
};
use crate::domain::items::ItemFault;

pub(crate) use database::fault_of;
use database::{Said, database};

/// Faults of items named in one answer.
const MOST_ITEM_FAULTS: usize = 100;

/// A handler's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request cannot be served.
#[derive(Debug)]
pub(crate) enum Error {
    /// It says something that the service does not accept.
    Refused(Vec<Fault>),
    /// What it names does not exist, or is taken.
    Named(StatusCode, Fault),
    /// Items of a bulk call cannot be written, and so nothing was.
    Items(Vec<ItemFault>),
    /// No connection was free for as long as a request may wait.
    PoolExhausted,
    /// As `Named` with 409, and what it is about: a migration's steps.
    Unmigrated(Fault, Value),
    /// The database could not do it.
    Database(sqlx::Error),
    /// `DATABASE_URL` is absent.
    NoDatabase,
    /// The database has not been prepared yet.
    NotPrepared,
    /// Nothing in the database would keep one tenant's rows from another.
    Unguarded,
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

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Error::Named(StatusCode::CONFLICT, Fault::new(code, message))
    }

    pub(crate) fn migration_unknown(version: i64) -> Self {
        let fault = Fault::new(
            MIGRATION_UNKNOWN,
            format!("no migration has the version {version}"),
        );
        Error::Named(StatusCode::NOT_FOUND, fault)
    }

    pub(crate) fn tenant_required(model: &str) -> Self {
        let message = format!("{model} belongs to tenants, and the request to none");
        Error::Named(StatusCode::FORBIDDEN, Fault::new(TENANT_REQUIRED, message))
    }

    /// An upsert's row exists, and is not what `where` says besides.
    pub(crate) fn row_taken(model: &str, field: &str) -> Self {
        let message =
            format!("{model} has a row with that {field}, and the rest of where does not hold of it");
        Error::Named(StatusCode::CONFLICT, Fault::about(ROW_EXISTS, field, message))
    }

    pub(crate) fn job_unknown() -> Self {
        Error::Named(
            StatusCode::NOT_FOUND,
            Fault::about(JOB_UNKNOWN, "id", "no job has that id"),
        )
    }

    pub(crate) fn job_state(message: impl Into<String>) -> Self {
        Error::Named(StatusCode::CONFLICT, Fault::new(JOB_STATE, message))
    }

    /// What it comes to, for metrics: one of a handful of words.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Error::Refused(_) | Error::Items(_) | Error::Named(..) | Error::Unmigrated(..) => "refused",
            Error::Database(error) if fault_of(error).is_some() => "refused",
            Error::Database(_) | Error::NoDatabase | Error::NotPrepared | Error::Unguarded => "unavailable",
            Error::PoolExhausted => "exhausted",
            Error::Broken(_) => "failed",
        }
    }

    /// The code for programs, where there is one.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Error::Refused(faults) => faults.first().map_or(PARAMETER, |fault| fault.code),
            Error::Items(faults) => faults.first().map_or(PARAMETER, |item| item.fault.code),
            Error::Named(_, fault) | Error::Unmigrated(fault, _) => fault.code,
            Error::Database(error) => fault_of(error).map_or(NO_DATABASE, |fault| fault.code),
            Error::PoolExhausted => POOL_EXHAUSTED,
            Error::NoDatabase | Error::NotPrepared => NO_DATABASE,
            Error::Unguarded => UNGUARDED,
            Error::Broken(_) => "INTERNAL_ERROR",
        }
    }

    pub(crate) fn row_not_found(model: &str) -> Self {
        let fault = Fault::about(ROW_NOT_FOUND, "id", format!("no row of {model} has that id"));
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

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Call(faults) => Error::Refused(faults),
            Refusal::Items(faults) => Error::Items(faults),
        }
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
            Error::Named(_, fault) | Error::Unmigrated(fault, _) => f.write_str(&fault.message),
            Error::Items(faults) => write!(f, "{} items were refused", faults.len()),
            Error::PoolExhausted => f.write_str("every connection is in use"),
            Error::Database(error) => Said(error).fmt(f),
            Error::NoDatabase => f.write_str("DATABASE_URL is not set"),
            Error::NotPrepared => f.write_str("the database is not prepared yet"),
            Error::Unguarded => f.write_str("the role dataflow_rows is missing"),
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
            Error::Items(faults) => items(&faults),
            Error::PoolExhausted => Problem::unavailable(
                POOL_EXHAUSTED,
                "every connection to the database is in use",
                "DB_ACQUIRE_TIMEOUT has passed; DB_POOL_SIZE is the limit",
            ),
            Error::Unmigrated(fault, steps) => {
                Problem::new(StatusCode::CONFLICT, fault.code, fault.message).field("steps", steps)
            }
            Error::Database(error) => database(&error),
            Error::NoDatabase => Problem::unavailable(
                NO_DATABASE,
                "the database cannot be reached",
                "DATABASE_URL is not set",
            ),
            Error::NotPrepared => {
                Problem::unavailable(NO_DATABASE, "the database is not prepared yet", "not prepared")
            }
            Error::Unguarded => Problem::unavailable(
                UNGUARDED,
                "multi-tenant models are not served: the database does not keep tenants apart",
                "the role dataflow_rows is missing",
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

/// 409 or 422 of the first item's fault, and all of them under `items`.
fn items(faults: &[ItemFault]) -> Problem {
    let Some(ItemFault { index, fault }) = faults.first() else {
        return Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            PARAMETER,
            "an item is not accepted",
        );
    };
    let message = format!("nothing was written: item {index}: {}", fault.message);
    let all: Vec<Value> = faults
        .iter()
        .take(MOST_ITEM_FAULTS)
        .map(ItemFault::to_json)
        .collect();
    with_field(
        Problem::new(status_of(fault), fault.code, message),
        fault.field.clone(),
    )
    .field("items", all)
    .field("failed", faults.len())
}

fn status_of(fault: &Fault) -> StatusCode {
    match fault.code {
        ROW_EXISTS | REFERENCE => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
