//! One error for the whole service, and its one response: public words out, details to the log.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use contract::workflow::Status;
use kit::Problem;

use crate::domain::suggest::did_you_mean;

/// A handler's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request cannot be served.
#[derive(Debug)]
pub(crate) enum Error {
    /// Public as it is.
    Problem(Box<Problem>),
    /// The database could not do it.
    Database(sqlx::Error),
    /// `DATABASE_URL` is absent.
    NoDatabase,
    /// What the service itself stored is not what it reads, or a task of its own broke.
    Broken(String),
}

impl Error {
    pub(crate) fn invalid(faults: Vec<String>) -> Self {
        let message = faults.first().cloned().unwrap_or_default();
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "WORKFLOW_INVALID", message)
            .field("faults", faults)
            .into()
    }

    pub(crate) fn workflow_unknown(name: &str, known: &[String]) -> Self {
        let meant = did_you_mean(name, known.iter().map(String::as_str));
        let message = format!("no workflow is named '{name}'{meant}");
        Problem::new(StatusCode::NOT_FOUND, "WORKFLOW_UNKNOWN", message).into()
    }

    pub(crate) fn workflow_exists(name: &str, version: &str) -> Self {
        let message = format!("version {version} of '{name}' has another definition; raise the version");
        Problem::new(StatusCode::CONFLICT, "WORKFLOW_EXISTS", message).into()
    }

    pub(crate) fn execution_unknown() -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "EXECUTION_UNKNOWN",
            "no execution has this id",
        )
        .into()
    }

    pub(crate) fn workflow_active(name: &str) -> Self {
        let message = format!("'{name}' is being run; wait for its runs or cancel them, then delete it");
        Problem::new(StatusCode::CONFLICT, "WORKFLOW_ACTIVE", message).into()
    }

    pub(crate) fn inputs_invalid(faults: Vec<String>) -> Self {
        let message = faults.first().cloned().unwrap_or_default();
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INPUTS_INVALID", message)
            .field("faults", faults)
            .into()
    }

    pub(crate) fn config_unsupported() -> Self {
        let message = "config: a run has no settings of its own; leave it out";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "CONFIG_UNSUPPORTED", message)
            .field("field", "config")
            .into()
    }

    pub(crate) fn query_invalid(why: String) -> Self {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "QUERY_INVALID", why).into()
    }

    pub(crate) fn execution_ended(status: Status) -> Self {
        let message = "the run has ended already";
        Problem::new(StatusCode::CONFLICT, "EXECUTION_ENDED", message)
            .field("status", serde_json::json!(status))
            .into()
    }

    pub(crate) fn too_many_signals() -> Self {
        let message = "the run has been sent too many signals";
        Problem::new(StatusCode::CONFLICT, "TOO_MANY_SIGNALS", message).into()
    }

    pub(crate) fn signal_unknown(name: &str, known: &[&str]) -> Self {
        let meant = did_you_mean(name, known.iter().copied());
        let message = format!("no step of this run's workflow waits for this signal{meant}");
        Problem::new(StatusCode::NOT_FOUND, "SIGNAL_UNKNOWN", message).into()
    }

    pub(crate) fn query_unknown(name: &str, known: &[&str]) -> Self {
        let meant = did_you_mean(name, known.iter().copied());
        let message = format!("no such query{meant}; queries are {}", known.join(", "));
        Problem::new(StatusCode::NOT_FOUND, "QUERY_UNKNOWN", message).into()
    }

    /// To who waits for a run that somebody cancelled.
    pub(crate) fn cancelled() -> Problem {
        Problem::new(StatusCode::CONFLICT, "RUN_CANCELLED", "the run was cancelled")
    }

    /// Of a run whose process ended, or was given up for dead.
    pub(crate) fn interrupted() -> Problem {
        let message = "the engine ended during the run";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "INTERRUPTED", message)
    }

    /// The problem that a caller sees.
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Error::Problem(problem) => *problem,
            Error::Database(error) => database(&error),
            Error::NoDatabase => database_unavailable("DATABASE_URL is not set"),
            Error::Broken(what) => Problem::internal(what),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Error::Problem(Box::new(problem))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(error)
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
            Error::Problem(problem) => problem.fmt(f),
            Error::Database(error) => error.fmt(f),
            Error::NoDatabase => f.write_str("DATABASE_URL is not set"),
            Error::Broken(what) => f.write_str(what),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.into_problem().into_response()
    }
}

/// By SQLSTATE (PostgreSQL documentation, appendix A).
fn database(error: &sqlx::Error) -> Problem {
    let state = error.as_database_error().and_then(|told| told.code());
    match (error, state.as_deref()) {
        // Lost connections, too few resources, an operator's shutdown, not prepared yet.
        (_, Some(state))
            if ["08", "53", "57", "3F000", "42P01"]
                .iter()
                .any(|class| state.starts_with(class)) =>
        {
            database_unavailable(error)
        }
        // Such as U+0000, which JSONB cannot hold.
        (_, Some(state)) if state.starts_with("22") => {
            let message = "the database does not accept a value";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "VALUE_REFUSED", message)
        }
        (_, Some(_)) | (sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }, None) => {
            Problem::internal(error)
        }
        (_, None) => database_unavailable(error),
    }
}

fn database_unavailable(detail: impl std::fmt::Display) -> Problem {
    Problem::unavailable("DATABASE_UNAVAILABLE", "the database cannot be reached", detail)
}
