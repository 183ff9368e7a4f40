//! Vulnerabilities as results: one for each package and version at each place, however many images hold it.

use serde_json::{Value, json};

use super::place::{Place, Sources};
use super::{plain, rules};
use crate::report::Report;
use crate::report::todo;
use crate::verdict::Record;

/// One vulnerability at one place.
struct Found<'r> {
    finding: &'r Value,
    place: Place,
    /// The image and the path that pulls it in, or the image alone.
    images: Vec<(&'r str, String)>,
    remedy: Option<&'r str>,
}

/// The results, each with its rule.
pub(super) fn results(report: &Report, sources: &Sources) -> Vec<(Value, Value)> {
    let mut all: Vec<Found> = Vec::new();
    for record in todo::in_order(report) {
        for finding in of_record(record) {
            let found = Found::new(record, finding, sources);
            match all.iter_mut().find(|known| known.is_as(&found)) {
                Some(known) => known.add(found),
                None => all.push(found),
            }
        }
    }
    let results = all
        .iter()
        .map(|found| (found.result(), rules::of_vulnerability(found.finding)));
    results.collect()
}

/// What else a scan found (secrets, files) is told by its check.
pub(super) fn of_record(record: &Record) -> impl Iterator<Item = &Value> {
    let listed = record.figures.get("findings").and_then(Value::as_array);
    let is_one = |found: &&Value| found["kind"].as_str().is_none_or(|kind| kind == "vulnerability");
    listed.into_iter().flatten().filter(is_one)
}

fn word<'r>(finding: &'r Value, key: &str) -> &'r str {
    finding[key].as_str().unwrap_or_default()
}

impl<'r> Found<'r> {
    fn new(record: &'r Record, finding: &'r Value, sources: &Sources) -> Self {
        let place = sources.package(word(finding, "package"), word(finding, "version"));
        let place = place.unwrap_or_else(|| match word(finding, "origin") {
            "base image" => sources.base(&record.service),
            _ => sources.image(&record.service),
        });
        // The path that pulls it in says more than the service alone.
        let path = Some(word(finding, "path")).filter(|path| path.starts_with(&record.service));
        let path = path.unwrap_or(&record.service).to_owned();
        Found {
            finding,
            place,
            images: vec![(&record.service, path)],
            remedy: todo::remedy(record, finding),
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        let same = |key: &str| word(self.finding, key) == word(other.finding, key);
        self.place == other.place
            && ["id", "package", "version", "became", "why"]
                .into_iter()
                .all(same)
    }

    fn add(&mut self, other: Self) {
        self.remedy = self.remedy.or(other.remedy);
        for image in other.images {
            if !self.images.contains(&image) {
                self.images.push(image);
            }
        }
    }

    fn result(&self) -> Value {
        let word = |key: &str| word(self.finding, key);
        let paths: Vec<&str> = self.images.iter().map(|(_, path)| path.as_str()).collect();
        let fixed = match word("fixed") {
            "" => "no version fixes it yet".to_owned(),
            fixed => format!("fixed in {fixed}"),
        };
        let id = rules::vulnerability_id(self.finding);
        let remedy = self.remedy.map(|remedy| format!("\nhint: {remedy}"));
        let text = format!(
            "{} {id} in {} {} ({}); {fixed}{}",
            word("severity"),
            word("package"),
            word("version"),
            paths.join("; "),
            remedy.unwrap_or_default()
        );
        let mut services: Vec<&str> = self.images.iter().map(|(service, _)| *service).collect();
        services.dedup();
        json!({
            "ruleId": id,
            "level": self.level(),
            "message": { "text": plain(&text) },
            "locations": [self.place.location(&services)],
            "suppressions": self.suppressions(),
            "partialFingerprints": { "horme/v1": self.fingerprint() },
        })
    }

    /// What fails the gate is an error however mild it is by itself; what policy merely reports is none.
    fn level(&self) -> &'static str {
        match (
            rules::level(word(self.finding, "severity")),
            word(self.finding, "became"),
        ) {
            (_, "fails") => "error",
            ("error", "reported") => "warning",
            (level, _) => level,
        }
    }

    /// What policy lets pass is no open result.
    fn suppressions(&self) -> Value {
        let why = match word(self.finding, "became") {
            "excepted" => "an exception in docker/policy/exceptions.toml",
            "let pass" => word(self.finding, "why"),
            _ => return json!([]),
        };
        json!([{ "kind": "external", "status": "accepted", "justification": plain(why) }])
    }

    /// The same from run to run: of the package where it is in the lock file, else of the image, too.
    fn fingerprint(&self) -> String {
        let word = |key: &str| word(self.finding, key);
        let what = format!("{}/{}@{}", word("id"), word("package"), word("version"));
        match self.place.path.as_str() {
            "Cargo.lock" => format!("vulnerability/{what}"),
            dockerfile => format!("vulnerability/{what}/{dockerfile}"),
        }
    }
}
