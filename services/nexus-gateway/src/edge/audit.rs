//! What the audit log is told of calls that change something: method and route, by whom, from where, how it ended.
//! Logins, keys and users are told of by their own routes, which know more; what those refuse is told of here.

use axum::{
    extract::{MatchedPath, Request},
    http::{Method, StatusCode},
};
use kit::health::InFlight;

use crate::{domain::client::ClientAddr, routes::caller::Caller, state::App, store::Entry};

/// Routes that record for themselves what went well.
const OWN: [&str; 2] = ["/auth/", "/users"];
/// It records its refusals, too.
const LOGIN: &str = "/auth/login";
/// The caller went away before the answer; what was begun may still be done.
const ABORTED: &str = "aborted";

/// A call that changes something, until it has ended. Where it is dropped before, its caller went away.
pub(super) struct Call {
    app: App,
    route: MatchedPath,
    entry: Option<Entry>,
    /// The process does not end in order before the call is written down.
    under_way: Option<InFlight>,
}

impl Call {
    /// `None` where nothing is changed.
    pub(super) fn begin(app: &App, request: &Request, caller: Option<&Caller>) -> Option<Self> {
        let changes = matches!(
            *request.method(),
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE
        );
        let route = request.extensions().get::<MatchedPath>().filter(|_| changes)?;
        let entry = Entry {
            user: caller.map(|caller| caller.user.to_string()),
            tenant: caller.map(|caller| caller.tenant.to_string()),
            action: format!("{} {}", request.method(), route.as_str()),
            target: Some(request.uri().path().to_owned()),
            client: request.extensions().get::<ClientAddr>().map(|client| client.0),
            ..Entry::default()
        };
        Some(Self {
            app: app.clone(),
            route: route.clone(),
            entry: Some(entry),
            under_way: app.health().enter(),
        })
    }

    pub(super) fn ended(mut self, status: StatusCode) {
        let entry = self.entry.take().filter(|_| is_told(self.route.as_str(), status));
        if let Some(entry) = entry {
            let outcome = status.as_u16().to_string();
            self.app.record(Entry { outcome, ..entry });
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            let outcome = ABORTED.to_owned();
            self.app.record(Entry { outcome, ..entry });
        }
        self.app.settle(self.under_way.take());
    }
}

/// Whether the edge tells of a call that ended so: each once.
fn is_told(route: &str, status: StatusCode) -> bool {
    let failed = status.as_u16() >= 400;
    let own = OWN.iter().any(|own| route.starts_with(own));
    (failed || !own) && !(route == LOGIN && status == StatusCode::UNAUTHORIZED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_told_once_and_no_refusal_is_left_out() {
        let told = |route, status| is_told(route, StatusCode::from_u16(status).unwrap());
        for (route, status) in [
            ("/workflows", 201),
            ("/workflows", 403),
            ("/users", 403),
            ("/users/{name}", 404),
            ("/auth/password", 401),
            ("/auth/login", 429),
            ("/auth/refresh", 401),
            ("/auth/keys/{id}", 503),
        ] {
            assert!(told(route, status), "{route} {status}");
        }
        for (route, status) in [
            ("/users", 201),
            ("/auth/password", 204),
            ("/auth/login", 200),
            ("/auth/login", 401),
        ] {
            assert!(!told(route, status), "{route} {status}");
        }
    }
}
