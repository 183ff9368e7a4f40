//! The protocol's side: what this server says of itself, and the transport that carries it.

use std::sync::Arc;

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

use crate::{config::Config, tools::Tools};

type Transport = StreamableHttpService<Server, LocalSessionManager>;

/// The service that answers at `/mcp`. Its sessions and streams end when draining begins.
pub(crate) fn transport(config: &Config, health: &Health) -> Transport {
    let tools = Tools::new(config);
    let ended = CancellationToken::new();
    let settings = StreamableHttpServerConfig::default()
        .with_allowed_hosts(config.allowed_hosts.clone())
        .with_allowed_origins(config.allowed_origins.clone())
        .enforce_origin_validation()
        .with_cancellation_token(ended.clone());
    let health = health.clone();
    tokio::spawn(async move {
        health.draining().await;
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
                "classify_product finds the code of a product; channel_status says what works.",
            )
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        Tools::list().into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(Tools::list()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = match ids(&context) {
            Some(ids) => kit::with_ids(ids, self.answer(&request.name, &arguments)).await,
            None => self.answer(&request.name, &arguments).await,
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
    async fn answer(&self, name: &str, arguments: &JsonObject) -> Option<CallToolResult> {
        let result = self.tools.call(name, arguments).await?;
        let failed = result.is_error.unwrap_or(false);
        tracing::info!(tool = name, failed, "tool called");
        Some(result)
    }
}

/// The ids of the HTTP request that brought the call: a session's calls run in a task of their own.
fn ids(context: &RequestContext<RoleServer>) -> Option<RequestIds> {
    context
        .extensions
        .get::<axum::http::request::Parts>()?
        .extensions
        .get::<RequestIds>()
        .cloned()
}
