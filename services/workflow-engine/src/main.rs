//! The binary: settings in, service out.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(
        kit::service_info!(8003),
        workflow_engine::Config::read,
        workflow_engine::assemble,
    )
}
