//! `/jobs`: work that outlasts a request.

use axum::body::Body as Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use kit::{Body, Identity, Path};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::query::Query;
use crate::domain::fault::{Fault, PARAMETER};
use crate::domain::job::{Cutter, JobKind, JobRequest};
use crate::error::{Error, Result};
use crate::store::{NewJob, Store};

/// NDJSON of one import at most.
const MOST_BYTES: usize = 256 * 1024 * 1024;
const STATES: [&str; 5] = ["queued", "running", "done", "dead", "cancelled"];

/// `?status=&limit=`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    status: Option<String>,
    limit: Option<i64>,
}

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/jobs", post(create).get(list))
        .route("/jobs/{id}", get(show).delete(cancel))
        .route("/jobs/{id}/requeue", post(requeue))
}

/// JSON `{kind, model, ...}`; or, for an import, `?kind=import&model=...` and a body of NDJSON, which is stored as
/// it comes: memory does not grow with it.
async fn create(
    State(store): State<Store>,
    identity: Identity,
    request: Request,
) -> Result<(StatusCode, Json<Value>), axum::response::Response> {
    use axum::response::IntoResponse;
    let (asked, lines) = read(request).await.map_err(IntoResponse::into_response)?;
    let id = begin(&store, &identity, asked, lines)
        .await
        .map_err(IntoResponse::into_response)?;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({ "id": id, "status": "queued" })),
    ))
}

async fn read(request: Request) -> kit::Result<(JobRequest, Option<Bytes>)> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/x-ndjson")) {
        let Body(asked) = Body::<JobRequest>::from_request(request, &()).await?;
        return Ok((asked, None));
    }
    let Query(asked) = Query::<JobRequest>::from_uri(request.uri())?;
    Ok((asked, Some(request.into_body())))
}

async fn begin(
    store: &Store,
    identity: &Identity,
    asked: JobRequest,
    lines: Option<Bytes>,
) -> Result<String> {
    let model = store.model(&asked.model).await?;
    if model.config.multi_tenant && identity.tenant.is_none() {
        return Err(Error::tenant_required(&model.name));
    }
    let options = asked.check(&model)?;
    if asked.kind != JobKind::Import && lines.is_some() {
        return Err(refused("NDJSON is for imports only"));
    }
    let _turn = match &lines {
        Some(_) => Some(store.upload_turn().await?),
        None => None,
    };
    let mut job = store
        .begin_job(identity, asked.kind, &model.name, options)
        .await?;
    match (lines, asked.data) {
        (Some(lines), _) => stream(&mut job, lines).await?,
        (None, Some(rows)) => {
            let mut cutter = Cutter::default();
            for row in rows {
                let line = format!("{row}\n");
                add(&mut job, cutter.take(line.as_bytes())).await?;
            }
            add(&mut job, cutter.end().map(Vec::from_iter)).await?;
        }
        (None, None) if asked.kind == JobKind::Import => return Err(refused("data is required")),
        (None, None) => {}
    }
    store.queue_job(job).await
}

async fn stream(job: &mut NewJob, lines: Bytes) -> Result<()> {
    let (mut cutter, mut taken) = (Cutter::default(), 0);
    let mut lines = lines.into_data_stream();
    while let Some(bytes) = lines.next().await {
        let bytes = bytes.map_err(|_| refused("the body ended early: nothing was taken"))?;
        taken += bytes.len();
        if taken > MOST_BYTES {
            return Err(refused(format!(
                "an import takes {MOST_BYTES} bytes at most: send several"
            )));
        }
        add(job, cutter.take(&bytes)).await?;
    }
    add(job, cutter.end().map(Vec::from_iter)).await
}

async fn add(job: &mut NewJob, chunks: Result<Vec<(String, usize)>, Fault>) -> Result<()> {
    for chunk in chunks.map_err(|fault| vec![fault])? {
        job.add(chunk).await?;
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> Error {
    Error::Refused(vec![Fault::about(PARAMETER, "data", message)])
}

async fn list(
    State(store): State<Store>,
    identity: Identity,
    Query(window): Query<Window>,
) -> Result<Json<Value>> {
    if window
        .status
        .as_deref()
        .is_some_and(|status| !STATES.contains(&status))
    {
        let message = format!("status must be one of {}", STATES.join(", "));
        return Err(Error::Refused(vec![Fault::about(PARAMETER, "status", message)]));
    }
    let jobs = store
        .jobs(&identity, window.status.as_deref(), window.limit.unwrap_or(50))
        .await?;
    Ok(Json(json!({ "jobs": jobs })))
}

async fn show(State(store): State<Store>, identity: Identity, Path(id): Path<String>) -> Result<Json<Value>> {
    store.job(&identity, &job_id(&id)?).await.map(Json)
}

async fn cancel(
    State(store): State<Store>,
    identity: Identity,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    store.cancel_job(&identity, &job_id(&id)?).await.map(Json)
}

async fn requeue(
    State(store): State<Store>,
    identity: Identity,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    store.requeue_job(&identity, &job_id(&id)?).await.map(Json)
}

fn job_id(text: &str) -> Result<String> {
    let id: Uuid = text.parse().map_err(|_| Error::job_unknown())?;
    Ok(id.to_string())
}
