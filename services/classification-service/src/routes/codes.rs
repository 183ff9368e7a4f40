//! `GET /codes/unspsc/{code}`: a code with its parents and children.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use kit::{Path, Problem, Result};
use serde_json::{Value, json};

use crate::{
    domain::{Code, CodeSet},
    state::App,
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/codes/unspsc/{code}", get(code))
}

async fn code(State(app): State<App>, Path(text): Path<String>) -> Result<Json<Value>> {
    let Some(classifier) = app.classifier() else {
        return Err(Problem::internal("no code set"));
    };
    let set = classifier.set();
    let Some(code) = Code::parse(&text) else {
        let message = "expected eight digits, the first two not 00";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "INVALID_CODE",
            message,
        ));
    };
    let Some(entry) = set.get(code) else {
        let message = format!("code {code} is not in the set {}", set.name());
        return Err(Problem::new(StatusCode::NOT_FOUND, "UNKNOWN_CODE", message));
    };
    let parents = code.lineage().into_iter().filter(|one| *one != code);
    Ok(Json(json!({
        "code": code.to_string(),
        "title": entry.title,
        "level": code.level().as_str(),
        "parents": parents.map(|one| titled(set, one)).collect::<Vec<_>>(),
        "children": set.children(code).map(|one| titled(set, one)).collect::<Vec<_>>(),
        "code_set": set.name(),
    })))
}

fn titled(set: &CodeSet, code: Code) -> Value {
    json!({ "code": code.to_string(), "title": set.title(code) })
}
