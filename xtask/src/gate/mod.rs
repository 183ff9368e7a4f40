//! The gates. Each looks at one thing and returns a verdict; none knows of another or of the order.

pub mod boot;
pub mod budget;
pub mod faults;
pub mod lint;
pub mod network;
pub mod scan;

use std::future::Future;
use std::time::Instant;

use anyhow::Result;

use crate::context::Context;
use crate::evidence::{self, Subject};
use crate::exit::Failure;
use crate::verdict::{Gate, Record};

/// The verdict of an earlier run on the same subject, or that of the gate now. An error inside means
/// *undecided*, an interruption likewise, and the time and the log's name are noted. Written once, so that no
/// gate can forget. A gate that keeps its own evidence has no subject here. The subject is asked for once more
/// after the look: what changed meanwhile is kept under no name.
pub async fn judged(
    context: &Context,
    service: &str,
    gate: Gate,
    subject: impl Fn() -> Option<Subject>,
    look: impl Future<Output = Result<Record>>,
) -> Record {
    let before = subject();
    if let Some(record) = before
        .as_ref()
        .and_then(|subject| evidence::verdict(context, subject))
    {
        return record;
    }
    let begun = Instant::now();
    let looked = tokio::select! {
        looked = look => looked,
        () = context.cancel.cancelled() => Err(Failure::undecided("interrupted", "run again").into()),
    };
    let mut record = looked.unwrap_or_else(|error| {
        let hint = error
            .downcast_ref::<Failure>()
            .and_then(|failure| failure.hint.clone());
        Record::undecided(
            service,
            gate,
            format!("{error:#}"),
            hint.unwrap_or_else(|| "see the log".to_owned()),
        )
    });
    context.witness.clean(&mut record);
    record.took_ms = begun.elapsed().as_millis() as u64;
    let log = step(gate, service);
    if context.log(&log).is_file() {
        record.log = Some(format!("logs/{log}.log"));
    }
    if let Some(before) = before.filter(|before| subject().as_ref() == Some(before)) {
        evidence::keep_verdict(context, &before, &record);
    }
    record
}

/// A step's name, which is its log's name too.
pub fn step(gate: Gate, service: &str) -> String {
    format!("{}-{service}", gate.name())
}
