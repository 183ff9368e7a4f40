//! The OpenAPI 3.1 document: what it says beside the handlers' own `#[utoipa::path]`, and what is the same for
//! all of them (the errors). It is made once, from the routes that are mounted.

use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, HttpMethod, OpenApi as Document, PathItem, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, OperationBuilder},
        response::ResponsesBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use crate::state::App;

/// Every error has this shape; some have more fields, which `code` tells.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "it is the shape of kit::Problem, which knows no document"
)]
pub(crate) struct Problem {
    /// For people.
    #[schema(example = "a bearer token is required")]
    error: String,
    /// For programs.
    #[schema(example = "missing_token")]
    code: String,
    /// The request's `X-Request-ID`, by which the log finds it.
    correlation_id: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Horme",
        description = "The one way in: accounts and tokens, workflows, sessions, events, and the services behind the gateway.",
    ),
    components(schemas(Problem)),
    security(("bearer" = []), ("api_key" = [])),
    modifiers(&Schemes),
    tags(
        (name = "accounts", description = "Logging in, tokens, API keys and users"),
        (name = "workflows", description = "Definitions and their runs"),
        (name = "sessions", description = "State that one user sees on every channel"),
        (name = "events", description = "What happens to runs and rows, as it happens"),
        (name = "services", description = "What is passed on to the services behind the gateway"),
        (name = "health", description = "How the gateway and the services are"),
        (name = "documentation", description = "This document"),
    ),
)]
struct Base;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The `access_token` of `POST /auth/login`."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let key =
            ApiKeyValue::with_description("X-API-Key", "A key of `POST /auth/keys`; it wins over a token.");
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// Paths that `kit` gives every service, with what each is for.
const COMMON: [(&str, &str); 8] = [
    ("/live", "Whether the process lives"),
    ("/health", "Whether the process lives"),
    ("/healthz", "Whether the process lives"),
    ("/startup", "Whether the process has started"),
    (
        "/ready",
        "Whether it can work: 200 ready or degraded, 503 not ready or draining",
    ),
    ("/readyz", "As `/ready`"),
    ("/version", "Name, version and revision"),
    ("/metrics", "Metrics in Prometheus' text format 0.0.4"),
];

/// The mounted routes, and the document that tells of them.
pub(crate) fn with_document(routes: OpenApiRouter<App>) -> (axum::Router<App>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Base::openapi())
        .merge(routes)
        .split_for_parts();
    for (path, summary) in COMMON {
        let operation = OperationBuilder::new()
            .summary(Some(summary))
            .tag("health")
            .security(SecurityRequirement::default())
            .responses(ResponsesBuilder::new().response("200", Response::new("the answer")));
        let item = PathItem::new(HttpMethod::Get, operation);
        document.paths.paths.insert(path.to_owned(), item);
    }
    document.paths.paths = std::mem::take(&mut document.paths.paths)
        .into_iter()
        // The router's wildcards: OpenAPI knows a parameter's plain name alone.
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    document
        .paths
        .paths
        .values_mut()
        .flat_map(operations)
        .for_each(complete);
    (router, document)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        delete,
        options,
        head,
        patch,
        ..
    } = item;
    [get, put, post, delete, options, head, patch]
        .into_iter()
        .flatten()
}

/// A summary is a title: one sentence, without its full stop. What follows in the first paragraph describes.
fn title(operation: &mut Operation) {
    let Some(words) = operation.summary.take() else {
        return;
    };
    let words = words.replace('\n', " ");
    let (first, rest) = words.split_once(". ").unwrap_or((&words, ""));
    if !rest.is_empty() {
        let more = operation.description.take().filter(|more| !more.is_empty());
        let more = more.map(|more| format!("\n\n{more}")).unwrap_or_default();
        operation.description = Some(format!("{rest}{more}"));
    }
    operation.summary = Some(first.trim_end_matches('.').to_owned());
}

/// What every operation has: a title, and its errors.
fn complete(operation: &mut Operation) {
    title(operation);
    let problem = || {
        let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
        ContentBuilder::new().schema(Some(schema)).build()
    };
    let public = operation
        .security
        .as_ref()
        .is_some_and(|needed| needed.contains(&SecurityRequirement::default()));
    let mut add = |status: &str, words: &str| {
        let response = ResponseBuilder::new()
            .description(words)
            .content("application/json", problem());
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(response.build()));
    };
    if !public {
        add(
            "401",
            "No credential, or one that is not good: `missing_token`, `token_expired`, `invalid_token`, `invalid_api_key`",
        );
    }
    add("default", "Any other error");
}

/// The document as it is sent.
pub(crate) fn rendered(document: &Document) -> Value {
    serde_json::to_value(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Operations = BTreeSet<(String, String)>;

    /// What axum has mounted. It tells nobody but its debug output, whose change this test would notice: a set
    /// that is empty equals no document.
    fn mounted(router: &axum::Router<App>) -> Operations {
        let told = format!("{router:?}");
        let told = told.split("fallback_router:").next().unwrap_or_default();
        let parts = told.split("RouteId(").filter_map(|part| part.split_once("): "));
        let mut paths = BTreeMap::new();
        let mut handlers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, what) in parts {
            if let Some(path) = what.strip_prefix('"') {
                paths.insert(id, path.split('"').next().unwrap_or_default().replace("{*", "{"));
                continue;
            }
            for method in ["get", "put", "post", "delete", "options", "head", "patch"] {
                if what.contains(&format!("{method}: BoxedHandler")) {
                    handlers.entry(id).or_default().push(method);
                }
            }
        }
        let methods = handlers
            .iter()
            .flat_map(|(id, methods)| methods.iter().map(move |method| (id, *method)));
        methods
            .map(|(id, method)| (method.to_owned(), paths[id].clone()))
            .collect()
    }

    fn documented(document: &Value) -> Operations {
        let items = document["paths"].as_object().unwrap();
        let common = |path: &str| COMMON.iter().any(|(common, _)| *common == path);
        items
            .iter()
            .filter(|(path, _)| !common(path))
            .flat_map(|(path, item)| {
                item.as_object()
                    .unwrap()
                    .keys()
                    .map(move |method| (method.clone(), path.clone()))
            })
            .collect()
    }

    #[test]
    fn what_is_mounted_is_documented_and_the_reverse() {
        let (router, document) = with_document(crate::routes::all());
        let document = rendered(&document);
        assert_eq!(mounted(&router), documented(&document));
        assert_eq!(document["openapi"], "3.1.0");
    }

    #[test]
    fn what_follows_the_first_sentence_describes() {
        let mut operation = OperationBuilder::new()
            .summary(Some("Does this. Needs\nthat."))
            .description(Some("More."))
            .build();
        title(&mut operation);
        assert_eq!(operation.summary.as_deref(), Some("Does this"));
        assert_eq!(operation.description.as_deref(), Some("Needs that.\n\nMore."));
    }

    #[test]
    fn every_operation_has_a_summary_a_known_tag_and_its_errors() {
        let document = rendered(&with_document(crate::routes::all()).1);
        let tags: Vec<&Value> = document["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| &tag["name"])
            .collect();
        for (method, path) in documented(&document) {
            let operation = &document["paths"][&path][&method];
            let title = operation["summary"].as_str().unwrap_or(".");
            assert!(!title.ends_with('.') && !title.contains(". "), "{method} {path}");
            assert!(tags.contains(&&operation["tags"][0]), "{method} {path}");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            let public = operation["security"][0]
                .as_object()
                .is_some_and(serde_json::Map::is_empty);
            assert_eq!(operation["responses"]["401"].is_null(), public, "{method} {path}");
        }
    }
}
