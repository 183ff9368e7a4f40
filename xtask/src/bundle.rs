//! The failure bundle: one folder with all that is needed to understand a failed run elsewhere, without secrets. What
//! cannot be had is named in its index; a bundle that cannot be written is a note, never another failure.

mod index;
mod record;
mod stack;
mod writer;

use std::time::Duration;

use serde_json::json;

use crate::context::Context;
use crate::evidence;
use crate::exit::Exit;
use crate::plan::Plan;
use crate::report::Report;
use crate::verdict::{Gate, Record, is_bad};
use crate::witness::{Testimony, machine};

use index::{Failed, Parts};
pub use writer::cut;
use writer::{Writer, safe};

/// Its folder's name in the run's.
const FOLDER: &str = "bundle";

/// How long the engine may take over what is asked in the end: itself and the images.
const IN_THE_END: Duration = Duration::from_secs(3);

/// A bundle that is being written.
#[derive(Debug)]
pub struct Bundle<'a> {
    context: &'a Context,
    writer: Writer,
    /// The verdicts that are bad, the worst first, each with the file to look at first.
    first: Vec<(Record, Option<String>)>,
    /// Members of a stack that were not well when it was looked at: gate, name and how.
    unwell: Vec<(Gate, String, String)>,
}

impl<'a> Bundle<'a> {
    /// Its folder alone, which the report is to name. `None` where nothing failed, where the run was only asked
    /// wrongly, and where nothing can be written.
    pub fn begin(context: &'a Context, report: &Report) -> Option<Self> {
        let usage = report.exit_code == Exit::Usage.code() && report.records.is_empty();
        if report.exit_code == Exit::Passed.code() || usage {
            return None;
        }
        let made = context
            .witness
            .redactor()
            .and_then(|redactor| Writer::create(context.run_dir.join(FOLDER), redactor));
        let writer = made
            .inspect_err(|error| {
                context
                    .board
                    .note(&format!("there is no failure bundle: {error:#}"))
            })
            .ok()?;
        Some(Bundle {
            context,
            writer,
            first: Vec::new(),
            unwell: Vec::new(),
        })
    }

    /// Everything in it: this takes a while, so the report is written by now.
    pub async fn fill(self, report: &Report, plan: Option<&Plan>) {
        let mut bundle = self;
        let Testimony {
            seen,
            scenes,
            missed,
            looked,
        } = bundle.context.witness.testify();
        bundle.writer.missed.extend(missed);
        for (gate, scene) in &scenes {
            bundle.scene(*gate, scene);
        }
        let mut bad: Vec<&Record> = report
            .records
            .iter()
            .filter(|record| is_bad(record, report.strict))
            .collect();
        bad.sort_by_key(|record| (std::cmp::Reverse(record.outcome), record.gate));
        for record in bad {
            let glimpses = seen.get(&(record.gate, record.service.clone()));
            let first = bundle.record(record, glimpses.map_or(&[], Vec::as_slice), plan);
            bundle.first.push((record.clone(), first));
        }
        bundle.policies();
        bundle.surroundings(report, looked);
        bundle.engine().await;
        bundle.end(report);
    }

    /// Relative to the run's folder.
    pub fn folder(&self) -> String {
        FOLDER.to_owned()
    }

    /// What the report's renderers wrote, and the index over all.
    fn end(mut self, report: &Report) {
        let run = &self.context.run_dir;
        // Whoever keeps the run's folder keeps what is beside the bundle, too.
        for path in self.context.witness.clean_folder(run) {
            let shown = self.context.shown(&path);
            self.context
                .board
                .note(&format!("{shown} could not be searched for secrets"));
        }
        for (name, what) in [
            ("report.json", "the run's report, as data"),
            ("report.md", "the run's report"),
            ("events.jsonl", "what happened in the run, an event a line"),
        ] {
            self.writer.copy(name, what, &run.join(name));
        }
        let failed: Vec<Failed<'_>> = self
            .first
            .iter()
            .map(|(record, file)| Failed {
                record,
                look_first: file.as_ref().map(|file| {
                    // Data has no last lines that tell anything.
                    let count = if file.ends_with(".json") { 0 } else { index::SHOWN };
                    (file.clone(), self.writer.last_lines(file, count))
                }),
            })
            .collect();
        let unwell = self.unwell.iter();
        let unwell: Vec<String> = unwell
            .map(|(gate, name, how)| format!("{name} of the {} stack {how}", gate.name()))
            .collect();
        let parts = Parts {
            failed: &failed,
            unwell: &unwell,
            contents: &self.writer.contents,
            missed: &self.writer.missed,
        };
        let index = index::render(report, &parts);
        self.writer.index(&index);
        if let Some(why) = &self.writer.broken {
            let shown = self.context.shown(&self.context.run_dir.join(FOLDER));
            self.context
                .board
                .note(&format!("the failure bundle {shown} is not whole: {why}"));
        }
    }

    fn policies(&mut self) {
        let root = &self.context.root;
        let mut files = vec![
            "docker/bases/pins.toml".to_owned(),
            "reports/baseline.json".to_owned(),
        ];
        for folder in ["docker/policy", "docker/policy/vex"] {
            let entries = std::fs::read_dir(root.join(folder))
                .into_iter()
                .flatten()
                .flatten();
            let plain = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
            files.extend(plain.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())));
        }
        files.sort();
        for file in files
            .iter()
            .filter(|file| root.join(file).symlink_metadata().is_ok())
        {
            let name = file.split('/').map(safe).collect::<Vec<_>>().join("/");
            self.writer.copy(
                &format!("policy/{name}"),
                "as it decided in this run",
                &root.join(file),
            );
        }
    }

    /// Versions, and the machine in the end.
    fn surroundings(&mut self, report: &Report, looked: Duration) {
        let facts = json!({
            "command": report.command,
            "strict": report.strict,
            "commit": report.commit,
            "bases": report.bases,
            "environment": report.environment,
            "notes": report.notes,
            "compose": evidence::compose_plugin(),
            "limits": self.context.limits,
            "os": std::fs::read_to_string("/proc/version").ok().map(|text| text.trim().to_owned()),
            // What all looks at containers cost this run.
            "looked_ms": looked.as_millis() as u64,
            "machine_in_the_end": machine(&self.context.run_dir),
        });
        self.writer.json(
            "environment.json",
            "versions, limits, the machine when the run ended",
            &facts,
        );
    }

    /// The engine and the images that were judged, where it still answers.
    async fn engine(&mut self) {
        let digests: Vec<(String, String)> = self
            .first
            .iter()
            .filter_map(|(record, _)| Some((record.service.clone(), record.digest.clone()?)))
            .collect();
        let asking = async {
            let engine = self.context.engine().await?;
            let mut found = vec![(
                "engine.json".to_owned(),
                "the engine and its settings",
                engine.info().await?,
            )];
            for (service, digest) in digests {
                let image = engine.image_as_it_is(&digest).await?;
                let name = format!("images/{}.json", safe(&service));
                found.push((
                    name,
                    "the image's configuration and the steps that made it",
                    image,
                ));
            }
            anyhow::Ok(found)
        };
        match tokio::time::timeout(IN_THE_END, asking).await {
            Ok(Ok(found)) => found
                .iter()
                .for_each(|(name, what, value)| self.writer.json(name, what, value)),
            Ok(Err(error)) => self
                .writer
                .missed
                .push(format!("the engine and the images: {error:#}")),
            Err(_) => self
                .writer
                .missed
                .push("the engine and the images: no answer in time".to_owned()),
        }
    }
}
