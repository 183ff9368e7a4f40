//! Where base and store images come from: upstream by tag and digest, or made on this machine from Debian
//! packages by the recipes in docker/bases. Chooses and says why; making them is `make`'s.

mod make;
mod pins;
mod recipe;
mod registry;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

pub use make::{base_packages, make, missing};
use pins::Pins;

use crate::cache::Kept;
use crate::cli::BasesMode;
use crate::context::Context;
use crate::verdict::age;

/// The roles that Dockerfiles name in a `FROM`; all others are run as they are.
const BUILD_ROLES: [&str; 2] = ["builder", "runtime"];

/// Which of the two ways was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Upstream,
    Local,
}

impl Origin {
    pub fn word(self) -> &'static str {
        match self {
            Origin::Upstream => "upstream",
            Origin::Local => "local",
        }
    }
}

/// The chosen base and store images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bases {
    pub origin: Origin,
    /// Why this way, for the reader of plan and report.
    pub reason: String,
    /// For builds: what a Dockerfile names in `FROM` -> what takes its place. Empty upstream.
    pub contexts: BTreeMap<String, String>,
    /// What the Dockerfiles name in `FROM`, whatever takes its place.
    #[serde(skip)]
    pub pinned: Vec<String>,
    /// For running: role (`postgres`, `redis`, `proxy`, `registry`) -> image reference.
    pub images: BTreeMap<String, String>,
}

impl Bases {
    fn upstream(pins: &Pins, reason: String) -> Self {
        let images = pins.iter().filter(|(role, _)| !is_build_role(role));
        let images = images
            .map(|(role, pin)| (role.clone(), pin.upstream.clone()))
            .collect();
        Bases {
            origin: Origin::Upstream,
            reason,
            contexts: BTreeMap::new(),
            pinned: build_pins(pins),
            images,
        }
    }

    fn local(pins: &Pins, tags: &BTreeMap<String, String>, reason: String) -> Self {
        let (mut contexts, mut images) = (BTreeMap::new(), BTreeMap::new());
        for (role, pin) in pins {
            let Some(tag) = tags.get(&pin.local) else { continue };
            if is_build_role(role) {
                contexts.insert(pin.upstream.clone(), format!("docker-image://{tag}"));
            } else {
                images.insert(role.clone(), tag.clone());
            }
        }
        Bases {
            origin: Origin::Local,
            reason,
            contexts,
            pinned: build_pins(pins),
            images,
        }
    }

    /// The names of the local images that builds stand on; none upstream, where the Dockerfiles pin digests.
    pub fn build_images(&self) -> impl Iterator<Item = &str> {
        self.contexts
            .values()
            .map(|to| to.trim_start_matches("docker-image://"))
    }
}

fn is_build_role(role: &str) -> bool {
    BUILD_ROLES.contains(&role)
}

/// Chooses by `mode`; `auto` asks the registries of the two build bases.
///
/// # Errors
/// Exit 2 where pins or recipes are malformed, all faults at once.
pub async fn resolve(context: &Context, mode: BasesMode) -> Result<Bases> {
    let pins = pins::load(&context.root)?;
    let reason = match mode {
        BasesMode::Upstream => return Ok(Bases::upstream(&pins, "asked for".to_owned())),
        BasesMode::Local => "asked for".to_owned(),
        BasesMode::Auto => match answer(context, build_pins(&pins)).await {
            Answer { refusal: None, since } => {
                return Ok(Bases::upstream(
                    &pins,
                    format!("auto: their registries answer{since}"),
                ));
            }
            Answer {
                refusal: Some(why),
                since,
            } => format!("auto: {why}{since}"),
        },
    };
    let tags = recipe::tags(context, &pins)?;
    Ok(Bases::local(&pins, &tags, reason))
}

/// Whether the registries answer, and, for an answer that was given before, when.
struct Answer {
    refusal: Option<String>,
    since: String,
}

/// How long an answer holds: nobody's network changes with every run, and asking takes up to seconds.
const ANSWER_HOLDS: Duration = Duration::from_secs(3600);
/// How long a refusal holds: it may have been a passing fault.
const REFUSAL_HOLDS: Duration = Duration::from_secs(600);

/// Who asked whom.
#[derive(Serialize)]
struct Question<'a> {
    references: &'a [String],
    /// The machine's name: a cache that was carried elsewhere knows nothing of the network there.
    machine: String,
}

/// Asks the registries, or remembers what they answered a while ago (`--fresh` asks anew).
async fn answer(context: &Context, references: Vec<String>) -> Answer {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let question = Question {
        references: &references,
        machine,
    };
    let kept = context.cache.get::<Option<String>>("registry", &question);
    let holds = |kept: &Kept<Option<String>>| {
        let limit = if kept.value.is_some() {
            REFUSAL_HOLDS
        } else {
            ANSWER_HOLDS
        };
        !context.options.fresh && kept.age_s() < limit.as_secs()
    };
    if let Some(kept) = kept.filter(holds) {
        let since = format!(", asked {} ago", age(kept.age_s()));
        return Answer {
            refusal: kept.value,
            since,
        };
    }
    let refusal = registry::answer(context, references.clone()).await.err();
    if !context.cancel.is_cancelled() {
        context.cache.put("registry", &question, &refusal);
    }
    Answer {
        refusal,
        since: String::new(),
    }
}

/// What the Dockerfiles name in `FROM`.
fn build_pins(pins: &Pins) -> Vec<String> {
    BUILD_ROLES
        .iter()
        .filter_map(|role| pins.get(*role))
        .map(|pin| pin.upstream.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins() -> Pins {
        let digest = "a".repeat(64);
        let entry = |role: &str| {
            format!(
                "[{role}]\nupstream = \"{role}:1@sha256:{digest}\"\nlocal = \"{role}\"\ncorroborated_by = [\"a\", \"b\"]\n"
            )
        };
        pins::parse(&["builder", "runtime", "postgres"].map(entry).concat()).unwrap()
    }

    #[test]
    fn upstream_replaces_nothing_and_runs_what_is_pinned() {
        let bases = Bases::upstream(&pins(), "asked for".into());
        assert!(bases.contexts.is_empty());
        assert_eq!(bases.images.keys().collect::<Vec<_>>(), ["postgres"]);
        assert!(bases.images["postgres"].contains("@sha256:"));
    }

    #[test]
    fn local_replaces_every_from_word_for_word() {
        let tags =
            ["builder", "runtime", "postgres"].map(|name| (name.to_owned(), format!("horme-local/{name}:1")));
        let bases = Bases::local(&pins(), &BTreeMap::from(tags), "asked for".into());
        let digest = "a".repeat(64);
        assert_eq!(
            bases.contexts[&format!("builder:1@sha256:{digest}")],
            "docker-image://horme-local/builder:1"
        );
        assert_eq!(bases.contexts.len(), 2);
        assert_eq!(
            bases.images,
            BTreeMap::from([("postgres".to_owned(), "horme-local/postgres:1".to_owned())])
        );
    }
}
