//! The binary: settings in, service out.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(
        kit::service_info!(8001),
        dataflow_service::Config::read,
        dataflow_service::assemble,
    )
}
