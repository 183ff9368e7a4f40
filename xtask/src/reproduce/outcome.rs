//! What came of it: for each image the digest that was proven, those of the builds, and whether they are the same one;
//! as a table and as a document.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::build::short;
use crate::exit::Exit;
use crate::plan::{ImagePlan, Plan};

/// Raised whenever a field changes its meaning.
const VERSION: u32 = 1;

/// All images.
#[derive(Debug, Serialize)]
pub(super) struct Reproduction {
    version: u32,
    run_id: String,
    /// The commit that was built, in full.
    commit: Option<String>,
    /// `local` or `upstream`.
    bases: &'static str,
    notes: Vec<String>,
    images: Vec<Outcome>,
}

/// One image. Digests are the platform manifest's, `sha256:...`.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) service: String,
    image: String,
    key: String,
    /// What a run built from the very same inputs, and that run.
    pub(super) proven: Option<String>,
    proven_by: Option<String>,
    first: Option<String>,
    /// `None` where the first build said enough.
    second: Option<String>,
    /// What is not the same: between the proven one and the first, or between the two builds.
    pub(super) differences: Vec<String>,
}

impl Outcome {
    /// Nothing was built yet. `proven`: digest and run.
    pub(super) fn begin(image: &ImagePlan, proven: Option<(String, String)>) -> Self {
        let (proven, proven_by) = proven.unzip();
        Outcome {
            service: image.service.name.clone(),
            image: image.service.image.clone(),
            key: image.key.clone(),
            proven,
            proven_by,
            first: None,
            second: None,
            differences: Vec::new(),
        }
    }

    pub(super) fn first(&mut self, digests: &BTreeMap<String, String>) {
        self.first = digests.get(&self.service).cloned();
    }

    pub(super) fn second(&mut self, digests: &BTreeMap<String, String>) {
        self.second = digests.get(&self.service).cloned();
    }

    /// Whether all digests that are known are the same one.
    pub(super) fn holds(&self) -> bool {
        let known = [&self.proven, &self.first, &self.second];
        let mut known = known.into_iter().flatten();
        let one = known.next();
        known.all(|digest| Some(digest) == one)
    }

    /// Two digests that are not the same, in the order in which they came about.
    pub(super) fn pair(&self) -> Option<(String, String)> {
        let first = self.first.clone()?;
        let pair = match (&self.proven, &self.second) {
            (_, Some(second)) => (first, second.clone()),
            (Some(proven), None) => (proven.clone(), first),
            (None, None) => return None,
        };
        (pair.0 != pair.1).then_some(pair)
    }

    /// Two sightings of one digest, at least one of them made here without cache.
    fn is_shown(&self) -> bool {
        self.holds() && self.first.is_some() && (self.second.is_some() || self.proven.is_some())
    }

    fn word(&self) -> &'static str {
        match (self.is_shown(), self.holds()) {
            (true, _) => "the same",
            (_, true) => "unknown: built once",
            _ => "NOT the same",
        }
    }
}

impl Reproduction {
    pub(super) fn new(run_id: &str, plan: &Plan, notes: Vec<String>, images: Vec<Outcome>) -> Self {
        Reproduction {
            version: VERSION,
            run_id: run_id.to_owned(),
            commit: plan.head.as_ref().map(|head| head.commit.clone()),
            bases: plan.bases.origin.word(),
            notes,
            images,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        let exits = self
            .images
            .iter()
            .map(|image| match (image.is_shown(), image.holds()) {
                (true, _) => Exit::Passed,
                (_, true) => Exit::Undecided,
                _ => Exit::Violated,
            });
        exits.fold(Exit::Passed, Exit::worst)
    }

    /// `6 of 6 images the same`.
    pub(super) fn words(&self) -> String {
        let same = self.images.iter().filter(|image| image.is_shown()).count();
        format!("{same} of {} images the same", self.images.len())
    }

    /// A row an image, and under it what differs.
    pub(super) fn table(&self) -> String {
        let widest = self.images.iter().map(|image| image.service.len()).max();
        let width = widest.unwrap_or_default().max("service".len());
        let mut text = String::new();
        let mut row = |cells: [&str; 5]| {
            let [service, proven, first, second, word] = cells;
            let _ = writeln!(
                text,
                "{service:<width$}  {proven:<12}  {first:<12}  {second:<12}  {word}"
            );
        };
        row(["service", "proven", "first", "second", ""]);
        let digest = |digest: &Option<String>| digest.as_deref().map_or("-".to_owned(), short);
        for image in &self.images {
            let digests = [&image.proven, &image.first, &image.second].map(digest);
            row([
                &image.service,
                &digests[0],
                &digests[1],
                &digests[2],
                image.word(),
            ]);
        }
        for image in self.images.iter().filter(|image| !image.differences.is_empty()) {
            let _ = writeln!(text, "\n{}:", image.service);
            image.differences.iter().for_each(|line| {
                let _ = writeln!(text, "  {line}");
            });
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(service: &str, digests: [Option<&str>; 3]) -> Outcome {
        let [proven, first, second] = digests.map(|digest| digest.map(|digest| format!("sha256:{digest}")));
        Outcome {
            service: service.to_owned(),
            image: format!("acme-{service}"),
            key: "k".to_owned(),
            proven_by: proven.as_ref().map(|_| "r1".to_owned()),
            proven,
            first,
            second,
            differences: Vec::new(),
        }
    }

    fn all(images: Vec<Outcome>) -> Reproduction {
        Reproduction {
            version: VERSION,
            run_id: "r2".to_owned(),
            commit: None,
            bases: "local",
            notes: Vec::new(),
            images,
        }
    }

    #[test]
    fn one_sighting_proves_nothing_and_one_that_differs_refutes() {
        let (a, b) = (Some("aa"), Some("bb"));
        let exit = |digests| all(vec![outcome("x", digests)]).exit();
        assert_eq!(exit([None, a, a]), Exit::Passed);
        assert_eq!(exit([a, a, a]), Exit::Passed);
        assert_eq!(exit([None, a, None]), Exit::Undecided);
        assert_eq!(exit([a, None, None]), Exit::Undecided, "bake told no digest");
        assert_eq!(exit([a, b, None]), Exit::Violated);
        assert_eq!(exit([None, a, b]), Exit::Violated);
        let mixed = [outcome("x", [None, a, None]), outcome("y", [a, b, None])];
        assert_eq!(all(mixed.into()).exit(), Exit::Violated);
    }

    #[test]
    fn a_table_names_what_differs() {
        let mut refuted = outcome("data", [Some("aa"), Some("bb"), None]);
        refuted.differences = vec!["layer 2: /data: content".to_owned()];
        let done = all(vec![outcome("frontend", [None, Some("cc"), Some("cc")]), refuted]);
        insta::assert_snapshot!(done.table(), @r"
        service   proven        first         second        
        frontend  -             cc            cc            the same
        data      aa            bb            -             NOT the same

        data:
          layer 2: /data: content
        ");
        assert_eq!(done.words(), "1 of 2 images the same");
    }
}
