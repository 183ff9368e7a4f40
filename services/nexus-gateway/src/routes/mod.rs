//! The gateway's routes, a file a subject.

mod apikeys;
mod audit;
mod auth;
mod board;
pub(crate) mod caller;
mod docs;
mod events;
mod executions;
mod hashing;
mod proxy;
pub(crate) mod sessions;
mod socket;
mod users;
mod workflows;

use utoipa_axum::router::OpenApiRouter;

use crate::{error::Error, state::App};

pub(crate) fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(apikeys::routes())
        .merge(audit::routes())
        .merge(auth::routes())
        .merge(board::routes())
        .merge(docs::routes())
        .merge(events::routes())
        .merge(executions::routes())
        .merge(proxy::routes())
        .merge(sessions::routes())
        .merge(socket::routes())
        .merge(users::routes())
        .merge(workflows::routes())
}

/// Does what is to be done whole, even if its caller goes away.
async fn to_its_end<T: Send + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (app, under_way) = (app.clone(), app.health().enter());
    let work = kit::carrying_ids(async move {
        let done = work.await;
        app.settle(under_way);
        done
    });
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}
