//! What is shared with other writers: a list under a tag, to which everyone adds. A registry has no way to write only
//! where nobody else has written: what is read back decides, and every entry that was ever seen is kept.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::context::{Context, Deadline};
use crate::exit::Failure;
use crate::registry::{Raw, Repository};

/// How often it is written before somebody must look: each time another writer came between, or the registry lost what
/// it had acknowledged.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(60);

/// A manifest or index that is a list.
#[derive(Debug)]
pub struct List<'a> {
    pub tag: &'a str,
    pub media_type: &'a str,
    /// `manifests` or `layers`.
    pub field: &'a str,
    /// As it begins, where nobody wrote to it yet.
    pub empty: Value,
}

impl List<'_> {
    /// Adds our entries to those that are there, and sees them there.
    ///
    /// # Errors
    /// Exit 2: under the tag lies something else. Exit 3: the registry keeps losing what it acknowledged.
    pub async fn add(&self, context: &Context, repository: &Repository, ours: &[Value]) -> Result<()> {
        let deadline = Deadline::within(LONGEST);
        let mut seen: Vec<Value> = Vec::new();
        for attempt in 0..=TRIES {
            let there = repository.manifest(self.tag).await?;
            let list = self.parse(repository, there.as_ref())?;
            merge(&mut seen, self.entries(&list));
            let mut wanted = seen.clone();
            merge(&mut wanted, ours);
            if wanted.iter().all(|wanted| is_among(self.entries(&list), wanted)) {
                return Ok(());
            }
            if attempt == TRIES {
                break;
            }
            if attempt > 0 {
                pause(context, attempt, deadline).await?;
                // Somebody wrote meanwhile: what they wrote is read first.
                let now = repository.resolve(self.tag).await?.map(|now| now.digest);
                if now != there.map(|there| there.digest) {
                    continue;
                }
            }
            let bytes = serde_json::to_vec(&self.with_entries(list, wanted))?;
            repository.put_manifest(self.tag, self.media_type, &bytes).await?;
        }
        let what = format!(
            "{}:{} does not keep what is written to it: written {TRIES} times, acknowledged, and lost",
            repository.shown(),
            self.tag
        );
        let hint = "no tag has moved; when the registry is well: `cargo xtask release --resume`";
        Err(Failure::undecided(what, hint).into())
    }

    /// The list that is there, as it is.
    fn parse(&self, repository: &Repository, there: Option<&Raw>) -> Result<Value> {
        let Some(raw) = there else {
            return Ok(self.empty.clone());
        };
        let list = serde_json::from_slice::<Value>(&raw.bytes).ok();
        list.filter(|list| list[self.field].is_array()).ok_or_else(|| {
            let (shown, tag) = (repository.shown(), self.tag);
            let what = format!("{shown}:{tag} lists no {} ({})", self.field, raw.media_type);
            Failure::usage(
                what,
                "it is not ours to replace: find out who wrote it, and delete it",
            )
            .into()
        })
    }

    fn entries<'a>(&self, list: &'a Value) -> &'a [Value] {
        list[self.field].as_array().map_or(&[], Vec::as_slice)
    }

    fn with_entries(&self, mut list: Value, entries: Vec<Value>) -> Value {
        list[self.field] = Value::Array(entries);
        list
    }
}

async fn pause(context: &Context, attempt: u32, deadline: Deadline) -> Result<()> {
    let pause = (FIRST_PAUSE * 2_u32.pow(attempt)).min(deadline.left());
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        () = context.cancel.cancelled() => Err(Failure::undecided("interrupted", "`cargo xtask release --resume`").into()),
    }
}

/// Entries that are not among them yet, at the end.
fn merge(known: &mut Vec<Value>, more: &[Value]) {
    for entry in more {
        if !is_among(known, entry) {
            known.push(entry.clone());
        }
    }
}

/// By digest; signatures of one payload differ in their annotation.
pub fn is_among(known: &[Value], entry: &Value) -> bool {
    let name = |entry: &Value| {
        let signature = &entry["annotations"]["dev.cosignproject.cosign/signature"];
        (entry["digest"].clone(), signature.clone())
    };
    known.iter().any(|known| name(known) == name(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(digit: char, annotations: Value) -> Value {
        json!({ "digest": format!("sha256:{digit}"), "annotations": annotations })
    }

    #[test]
    fn entries_of_others_stay_as_they_are_and_ours_come_after_them() {
        let theirs = |digit| entry(digit, json!({ "of": "another" }));
        let mut known = vec![theirs('a')];
        merge(&mut known, &[theirs('b'), entry('a', Value::Null), theirs('b')]);
        assert_eq!(known, [theirs('a'), theirs('b')]);
        let list = List {
            tag: "x",
            media_type: "y",
            field: "manifests",
            empty: Value::Null,
        };
        let there =
            json!({ "schemaVersion": 2, "annotations": { "kept": "too" }, "manifests": [theirs('a')] });
        let written = list.with_entries(there, known.clone());
        assert_eq!(
            (list.entries(&written), &written["annotations"]["kept"]),
            (&known[..], &json!("too"))
        );
    }

    #[test]
    fn two_signatures_of_one_payload_are_two() {
        let signed = |by: &str| entry('a', json!({ "dev.cosignproject.cosign/signature": by }));
        let mut known = vec![signed("one")];
        merge(&mut known, &[signed("another"), signed("one")]);
        assert_eq!(known, [signed("one"), signed("another")]);
    }
}
