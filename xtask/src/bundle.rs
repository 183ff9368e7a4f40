//! The failure bundle: one folder with all that is needed to understand a failed run elsewhere, without secrets. What
//! cannot be had is named in its index; a bundle that cannot be written is a note, never another failure.

mod index;
mod stack;
mod writer;

use std::time::Duration;

use serde_json::json;

use crate::context::Context;
use crate::engine::Engine;
use crate::evidence;
use crate::exit::Exit;
use crate::plan::Plan;
use crate::report::Report;
use crate::verdict::{Gate, Record, is_bad};
use crate::witness::{Glimpse, Scene, Testimony, machine};

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
    /// Everything but the report, which is to name the bundle. `None` where nothing failed, where the run was only
    /// asked wrongly, and where nothing can be written.
    pub async fn begin(context: &'a Context, report: &Report, plan: Option<&Plan>) -> Option<Self> {
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
        let mut bundle = Bundle {
            context,
            writer,
            first: Vec::new(),
            unwell: Vec::new(),
        };
        let Testimony { seen, scenes, missed } = context.witness.testify();
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
        bundle.surroundings(report);
        bundle.engine().await;
        Some(bundle)
    }

    /// Relative to the run's folder.
    pub fn folder(&self) -> String {
        FOLDER.to_owned()
    }

    /// What the report's renderers wrote, and the index over all.
    pub fn end(mut self, report: &Report) {
        let run = &self.context.run_dir;
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
        let shown = self.context.shown(&self.context.run_dir.join(FOLDER));
        self.context.board.note(&match &self.writer.broken {
            None => format!("failure bundle: {shown}/INDEX.md"),
            Some(why) => format!("the failure bundle {shown} is not whole: {why}"),
        });
    }

    /// All of one verdict; returns the file that says most.
    fn record(&mut self, record: &Record, glimpses: &[Glimpse], plan: Option<&Plan>) -> Option<String> {
        let folder = format!("{}-{}", record.gate.name(), safe(&record.service));
        self.writer.json(
            &format!("{folder}/record.json"),
            "the verdict and its checks",
            &json!(record),
        );
        // Of a stack there is one log for all.
        let stack = format!("{}-stack", record.gate.name());
        let is_of_stack = self.writer.contents.contains_key(&format!("{stack}/step.log"));
        if let Some(log) = record.log.as_ref().filter(|_| !is_of_stack) {
            let path = self.context.run_dir.join(log);
            self.writer
                .copy(&format!("{folder}/step.log"), "the log of the gate's step", &path);
        }
        for glimpse in glimpses {
            self.glimpse(&format!("{folder}/{}", safe(&glimpse.name)), glimpse);
        }
        self.of_the_gate(record, &folder);
        self.sources(record, &folder, plan);
        let member = |name: &str| format!("{stack}/{}/container.log", safe(name));
        // What had ended explains what the others miss.
        let unwell = |own: bool| {
            let of_gate = self.unwell.iter().filter(|(gate, ..)| *gate == record.gate);
            let mut names = of_gate.map(|(_, name, _)| name);
            names
                .find(|name| (**name == record.service) == own)
                .map(|name| member(name))
        };
        let purpose = told(record, glimpses).map(|name| format!("{folder}/{}/container.log", safe(name)));
        let candidates = [
            purpose,
            unwell(true),
            unwell(false),
            Some(member(&record.service)),
            Some(format!("{folder}/step.log")),
            Some(format!("{stack}/step.log")),
        ];
        let there = |file: &String| self.writer.contents.contains_key(file);
        candidates.into_iter().flatten().find(there)
    }

    /// What a gate left in the run's folder beside its log.
    fn of_the_gate(&mut self, record: &Record, folder: &str) {
        let files: Vec<(String, &str)> = match record.gate {
            Gate::Build => vec![
                ("bake.json".to_owned(), "the build's definition"),
                (
                    "bake-metadata.json".to_owned(),
                    "what the build said of its images",
                ),
                ("logs/build.log".to_owned(), "the log of the joint build"),
            ],
            Gate::Scan => vec![(
                format!("scan/scan-{}.json", record.service),
                "the scanner's own report",
            )],
            _ => Vec::new(),
        };
        for (file, what) in files {
            let path = self.context.run_dir.join(&file);
            if path.symlink_metadata().is_ok() {
                let name = file.rsplit('/').next().unwrap_or(&file);
                self.writer.copy(&format!("{folder}/{}", safe(name)), what, &path);
            }
        }
    }

    /// What the service says of itself: its Dockerfile and manifest.
    fn sources(&mut self, record: &Record, folder: &str, plan: Option<&Plan>) {
        let images = plan.map_or(&[][..], |plan| &plan.images);
        let Some(image) = images.iter().find(|image| image.service.name == record.service) else {
            return;
        };
        let root = &self.context.root;
        for (name, what, path) in [
            (
                "Dockerfile",
                "how the image is built",
                root.join(image.service.dockerfile()),
            ),
            (
                "Cargo.toml",
                "what the service declares",
                root.join(&image.service.dir).join("Cargo.toml"),
            ),
        ] {
            self.writer.copy(&format!("{folder}/{name}"), what, &path);
        }
    }

    fn glimpse(&mut self, folder: &str, glimpse: &Glimpse) {
        if let Some(log) = &glimpse.log {
            self.writer.text(
                &format!("{folder}/container.log"),
                "all that the container said",
                log,
            );
        }
        if let Some(inspect) = &glimpse.inspect {
            let what = "state, exit code, health, limits, mounts and networks, before it was removed";
            self.writer.json(&format!("{folder}/inspect.json"), what, inspect);
        }
        if let Some(stats) = &glimpse.stats {
            let what = "processor, memory, processes, block devices at that moment";
            self.writer.json(&format!("{folder}/stats.json"), what, stats);
        }
        if let Some(sockets) = &glimpse.sockets {
            let what = "its sockets: own address, other address, state";
            self.writer.text(&format!("{folder}/sockets.txt"), what, sockets);
        }
    }

    fn scene(&mut self, gate: Gate, scene: &Scene) {
        let folder = format!("{}-stack", gate.name());
        for member in &scene.members {
            self.glimpse(&format!("{folder}/{}", safe(&member.name)), member);
            let how = stack::unwell(member);
            self.unwell
                .extend(how.map(|how| (gate, member.name.clone(), how)));
        }
        let networks = stack::networks(scene);
        let what = "each network with its members, their addresses and names";
        self.writer
            .json(&format!("{folder}/networks.json"), what, &networks);
        if !scene.events.is_empty() {
            let what = "what the engine says happened to the containers, as far as it remembers";
            self.writer
                .lines(&format!("{folder}/engine-events.jsonl"), what, &scene.events);
        }
        let what = "load, memory and disk of the machine at that moment";
        self.writer
            .json(&format!("{folder}/machine.json"), what, &scene.machine);
        for (file, what) in [
            (
                "compose.config.json",
                "the stack as `docker compose config` resolves it",
            ),
            ("compose.run.yaml", "the overlay that the run puts over it"),
        ] {
            self.writer.copy(
                &format!("{folder}/{file}"),
                what,
                &self.context.run_dir.join(file),
            );
        }
        let log = format!("logs/{}.log", gate.name());
        self.writer.copy(
            &format!("{folder}/step.log"),
            "the log of the gate's step",
            &self.context.run_dir.join(log),
        );
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
    fn surroundings(&mut self, report: &Report) {
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
            let engine = Engine::connect().await?;
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

/// The container that a bad check is about: by its purpose, where the check's name holds it; else the first that was
/// started.
fn told<'g>(record: &Record, glimpses: &'g [Glimpse]) -> Option<&'g str> {
    let bad = record
        .checks
        .iter()
        .filter(|check| check.outcome == record.outcome);
    let names: Vec<String> = bad.map(|check| check.name.to_lowercase()).collect();
    let about = |glimpse: &&Glimpse| names.first().is_some_and(|name| name.contains(&glimpse.name));
    let found = glimpses.iter().find(about).or(glimpses.first());
    found.map(|glimpse| glimpse.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Check;

    #[test]
    fn a_check_leads_to_the_container_that_it_is_about() {
        let named = |name: &str| Glimpse {
            name: name.to_owned(),
            ..Glimpse::default()
        };
        let seen = [named("serve"), named("malformed"), named("help")];
        let about = |check: &str| {
            let record = Record::from_checks("a", Gate::Boot, vec![Check::violated(check, "x", "y")], "");
            told(&record, &seen).map(str::to_owned)
        };
        assert_eq!(about("malformed settings").as_deref(), Some("malformed"));
        assert_eq!(about("--help").as_deref(), Some("help"));
        assert_eq!(about("never live").as_deref(), Some("serve"));
        let record = Record::from_checks("a", Gate::Lint, vec![], "");
        assert_eq!(told(&record, &[]), None);
    }
}
