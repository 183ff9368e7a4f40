//! What a bundle holds of one verdict: the verdict, its logs, the containers that were seen, the service's own files.

use serde_json::json;

use super::Bundle;
use super::writer::safe;
use crate::plan::Plan;
use crate::verdict::{Gate, Record};
use crate::witness::Glimpse;

impl Bundle<'_> {
    /// All of one verdict; returns the file that says most.
    pub(super) fn record(
        &mut self,
        record: &Record,
        glimpses: &[Glimpse],
        plan: Option<&Plan>,
    ) -> Option<String> {
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

    pub(super) fn glimpse(&mut self, folder: &str, glimpse: &Glimpse) {
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
