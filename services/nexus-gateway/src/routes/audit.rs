//! Reading the audit log, for administrators: one of the tenant `default` sees all, any other the own tenant.

use axum::{Json, extract::State};
use kit::Query;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{caller::Caller, users::scope};
use crate::{
    domain::roles::Role,
    error::Error,
    state::App,
    store::{AuditQuery, Recorded},
};

const PAGE: i64 = 100;
const MOST: i64 = 1000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Who did it.
    user: Option<String>,
    /// What was done, such as `auth.login`.
    action: Option<String>,
    /// The last id of the page before.
    before: Option<i64>,
    /// 1 to 1000.
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct Log {
    /// The latest first.
    entries: Vec<Recorded>,
}

/// Reads the audit log
#[utoipa::path(get, path = "/audit", tag = "accounts", params(Page),
    responses((status = 200, description = "Who did what, how it ended, from where", body = Log)))]
async fn read(State(app): State<App>, caller: Caller, Query(page): Query<Page>) -> Result<Json<Log>, Error> {
    caller.must_be(Role::Admin)?;
    let asked = [("user", &page.user), ("action", &page.action)];
    // PostgreSQL has no zero byte, and would say so as if it were at fault.
    let wrong = asked
        .iter()
        .find(|(_, text)| text.as_ref().is_some_and(|text| text.contains('\0')));
    if let Some((name, _)) = wrong {
        return Err(Error::Unacceptable(
            name,
            "expected a text without a zero byte".to_owned(),
        ));
    }
    let query = AuditQuery {
        tenant: scope(&caller),
        user: page.user.as_deref(),
        action: page.action.as_deref(),
        before: page.before,
        limit: page.limit.unwrap_or(PAGE).clamp(1, MOST),
    };
    let entries = app.audit()?.read(query).await?;
    Ok(Json(Log { entries }))
}
