//! One error for the whole service, and its one response: public words out, details to the log.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
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

    pub(crate) fn mode_unsupported(mode: &str) -> Self {
        let message = format!("mode '{mode}' does not exist in this version; leave it out, or send 'sync'");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "MODE_UNSUPPORTED", message).into()
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
