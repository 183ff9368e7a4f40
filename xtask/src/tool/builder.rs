//! docker buildx inspect: which builder is the current one, what drives it, and for which platforms it builds.

use std::collections::BTreeSet;

use crate::process::Call;

/// The driver that builds inside the engine: it sees the engine's images, and puts its own there by itself.
const ENGINES_OWN: &str = "docker";

/// The builder that buildx would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    pub name: String,
    pub driver: String,
    /// Empty where it does not say: one that is not running yet.
    pub platforms: BTreeSet<String>,
}

/// Asks for the current builder; starts none.
pub fn inspect() -> Call {
    Call::new(["docker", "buildx", "inspect"]).deadline_s(30)
}

/// Reads what it says; `None` where that is nothing known.
pub fn parse(said: &str) -> Option<Builder> {
    let all = |key: &str| {
        let values = said.lines().filter_map(|line| line.split_once(':'));
        let values = values
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value.trim().to_owned());
        values.collect::<Vec<_>>()
    };
    // A platform that somebody set by hand is marked.
    let platforms = all("Platforms").join(",").replace('*', "");
    let platforms = platforms
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    Some(Builder {
        name: all("Name").into_iter().next()?,
        driver: all("Driver").into_iter().next()?,
        platforms: platforms.map(str::to_owned).collect(),
    })
}

impl Builder {
    /// Whether it is the engine's own, whose builder is called `own`: another context has one with the same driver.
    pub fn is_engines_own(&self, own: &str) -> bool {
        self.driver == ENGINES_OWN && self.name == own
    }

    /// Why it cannot build for a platform over such base images, where the engine's own builder is called `own`, and
    /// what to do; nothing where it can.
    pub fn unfit(&self, own: &str, platform: &str, local_bases: bool) -> Option<(String, String)> {
        let Builder { name, driver, .. } = self;
        let use_own = format!("use the engine's own builder (`BUILDX_BUILDER={own}`)");
        if driver == ENGINES_OWN && name != own {
            return Some((
                format!("the builder '{name}' ({driver}) is another engine's, and leaves its images there"),
                use_own,
            ));
        }
        if local_bases && !self.is_engines_own(own) {
            return Some((
                format!(
                    "the builder '{name}' ({driver}) does not see the base images, which this engine alone has"
                ),
                format!("{use_own}, or upstream bases"),
            ));
        }
        if !self.platforms.is_empty() && !self.platforms.contains(platform) {
            let has = self.platforms.iter().cloned().collect::<Vec<_>>().join(", ");
            return Some((
                format!("the builder '{name}' builds for {has}, the engine's gates need {platform}"),
                format!("name a builder for {platform}: BUILDX_BUILDER, `docker buildx use`"),
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Name:          remo\nDriver:        remote\nLast Activity: 2026-11-21 21:20:52 +0000 UTC\n\nNodes:\n\
                        Name:             remo0\nEndpoint:         tcp://127.0.0.1:5078\nStatus:           running\n\
                        Platforms:        linux/arm64*, linux/arm/v7\nLabels:\n org.mobyproject.buildkit.worker.network: host\n";

    #[test]
    fn the_current_builder_is_read() {
        let builder = parse(SAID).unwrap();
        assert_eq!(
            (builder.name.as_str(), builder.driver.as_str()),
            ("remo", "remote")
        );
        assert!(builder.platforms.contains("linux/arm64"), "{builder:?}");
        assert_eq!(parse("ERROR: no builder \"x\" found\n"), None);
    }

    #[test]
    fn a_builder_must_see_the_bases_and_build_for_the_engine() {
        let far = parse(SAID).unwrap();
        assert!(
            far.unfit("default", "linux/arm64", true)
                .unwrap()
                .0
                .contains("'remo' (remote) does not see")
        );
        assert!(
            far.unfit("default", "linux/amd64", false)
                .unwrap()
                .0
                .contains("need linux/amd64")
        );
        assert_eq!(far.unfit("default", "linux/arm64", false), None);
        let own = Builder {
            driver: "docker".into(),
            platforms: BTreeSet::new(),
            ..far
        };
        assert_eq!(
            own.unfit("remo", "linux/amd64", true),
            None,
            "what it does not say is no reason"
        );
        let (why, hint) = own.unfit("far", "linux/amd64", false).unwrap();
        assert!(why.contains("'remo' (docker) is another engine's"), "{why}");
        assert!(hint.contains("`BUILDX_BUILDER=far`"), "{hint}");
    }
}
