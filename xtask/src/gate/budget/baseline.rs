//! The sizes that were accepted (`reports/baseline.json`, committed) and how far an image may grow beyond them
//! (`docker/policy/budget.toml`). Apart for local and upstream bases, whose sizes differ.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{Sizes, mb};
use crate::bases::Origin;
use crate::cache::whole;
use crate::catalogue::Catalogue;
use crate::exit::Failure;
use crate::verdict::Check;

const FILE: &str = "reports/baseline.json";
const POLICY: &str = "docker/policy/budget.toml";

/// One image's accepted sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    pub unpacked_bytes: u64,
    pub compressed_bytes: u64,
}

/// Where the bases come from -> image -> sizes.
type Accepteds = BTreeMap<String, BTreeMap<String, Accepted>>;

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    allowed_growth_percent: f64,
}

/// What sizes are compared with in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    all: Accepteds,
    origin: &'static str,
    allowed_growth_percent: f64,
    /// `--accept`: whatever is measured is what will be compared with from now on.
    accepting: bool,
}

impl Baseline {
    /// Reads the baseline and the policy of the checkout; without a baseline nothing has been accepted yet.
    ///
    /// # Errors
    /// Exit 2: a file that is malformed, or a baseline that speaks of an image that no service has.
    pub fn read(root: &Path, catalogue: &Catalogue, origin: Origin, accepting: bool) -> Result<Self> {
        let policy =
            std::fs::read_to_string(root.join(POLICY)).map_err(|error| wrong(POLICY, &error.to_string()))?;
        let policy: Policy =
            toml::from_str(&policy).map_err(|error| wrong(POLICY, error.to_string().trim()))?;
        let percent = policy.allowed_growth_percent;
        if !percent.is_finite() || percent < 0.0 {
            let why = format!("allowed_growth_percent: {percent} is no number from 0 on");
            return Err(wrong(POLICY, &why));
        }
        let all: Accepteds = match std::fs::read_to_string(root.join(FILE)) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| wrong(FILE, &error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Accepteds::new(),
            Err(error) => return Err(wrong(FILE, &error.to_string())),
        };
        let known = |image: &&String| catalogue.services.iter().any(|service| service.image == **image);
        if let Some(gone) = all.values().flat_map(BTreeMap::keys).find(|image| !known(image)) {
            return Err(wrong(
                FILE,
                &format!("no service has the image '{gone}' any more"),
            ));
        }
        Ok(Baseline {
            all,
            origin: origin.word(),
            allowed_growth_percent: policy.allowed_growth_percent,
            accepting,
        })
    }

    /// What was accepted for an image.
    pub fn of(&self, image: &str) -> Option<Accepted> {
        self.all.get(self.origin)?.get(image).copied()
    }

    /// What an image's verdict depends on here.
    pub fn settings(&self, image: &str) -> serde_json::Value {
        serde_json::json!([self.of(image), self.allowed_growth_percent, self.accepting])
    }

    /// Judges the growth of an image; nothing where no size was accepted yet.
    pub fn judge(&self, image: &str, now: Sizes) -> Option<Check> {
        let before = self.of(image)?.unpacked_bytes;
        let percent = (now.unpacked_bytes as f64 / before.max(1) as f64 - 1.0) * 100.0;
        let words = format!(
            "{percent:+.1} % since the baseline ({} to {})",
            mb(before),
            mb(now.unpacked_bytes)
        );
        let most = (before as f64 * (100.0 + self.allowed_growth_percent) / 100.0).ceil() as u64;
        Some(if self.accepting || now.unpacked_bytes <= most {
            Check::passed("growth", words)
        } else {
            let hint = "find what it brought, or accept it: `cargo xtask budget --accept` moves reports/baseline.json, \
                        visibly in the diff";
            Check::violated(
                "growth",
                format!("{words}, allowed {} %", self.allowed_growth_percent),
                hint,
            )
        })
    }

    /// Accepts the sizes of some images, and writes the file anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn accept(&self, root: &Path, sizes: BTreeMap<String, Accepted>) -> Result<()> {
        let mut all = self.all.clone();
        all.entry(self.origin.to_owned()).or_default().extend(sizes);
        let text = format!("{}\n", serde_json::to_string_pretty(&all)?);
        whole(&root.join(FILE), "new", text.as_bytes()).with_context(|| format!("cannot write {FILE}"))
    }
}

fn wrong(file: &str, why: &str) -> anyhow::Error {
    let hint = match file {
        FILE => "delete reports/baseline.json, and let `cargo xtask budget --accept` write it anew",
        _ => "the keys are described in the file that is shipped",
    };
    Failure::usage(format!("{file}: {why}"), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    fn baseline(unpacked_bytes: u64) -> Baseline {
        let accepted = Accepted {
            unpacked_bytes,
            compressed_bytes: 1,
        };
        let images = BTreeMap::from([("horme-x".to_owned(), accepted)]);
        Baseline {
            all: BTreeMap::from([("local".to_owned(), images)]),
            origin: "local",
            allowed_growth_percent: 5.0,
            accepting: false,
        }
    }

    fn sizes(unpacked_bytes: u64) -> Sizes {
        Sizes {
            unpacked_bytes,
            compressed_bytes: 1,
            layers: 1,
        }
    }

    #[test]
    fn growth_is_measured_from_what_was_accepted() {
        let baseline = baseline(10_000_000);
        assert_eq!(
            baseline.judge("horme-x", sizes(10_500_000)).unwrap().outcome,
            Outcome::Passed
        );
        assert_eq!(
            baseline.judge("horme-x", sizes(2)).unwrap().outcome,
            Outcome::Passed
        );
        let check = baseline.judge("horme-x", sizes(11_000_000)).unwrap();
        assert_eq!(check.outcome, Outcome::Violated);
        assert_eq!(
            check.detail,
            "+10.0 % since the baseline (10.00 MB to 11.00 MB), allowed 5 %"
        );
        assert!(baseline.judge("horme-y", sizes(1)).is_none());
    }

    #[test]
    fn accepting_moves_some_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("reports")).unwrap();
        let more = Accepted {
            unpacked_bytes: 7,
            compressed_bytes: 3,
        };
        baseline(10)
            .accept(dir.path(), BTreeMap::from([("horme-y".to_owned(), more)]))
            .unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let all: Accepteds = serde_json::from_str(&text).unwrap();
        assert_eq!(all["local"].len(), 2);
        assert_eq!(all["local"]["horme-y"], more);
    }
}
