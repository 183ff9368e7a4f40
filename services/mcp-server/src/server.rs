//! The protocol's side: what this server says of itself, and the transport that carries it.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use kit::{Health, RequestIds};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, JsonObject, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{calls::Calls, config::Config, tools::Tools};

type Transport = StreamableHttpService<Server, LocalSessionManager>;

/// The service that answers at `/mcp`. While draining, its sessions and streams end when no call is in flight.
pub(crate) fn transport(config: &Config, health: &Health, calls: &Calls) -> Transport {
    let tools = Tools::new(config, health);
    let ended = CancellationToken::new();
    let settings = StreamableHttpServerConfig::default()
        .with_allowed_hosts(config.allowed_hosts.clone())
        .with_allowed_origins(config.allowed_origins.clone())
        .enforce_origin_validation()
        .with_cancellation_token(ended.clone());
    let (health, calls) = (health.clone(), calls.clone());
    tokio::spawn(async move {
        health.draining().await;
        calls.idle().await;
        ended.cancel();
    });
    let make = move || Ok(Server { tools: tools.clone() });
    StreamableHttpService::new(make, Arc::new(LocalSessionManager::default()), settings)
}

/// One client's view of the server.
#[derive(Clone)]
pub(crate) struct Server {
    tools: Tools,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let name = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(name)
            .with_instructions(
                "classify_product finds the code of a product; list_workflows, get_workflow_schema and \
                 execute_workflow, or a workflow's own tool, run workflows; session_get and \
                 session_update share state with the caller's other channels; channel_status says what works.",
            )
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.known(name)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let listing = self.tools.list();
        let (tools, meta) = match ids(&context) {
            Some(ids) => kit::with_ids(ids, listing).await,
            None => listing.await,
        };
        let mut listed = ListToolsResult::with_all_items(tools);
        listed.meta = meta;
        Ok(listed)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let headers = parts(&context)
            .map(|parts| parts.headers.clone())
            .unwrap_or_default();
        let answering = self.answer(&headers, &request.name, &arguments);
        let answering = async {
            match ids(&context) {
                Some(ids) => kit::with_ids(ids, answering).await,
                None => answering.await,
            }
        };
        // Cancelled by the client: by a notification or, without a session, by closing its stream. What the call asked
        // for is given up with it, and a run is cancelled.
        let result = tokio::select! {
            result = answering => result,
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("the call was cancelled", None)),
        };
        match result {
            Some(result) => Ok(result.into()),
            None => Err(ErrorData::invalid_params(
                format!("unknown tool '{}'", request.name),
                None,
            )),
        }
    }
}

impl Server {
    async fn answer(
        &self,
        headers: &HeaderMap,
        name: &str,
        arguments: &JsonObject,
    ) -> Option<CallToolResult> {
        let result = self.tools.call(headers, name, arguments).await?;
        let failed = result.is_error.unwrap_or(false);
        tracing::info!(tool = name, failed, "tool called");
        Some(result)
    }
}

/// The ids of the HTTP request that brought the call: a session's calls run in a task of their own.
fn ids(context: &RequestContext<RoleServer>) -> Option<RequestIds> {
    parts(context)?.extensions.get::<RequestIds>().cloned()
}

/// The HTTP request that brought the call, without its body.
fn parts(context: &RequestContext<RoleServer>) -> Option<&Parts> {
    context.extensions.get::<Parts>()
}
