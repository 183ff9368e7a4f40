//! The page's binary: settings, telemetry and serving are `kit`'s.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(
        kit::service_info!(8080),
        frontend::Config::read,
        frontend::assemble,
    )
}
