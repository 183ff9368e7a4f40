//! What passes from a caller to a service and back: headers that must not travel, and where a path leads.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONNECTION};

/// Meant for one connection only (RFC 9110 section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Beginnings of header names by which services learn who calls: only the gateway may set them.
const IDENTITY: [&str; 6] = [
    "x-user",
    "x-tenant",
    "x-role",
    "x-auth",
    "x-remote-user",
    "x-forwarded-user",
];

/// Credentials stay here, host and length belong to the next connection, and the ids are those that the
/// gateway has given the request.
const RENEWED: [&str; 6] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "x-request-id",
    "traceparent",
];

/// A user's identity as services receive it.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// The tenant whose data the user sees.
    pub tenant: &'a str,
    /// What the user may do.
    pub role: &'a str,
}

/// Turns a caller's headers into those for a service: without the caller's credentials, claims of identity
/// and connection headers, and with the identity that the token proved.
pub fn to_service(headers: &mut HeaderMap, identity: Identity<'_>) {
    drop_hop_by_hop(headers);
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| names_identity(name))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    for name in RENEWED {
        headers.remove(name);
    }
    let own = [
        ("x-user", identity.user),
        ("x-tenant-id", identity.tenant),
        ("x-role", identity.role),
    ];
    for (name, value) in own {
        // A name that no header can carry is left out: the service then sees no user, which it refuses.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Turns a service's headers into those for the caller.
pub fn to_caller(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
}

fn names_identity(name: &HeaderName) -> bool {
    // Some servers read underscores as dashes.
    let name = name.as_str().replace('_', "-");
    IDENTITY.iter().any(|beginning| name.starts_with(beginning))
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The services behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Models and rows.
    Dataflow,
    /// Definitions and runs.
    Workflow,
    /// Codes for texts.
    Classification,
    /// Tools for agents.
    Mcp,
}

impl Service {
    /// All of them, in the order they are reported.
    pub const ALL: [Self; 4] = [Self::Dataflow, Self::Workflow, Self::Classification, Self::Mcp];

    /// The package's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dataflow => "dataflow-service",
            Self::Workflow => "workflow-engine",
            Self::Classification => "classification-service",
            Self::Mcp => "mcp-server",
        }
    }
}

/// Parts of the dataflow service that callers may reach; its metrics and probes are not among them.
const DATAFLOW_PARTS: [&str; 3] = ["models", "nodes", "data"];

/// Which service answers `path`, and under which path of its own. `None`: nothing is served there.
#[must_use]
pub fn destination(path: &str) -> Option<(Service, String)> {
    if path.split('/').any(|part| part == "." || part == "..") {
        return None;
    }
    let below =
        |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    if let Some(rest) = path.strip_prefix("/api/dataflow/") {
        let part = rest.split('/').next().unwrap_or_default();
        return DATAFLOW_PARTS
            .contains(&part)
            .then(|| (Service::Dataflow, format!("/{rest}")));
    }
    if path == "/api/classify" {
        return Some((Service::Classification, "/classify".to_owned()));
    }
    if path.starts_with("/api/classify/") {
        return Some((Service::Classification, path.to_owned()));
    }
    if below("/workflows") || path.starts_with("/executions/") {
        return Some((Service::Workflow, path.to_owned()));
    }
    (path == "/mcp").then(|| (Service::Mcp, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Identity<'_> = Identity {
        user: "ada",
        tenant: "default",
        role: "admin",
    };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn forged_identities_are_replaced() {
        let mut sent = headers(&[
            ("x-user", "root"),
            ("x-user", "root again"),
            ("x-user-id", "0"),
            ("x_user", "0"),
            ("x-tenant-id", "other"),
            ("x-roles", "all"),
            ("authorization", "Bearer t"),
            ("cookie", "a=b"),
            ("accept", "text/html"),
        ]);
        to_service(&mut sent, ADA);
        let mut left: Vec<(&str, &str)> = sent
            .iter()
            .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        let expected = [
            ("accept", "text/html"),
            ("x-role", "admin"),
            ("x-tenant-id", "default"),
            ("x-user", "ada"),
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn connection_headers_do_not_travel() {
        let mut sent = headers(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-type", "application/json"),
        ]);
        to_caller(&mut sent);
        assert_eq!(
            sent.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["content-type"]
        );
    }

    #[test]
    fn paths_lead_where_they_should() {
        let to = |path: &str| destination(path).map(|(service, path)| (service.name(), path));
        assert_eq!(to("/workflows"), Some(("workflow-engine", "/workflows".into())));
        assert_eq!(
            to("/workflows/x/execute"),
            Some(("workflow-engine", "/workflows/x/execute".into()))
        );
        assert_eq!(
            to("/api/dataflow/data/Product/1"),
            Some(("dataflow-service", "/data/Product/1".into()))
        );
        assert_eq!(
            to("/api/classify"),
            Some(("classification-service", "/classify".into()))
        );
        assert_eq!(
            to("/api/classify/product"),
            Some(("classification-service", "/api/classify/product".into()))
        );
        assert_eq!(to("/mcp"), Some(("mcp-server", "/mcp".into())));
    }

    #[test]
    fn the_inside_of_services_stays_inside() {
        for path in [
            "/workflowsx",
            "/executions",
            "/api/dataflow/metrics",
            "/api/dataflow/",
            "/api/dataflow/models/../metrics",
            "/mcp/x",
            "/",
        ] {
            assert_eq!(destination(path), None, "{path}");
        }
    }
}
