//! Workflows as every channel offers them: HTTP, WebSocket and the command line call these functions with a proven
//! caller, and so get the same answers. Nothing here knows a channel; the engine does the work.

mod engine;
mod workflows;

pub(crate) use workflows::{
    cancel, delete, endpoints, health, info, list, query, register, run, run_stream, signal, status,
};

pub(crate) use crate::domain::call::{Refused, envelope, read};

impl From<Refused> for kit::Problem {
    fn from(refused: Refused) -> Self {
        let status = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Self::new(status, refused.code, refused.message);
        match refused.field {
            Some(field) => problem.field("field", field),
            None => problem,
        }
    }
}
