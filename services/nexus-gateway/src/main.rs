//! The gateway's binary: settings, telemetry and serving are `kit`'s.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(
        kit::service_info!(8000),
        nexus_gateway::Config::read,
        nexus_gateway::assemble,
    )
}
