//! Section 4: what an image's configuration, its layers and its Dockerfile show.

use std::io::Read;

use anyhow::{Context as _, Result};

use super::Finding;
use crate::archive;
use crate::gate::boot::{Boot, non_root};
use crate::gate::lint::logical_lines;
use crate::verdict::Outcome;

/// Programs that a service's image has no use for.
const UNNECESSARY: [&str; 12] = [
    "apk", "apt", "apt-get", "bash", "busybox", "curl", "dash", "dpkg", "microdnf", "rpm", "sh", "wget",
];
/// What in a name says that its value is a secret.
const SECRET: [&str; 5] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY"];

/// What section 4 is judged by.
pub(super) struct Evidence {
    user: String,
    env: Vec<String>,
    healthcheck: bool,
    /// Instructions of the Dockerfile, continuation lines joined.
    instructions: Vec<(usize, String)>,
    /// Executable files in any layer: path and mode.
    pub programs: Vec<(String, u32)>,
}

impl Evidence {
    pub async fn gather(boot: &Boot<'_>) -> Result<Self> {
        let image = boot.image;
        let (archive, digest) = (image.export(boot.engine).await?.clone(), image.digest.clone());
        let programs = tokio::task::spawn_blocking(move || {
            let mut programs = Vec::new();
            archive::unpack(&archive, &archive::layers(&archive, &digest)?, |layer| {
                executables(layer, &mut programs)
            })?;
            anyhow::Ok(programs)
        });
        Ok(Evidence {
            user: image.user.clone(),
            env: image.env.clone(),
            healthcheck: boot.engine.has_healthcheck(&image.digest).await?,
            instructions: logical_lines(&super::dockerfile(boot)?),
            programs: programs.await??,
        })
    }

    pub fn judge(&self, item: &str) -> Finding {
        match item {
            "4.1" => {
                let check = non_root(&self.user);
                Finding::of(check.outcome == Outcome::Passed, check.detail)
            }
            "4.2" => self.base(),
            "4.3" => self.none_of("unnecessary program", |name, _| UNNECESSARY.contains(&name)),
            "4.4" => Finding::NotApplicable("the scan gate's"),
            "4.5" => {
                Finding::NotApplicable("a setting of the docker client; images are pinned by digest instead")
            }
            "4.6" => Finding::of(
                self.healthcheck,
                if self.healthcheck {
                    "in its configuration"
                } else {
                    "none"
                },
            ),
            "4.7" => self.updates(),
            "4.8" => self.none_of("setuid or setgid program", |_, mode| mode & 0o6000 != 0),
            "4.9" => self.no_instruction("ADD", "no ADD"),
            "4.10" => self.secrets(),
            "4.11" => Finding::NotApplicable("a person's judgement; what ships has no package manager (4.3)"),
            _ => Finding::NotApplicable("the release's: nothing is signed before it"),
        }
    }

    fn words(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.instructions.iter().map(|(line, text)| {
            let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            (*line, word, rest.trim())
        })
    }

    /// The base of what ships must be pinned by digest, or be nothing, or be a stage of this file.
    fn base(&self) -> Finding {
        let froms: Vec<(usize, &str)> = self
            .words()
            .filter(|(_, word, _)| word.eq_ignore_ascii_case("FROM"))
            .map(|(line, _, rest)| (line, rest))
            .collect();
        let stage = |from: &str| from.split_whitespace().last().unwrap_or_default().to_owned();
        let names: Vec<String> = froms.iter().map(|(_, from)| stage(from)).collect();
        let base = |from: &str| {
            from.split_whitespace()
                .find(|word| !word.starts_with("--"))
                .unwrap_or_default()
                .to_owned()
        };
        let floating = froms.iter().find(|(_, from)| {
            let base = base(from);
            base != "scratch" && !base.contains("@sha256:") && !names.contains(&base)
        });
        match floating {
            Some((line, from)) => Finding::Breaks(format!("line {line}: {} has no digest", base(from))),
            None => Finding::Follows("every base is pinned by digest".into()),
        }
    }

    fn none_of(&self, what: &str, odd: impl Fn(&str, u32) -> bool) -> Finding {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match self.programs.iter().find(|(path, mode)| odd(&name(path), *mode)) {
            Some((path, mode)) => Finding::Breaks(format!("/{path} (mode {mode:o})")),
            None => Finding::Follows(format!("no {what} among {} in its layers", self.programs.len())),
        }
    }

    fn updates(&self) -> Finding {
        let alone = self.words().find(|(_, word, rest)| {
            let updates = [
                "apt-get update",
                "apt update",
                "apk update",
                "yum update",
                "dnf update",
            ];
            let update = updates.iter().any(|update| rest.contains(update));
            word.eq_ignore_ascii_case("RUN")
                && update
                && !rest.contains(" install")
                && !rest.contains("apk add")
        });
        match alone {
            Some((line, _, _)) => Finding::Breaks(format!("line {line}: an update without an installation")),
            None => Finding::Follows("none".into()),
        }
    }

    fn no_instruction(&self, unwanted: &str, fine: &str) -> Finding {
        match self
            .words()
            .find(|(_, word, _)| word.eq_ignore_ascii_case(unwanted))
        {
            Some((line, word, rest)) => Finding::Breaks(format!("line {line}: {word} {rest}")),
            None => Finding::Follows(fine.into()),
        }
    }

    /// A value in the Dockerfile or in the configuration whose name says that it is a secret; never the value.
    fn secrets(&self) -> Finding {
        let set = self
            .words()
            .filter(|(_, word, _)| word.eq_ignore_ascii_case("ENV") || word.eq_ignore_ascii_case("ARG"));
        let set = set.flat_map(|(_, _, rest)| rest.split_whitespace());
        let named = set.chain(self.env.iter().map(String::as_str)).find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let secret =
                SECRET.iter().any(|word| name.to_uppercase().contains(word)) && !name.ends_with("_FILE");
            (secret && !value.trim_matches('"').is_empty()).then_some(name)
        });
        match named {
            Some(name) => Finding::Breaks(format!("{name} has a value")),
            None => Finding::Follows("no ENV or ARG with a secret's name has a value".into()),
        }
    }
}

fn executables(layer: &mut dyn Read, programs: &mut Vec<(String, u32)>) -> Result<()> {
    for entry in tar::Archive::new(layer).entries()? {
        let entry = entry.context("a layer is cut off")?;
        let mode = entry.header().mode()?;
        let kind = entry.header().entry_type();
        let link = kind.is_symlink();
        if link || (kind.is_file() || kind.is_hard_link()) && mode & 0o111 != 0 {
            // A link's own mode says nothing.
            let mode = if link { 0 } else { mode };
            programs.push((entry.path()?.display().to_string(), mode));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "FROM rust:1@sha256:aa AS build\nFROM build AS dev\nFROM scratch AS prod\nCOPY x /x\nENV A=b\n";

    fn evidence(dockerfile: &str) -> Evidence {
        Evidence {
            user: "65532".into(),
            env: vec!["PATH=/bin".into()],
            healthcheck: true,
            instructions: logical_lines(dockerfile),
            programs: vec![("x".into(), 0o755)],
        }
    }

    fn breaks(evidence: &Evidence, item: &str) -> bool {
        matches!(evidence.judge(item), Finding::Breaks(_))
    }

    #[test]
    fn a_good_image_breaks_nothing_and_each_fault_breaks_its_item() {
        let all = ["4.1", "4.2", "4.3", "4.6", "4.7", "4.8", "4.9", "4.10"];
        assert!(all.iter().all(|item| !breaks(&evidence(GOOD), item)));
        let broken = |item: &str, evidence: Evidence| {
            let found: Vec<_> = all.iter().filter(|item| breaks(&evidence, item)).collect();
            assert_eq!(found, [&item]);
        };
        broken("4.2", evidence(&GOOD.replace("@sha256:aa", "")));
        broken("4.7", evidence(&format!("{GOOD}RUN apt-get update\n")));
        broken("4.9", evidence(&format!("{GOOD}ADD x.tar /x\n")));
        broken("4.10", evidence(&format!("{GOOD}ARG API_TOKEN=abc\n")));
        let with = |programs: Vec<(String, u32)>| Evidence {
            programs,
            ..evidence(GOOD)
        };
        broken("4.3", with(vec![("bin/sh".into(), 0o755)]));
        broken("4.8", with(vec![("usr/bin/x".into(), 0o4755)]));
        broken(
            "4.1",
            Evidence {
                user: "0".into(),
                ..evidence(GOOD)
            },
        );
        broken(
            "4.6",
            Evidence {
                healthcheck: false,
                ..evidence(GOOD)
            },
        );
    }

    #[test]
    fn a_secret_may_be_named_but_not_given() {
        assert!(!breaks(
            &evidence(&format!("{GOOD}ARG API_TOKEN\nENV SECRET_FILE=/run/x\n")),
            "4.10"
        ));
    }
}
