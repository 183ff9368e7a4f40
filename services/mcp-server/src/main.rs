//! The MCP server's binary: settings, telemetry and serving are `kit`'s.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(
        kit::service_info!(3000),
        mcp_server::Config::read,
        mcp_server::assemble,
    )
}
