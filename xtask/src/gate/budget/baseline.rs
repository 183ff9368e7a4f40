//! The sizes that were accepted (`reports/baseline.json`, committed), how far an image may grow beyond them and how
//! much of it may be wasted (`docker/policy/budget.toml`). Apart by bases, local or upstream, and by platform: sizes differ.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::anatomy::Anatomy;
use super::growth::{Accepted, brought, kb};
use super::mb;
use crate::bases::Origin;
use crate::cache::whole;
use crate::catalogue::Catalogue;
use crate::exit::Failure;
use crate::plan::Plan;
use crate::verdict::Check;

const FILE: &str = "reports/baseline.json";
const POLICY: &str = "docker/policy/budget.toml";
/// The platform of the sizes that name none.
const IMPLIED: &str = "linux/amd64";

/// Where the bases come from, and the platform where it is not [`IMPLIED`] -> image -> sizes.
type Accepteds = BTreeMap<String, BTreeMap<String, Accepted>>;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    allowed_growth_percent: f64,
    #[serde(default = "wasted_bytes_max")]
    wasted_bytes_max: u64,
}

/// What policy allows where it does not say: room for a base's own small doubles.
fn wasted_bytes_max() -> u64 {
    262_144
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            allowed_growth_percent: 5.0,
            wasted_bytes_max: wasted_bytes_max(),
        }
    }
}

/// What sizes are compared with in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    all: Accepteds,
    /// Whose sizes are compared: a key of `all`.
    kind: String,
    policy: Policy,
    /// `--accept`: whatever is measured is what will be compared with from now on.
    accepting: bool,
}

impl Baseline {
    /// Reads the baseline and the policy of the checkout; without a baseline nothing has been accepted yet.
    ///
    /// # Errors
    /// Exit 2: a file that is malformed, or a baseline that speaks of an image that no service has.
    pub fn read(root: &Path, catalogue: &Catalogue, plan: &Plan, accepting: bool) -> Result<Self> {
        let policy = match std::fs::read_to_string(root.join(POLICY)) {
            Ok(text) => toml::from_str(&text).map_err(|error| wrong(POLICY, error.to_string().trim()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Policy::default(),
            Err(error) => return Err(wrong(POLICY, &error.to_string())),
        };
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
            kind: kind(plan.bases.origin, &plan.platform),
            policy,
            accepting,
        })
    }

    /// What was accepted for an image.
    pub fn of(&self, image: &str) -> Option<&Accepted> {
        self.all.get(&self.kind)?.get(image)
    }

    /// What an image's verdict depends on here.
    pub fn settings(&self, image: &str) -> serde_json::Value {
        serde_json::json!([self.of(image), self.policy, self.accepting])
    }

    /// Judges the growth of an image; nothing where no size was accepted yet.
    pub fn judge(&self, image: &str, now: &Anatomy) -> Option<Check> {
        let accepted = self.of(image)?;
        let before = accepted.unpacked_bytes;
        let percent = (now.unpacked_bytes as f64 / before.max(1) as f64 - 1.0) * 100.0;
        let words = format!(
            "{percent:+.1} % since the baseline ({} to {})",
            mb(before),
            mb(now.unpacked_bytes)
        );
        let allowed = self.policy.allowed_growth_percent;
        let most = (before as f64 * (100.0 + allowed) / 100.0).ceil() as u64;
        if self.accepting || now.unpacked_bytes <= most {
            return Some(Check::passed("growth", words));
        }
        let parts = brought(accepted, now);
        let parts = parts.unwrap_or_else(|| "what grew is not known: the baseline names no parts".to_owned());
        let hint = "find out what it is worth, or accept it: `cargo xtask budget --accept` moves reports/baseline.json, \
                    visibly in the diff";
        Some(Check::violated(
            "growth",
            format!("{words}, allowed {allowed} %; {parts}"),
            hint,
        ))
    }

    /// Judges the bytes of an image that serve nobody.
    pub fn judge_waste(&self, now: &Anatomy) -> Check {
        let (wasted, most) = (now.wasted_bytes, self.policy.wasted_bytes_max);
        let words = format!("{} kB of at most {} kB", kb(wasted), kb(most));
        if wasted <= most {
            return Check::passed("wasted bytes", words);
        }
        let largest = now.wasted.first().map(|file| {
            let size_kb = kb(file.size_bytes);
            format!("; the largest: {}, {size_kb} kB, {}", file.path, file.why)
        });
        let hint = "copy only what is needed, make and remove in one step, link what is there twice; the limit is \
                    wasted_bytes_max in docker/policy/budget.toml";
        Check::violated("wasted bytes", words + &largest.unwrap_or_default(), hint)
    }

    /// Accepts the sizes of some images, and writes the file anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn accept(&self, root: &Path, sizes: BTreeMap<String, Accepted>) -> Result<()> {
        let mut all = self.all.clone();
        all.entry(self.kind.clone()).or_default().extend(sizes);
        let text = format!("{}\n", serde_json::to_string_pretty(&all)?);
        whole(&root.join(FILE), "new", text.as_bytes()).with_context(|| format!("cannot write {FILE}"))
    }
}

/// `local`, `upstream linux/arm64`.
fn kind(origin: Origin, platform: &str) -> String {
    match platform {
        IMPLIED => origin.word().to_owned(),
        _ => format!("{} {platform}", origin.word()),
    }
}

fn wrong(file: &str, why: &str) -> anyhow::Error {
    let hint = match file {
        FILE => "delete reports/baseline.json, and let `cargo xtask budget --accept` write it anew",
        _ => {
            "its keys are allowed_growth_percent and wasted_bytes_max; without the file they are 5 and 262144"
        }
    };
    Failure::usage(format!("{file}: {why}"), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::budget::anatomy::Wasted;
    use crate::verdict::Outcome;

    fn baseline(accepted: Accepted) -> Baseline {
        let images = BTreeMap::from([("horme-x".to_owned(), accepted)]);
        Baseline {
            all: BTreeMap::from([("local".to_owned(), images)]),
            kind: kind(Origin::Local, IMPLIED),
            policy: Policy {
                allowed_growth_percent: 5.0,
                wasted_bytes_max: 1_000,
            },
            accepting: false,
        }
    }

    fn accepted(unpacked_bytes: u64) -> Accepted {
        Accepted {
            unpacked_bytes,
            ..Accepted::default()
        }
    }

    fn sized(unpacked_bytes: u64) -> Anatomy {
        Anatomy {
            unpacked_bytes,
            ..Anatomy::default()
        }
    }

    #[test]
    fn growth_is_measured_from_what_was_accepted() {
        let baseline = baseline(accepted(10_000_000));
        for small in [10_500_000, 2] {
            let check = baseline.judge("horme-x", &sized(small)).unwrap();
            assert_eq!(check.outcome, Outcome::Passed, "{small}");
        }
        let check = baseline.judge("horme-x", &sized(11_000_000)).unwrap();
        assert_eq!(check.outcome, Outcome::Violated);
        assert_eq!(
            check.detail,
            "+10.0 % since the baseline (10.00 MB to 11.00 MB), allowed 5 %; what grew is not known: the baseline \
             names no parts"
        );
        assert!(baseline.judge("horme-y", &sized(1)).is_none());
        let elsewhere = Baseline {
            kind: kind(Origin::Local, "linux/arm64"),
            ..baseline
        };
        assert!(
            elsewhere.judge("horme-x", &sized(11_000_000)).is_none(),
            "another platform's size"
        );
    }

    #[test]
    fn waste_beyond_the_limit_names_the_largest_file() {
        let mut now = sized(10);
        now.wasted_bytes = 1_000;
        assert_eq!(baseline(accepted(1)).judge_waste(&now).outcome, Outcome::Passed);
        now.wasted_bytes = 412_000;
        now.wasted.push(Wasted {
            path: "/x".into(),
            layer: 0,
            size_bytes: 400_000,
            why: "removed by layer 2".into(),
        });
        let check = baseline(accepted(1)).judge_waste(&now);
        assert_eq!(
            (check.outcome, check.detail.as_str()),
            (
                Outcome::Violated,
                "412 kB of at most 1 kB; the largest: /x, 400 kB, removed by layer 2"
            )
        );
    }

    #[test]
    fn accepting_moves_some_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("reports")).unwrap();
        let more = Accepted {
            crates_kb: BTreeMap::from([("tokio".to_owned(), 300)]),
            ..accepted(7)
        };
        baseline(accepted(10))
            .accept(dir.path(), BTreeMap::from([("horme-y".to_owned(), more.clone())]))
            .unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let all: Accepteds = serde_json::from_str(&text).unwrap();
        assert_eq!(all["local"].len(), 2);
        assert_eq!(all["local"]["horme-y"], more);
    }

    /// What an earlier version wrote: the whole alone.
    #[test]
    fn a_baseline_without_parts_is_read() {
        let text = r#"{"local": {"horme-x": {"unpacked_bytes": 10, "compressed_bytes": 1}}}"#;
        let all: Accepteds = serde_json::from_str(text).unwrap();
        assert_eq!(all["local"]["horme-x"].unpacked_bytes, 10);
        assert!(serde_json::from_str::<Accepteds>(&text.replace("compressed", "packed")).is_err());
    }
}
