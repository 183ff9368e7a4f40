//! Where a path leads, and what a call there takes of its caller.

use http::Method;

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
const DATAFLOW_PARTS: [&str; 5] = ["models", "nodes", "data", "migrations", "jobs"];

/// Those of them by which tables are made, changed or worked on as a whole: to change anything there takes a deployer.
const DATAFLOW_DEFINITIONS: [&str; 3] = ["models", "migrations", "jobs"];

/// What a call does to the definitions, which all tenants share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// It adds, or says what it would do: a deployer's.
    Adds,
    /// It adds, unless its body confirms that values may be lost.
    AddsUnlessConfirmed,
    /// It takes away from all tenants: a deployer's of the operators.
    Removes,
}

/// What a call to `path` of the gateway does to the definitions.
#[must_use]
pub fn change(method: &Method, path: &str) -> Change {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let own = path.strip_prefix("/api/dataflow/").unwrap_or_default();
    let (part, rest) = own.split_once('/').unwrap_or((own, ""));
    if reads || !DATAFLOW_DEFINITIONS.contains(&part) {
        return Change::Nothing;
    }
    match (part, rest) {
        ("models", _) if method != Method::POST => Change::Removes,
        ("migrations", "plan") => Change::Adds,
        ("migrations", "apply") => Change::AddsUnlessConfirmed,
        ("migrations", _) => Change::Removes,
        _ => Change::Adds,
    }
}

/// Which service answers `path` by itself, and under which path of its own, an end of `path`. `None`: none does.
#[must_use]
pub fn destination(path: &str) -> Option<(Service, &str)> {
    if path.split('/').any(|part| part == "." || part == "..") {
        return None;
    }
    if let Some(own) = path.strip_prefix("/api/dataflow") {
        let part = own.strip_prefix('/')?.split('/').next().unwrap_or_default();
        return DATAFLOW_PARTS.contains(&part).then_some((Service::Dataflow, own));
    }
    if path == "/api/classify" {
        return Some((Service::Classification, "/classify"));
    }
    if path.starts_with("/api/classify/") {
        return Some((Service::Classification, path));
    }
    (path == "/mcp").then_some((Service::Mcp, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changing_definitions_is_told_from_changing_rows() {
        for (method, path, expected) in [
            (Method::GET, "/api/dataflow/models/X", Change::Nothing),
            (Method::POST, "/api/dataflow/models", Change::Adds),
            (Method::DELETE, "/api/dataflow/models/X", Change::Removes),
            (Method::GET, "/api/dataflow/migrations", Change::Nothing),
            (Method::POST, "/api/dataflow/migrations/plan", Change::Adds),
            (
                Method::POST,
                "/api/dataflow/migrations/apply",
                Change::AddsUnlessConfirmed,
            ),
            (Method::POST, "/api/dataflow/migrations/apply/", Change::Removes),
            (
                Method::POST,
                "/api/dataflow/migrations/rollback/3",
                Change::Removes,
            ),
            (Method::POST, "/api/dataflow/jobs/7/requeue", Change::Adds),
            (Method::DELETE, "/api/dataflow/data/models/1", Change::Nothing),
            (Method::POST, "/api/dataflow/nodes/X/execute", Change::Nothing),
            (Method::POST, "/workflows", Change::Nothing),
            (Method::POST, "/models", Change::Nothing),
        ] {
            assert_eq!(change(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn paths_lead_where_they_should() {
        let to = |path: &'static str| destination(path).map(|(service, path)| (service.name(), path));
        assert_eq!(
            to("/api/dataflow/data/Product/1"),
            Some(("dataflow-service", "/data/Product/1"))
        );
        assert_eq!(to("/api/classify"), Some(("classification-service", "/classify")));
        assert_eq!(
            to("/api/classify/product"),
            Some(("classification-service", "/api/classify/product"))
        );
        assert_eq!(to("/mcp"), Some(("mcp-server", "/mcp")));
    }

    #[test]
    fn the_inside_of_services_stays_inside() {
        for path in [
            "/workflows",
            "/executions/1",
            "/api/dataflow/metrics",
            "/api/dataflow/",
            "/api/dataflow",
            "/api/dataflowx/models",
            "/api/dataflow/models/../metrics",
            "/mcp/x",
            "/",
        ] {
            assert_eq!(destination(path), None, "{path}");
        }
    }
}
