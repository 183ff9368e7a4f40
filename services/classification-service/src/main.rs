//! The classifier's binary: settings, telemetry and serving are `kit`'s.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(
        kit::service_info!(8002),
        classification_service::Config::read,
        classification_service::assemble,
    )
}
