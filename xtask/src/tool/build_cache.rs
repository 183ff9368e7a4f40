//! BuildKit's cache in a registry: what a bake definition needs to take steps from it or to put them there, and how a
//! bake is seen to wait for it. A file of its own: where steps come from decides nothing about the image.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::Call;

/// How long a bake may wait for a cache that says nothing: the steps themselves are all that is lost without it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the steps of a service lie.
pub fn reference(repository: &str, service: &str) -> String {
    format!("{repository}:{service}")
}

/// The definition, whose targets take steps from these references.
pub fn importing(definition: &Value, references: &[String]) -> Value {
    let from: Vec<String> = references
        .iter()
        .map(|reference| format!("type=registry,ref={reference}"))
        .collect();
    with_each(definition, |_, target| target["cache-from"] = json!(from))
}

/// The definition, whose targets put their steps (those of every stage) into the repository, and nothing elsewhere.
pub fn exporting(definition: &Value, repository: &str) -> Value {
    with_each(definition, |name, target| {
        let reference = reference(repository, name);
        target["tags"] = json!([]);
        target["output"] = json!(["type=cacheonly"]);
        target["cache-to"] = json!([format!("type=registry,ref={reference},mode=max")]);
    })
}

fn with_each(definition: &Value, change: impl Fn(&str, &mut Value)) -> Value {
    let mut definition = definition.clone();
    let targets = definition["target"].as_object_mut().into_iter().flatten();
    targets.for_each(|(name, target)| change(name, target));
    definition
}

/// The bake that puts the steps there. Ends itself by no deadline of its own: see the caller's.
pub fn export_call(definition: &Path) -> Call {
    let argv = ["docker", "buildx", "bake", "--progress=plain", "--file"].map(Into::into);
    Call::new(argv.into_iter().chain([definition.as_os_str().to_owned()]))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

/// The blob that says which steps a cache holds, by the manifest that a registry shows (an index or, by newer
/// builders, an image's manifest).
pub fn contents(manifest: &str) -> Option<String> {
    let manifest: Value = serde_json::from_str(manifest).ok()?;
    let is_contents = |entry: &&Value| entry["mediaType"] == CONTENTS;
    let listed = manifest["manifests"].as_array().into_iter().flatten();
    let found = listed.chain([&manifest["config"]]).find(is_contents)?;
    found["digest"].as_str().map(str::to_owned)
}

const CONTENTS: &str = "application/vnd.buildkit.cacheconfig.v0";

/// What a registry's refusal to show a cache means.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It answers, and has none yet.
    Absent,
    /// In its own words.
    Other,
}

/// Reads why `imagetools inspect` did not show a reference.
pub fn refusal(stderr: &str) -> Refusal {
    let absent = ["not found", "manifest unknown", "name unknown", "404 Not Found"];
    let said = stderr.lines().rfind(|line| line.starts_with("ERROR"));
    let no_host = |line: &str| line.contains("no such host") || line.contains("dial tcp");
    match said {
        Some(line) if !no_host(line) && absent.iter().any(|word| line.contains(word)) => Refusal::Absent,
        _ => Refusal::Other,
    }
}

/// Watches a bake's lines for a cache that keeps it waiting.
#[derive(Debug)]
pub struct Waiting {
    /// Steps that read the cache's manifest and did not end yet.
    open: BTreeSet<String>,
    /// Whether the last line was of a layer on its way.
    fetches: bool,
    last: Instant,
}

impl Waiting {
    pub fn new(now: Instant) -> Self {
        Waiting {
            open: BTreeSet::new(),
            fetches: false,
            last: now,
        }
    }

    pub fn line(&mut self, line: &str, now: Instant) {
        let Some((number, rest)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
            return;
        };
        self.last = now;
        if rest.starts_with("importing cache manifest from ") {
            self.open.insert(number.to_owned());
        } else if ["DONE", "ERROR", "CACHED"]
            .iter()
            .any(|word| rest.starts_with(word))
        {
            self.open.remove(number);
        }
        self.fetches = rest.starts_with("sha256:") || rest.starts_with("extracting sha256:");
    }

    /// Whether nothing at all was said for so long.
    pub fn is_quiet_for(&self, limit: Duration, now: Instant) -> bool {
        now.duration_since(self.last) > limit
    }

    /// Whether nothing was said for too long while something was being fetched.
    pub fn is_too_long(&self, now: Instant) -> bool {
        (self.fetches || !self.open.is_empty()) && self.is_quiet_for(PATIENCE, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        json!({ "target": { "shop": { "tags": ["shop:run-1"], "output": ["type=docker"] } } })
    }

    #[test]
    fn a_definition_takes_steps_and_stays_what_it_is() {
        let taken = importing(&definition(), &["r.test/o/cache:shop".to_owned()]);
        let shop = &taken["target"]["shop"];
        assert_eq!(shop["cache-from"][0], "type=registry,ref=r.test/o/cache:shop");
        assert_eq!(shop["output"][0], "type=docker");
    }

    #[test]
    fn what_is_put_there_makes_no_image() {
        let put = exporting(&definition(), "r.test/o/cache");
        let shop = &put["target"]["shop"];
        assert_eq!(
            shop["cache-to"][0],
            "type=registry,ref=r.test/o/cache:shop,mode=max"
        );
        assert_eq!(
            (&shop["output"][0], &shop["tags"]),
            (&json!("type=cacheonly"), &json!([]))
        );
    }

    #[test]
    fn what_says_which_steps_there_are_is_found_in_either_form() {
        let entry = json!({ "mediaType": CONTENTS, "digest": "sha256:ab" });
        let layer =
            json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:cd" });
        let index = json!({ "manifests": [layer, entry] }).to_string();
        assert_eq!(contents(&index).as_deref(), Some("sha256:ab"));
        let image = json!({ "config": entry, "layers": [layer] }).to_string();
        assert_eq!(contents(&image).as_deref(), Some("sha256:ab"));
        assert_eq!(contents(&json!({ "manifests": [layer] }).to_string()), None);
    }

    #[test]
    fn a_registry_without_a_cache_is_told_from_one_that_does_not_answer() {
        assert_eq!(
            refusal("ERROR: 127.0.0.1:5000/o/cache:shop: not found\n"),
            Refusal::Absent
        );
        assert_eq!(
            refusal("ERROR: failed to do request: dial tcp: lookup r.test: no such host\n"),
            Refusal::Other
        );
        assert_eq!(refusal("ERROR: 401 Unauthorized\n"), Refusal::Other);
        assert_eq!(refusal(""), Refusal::Other);
    }

    #[test]
    fn a_bake_that_waits_for_its_cache_is_told_from_one_that_compiles() {
        let begun = Instant::now();
        let late = begun + PATIENCE + Duration::from_secs(1);
        let after = |lines: &[&str]| {
            let mut waiting = Waiting::new(begun);
            lines.iter().for_each(|line| waiting.line(line, begun));
            waiting.is_too_long(late)
        };
        let import = "#6 importing cache manifest from 127.0.0.1:5000/o/cache:shop";
        assert!(after(&[import, "#5 DONE 0.1s"]));
        assert!(!after(&[
            import,
            "#6 DONE 0.1s",
            "#7 1.2    Compiling shop v0.1.0"
        ]));
        assert!(!after(&[import, "#6 ERROR: not found"]));
        assert!(after(&["#8 sha256:0f3c 1.05MB / 30.43MB 1.2s"]));
        assert!(!Waiting::new(begun).is_too_long(late), "a bake that says nothing");
        let mut waiting = Waiting::new(begun);
        waiting.line(import, begun);
        assert!(!waiting.is_too_long(begun + PATIENCE / 2));
        assert!(waiting.is_quiet_for(PATIENCE, late) && !waiting.is_quiet_for(PATIENCE * 2, late));
    }
}
