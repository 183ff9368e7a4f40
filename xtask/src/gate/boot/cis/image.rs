//! Section 4: what an image's configuration, its layers and its Dockerfile show.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Finding;
use crate::archive;
use crate::gate::boot::{Boot, non_root};
use crate::gate::lint::{floating, is_root, logical_lines};
use crate::gate::scan::configuration::secret;
use crate::gate::scan::files::MANAGERS;
use crate::verdict::Outcome;

/// Programs that a service's image has no use for, beside package managers.
const UNNECESSARY: [&str; 6] = ["bash", "busybox", "curl", "dash", "sh", "wget"];

/// What section 4 is judged by.
pub(super) struct Evidence {
    user: String,
    /// The text of the image's `/etc/passwd`.
    passwd: String,
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
        let contents = tokio::task::spawn_blocking(move || Contents::read(&archive, &digest)).await??;
        Ok(Evidence {
            user: image.user.clone(),
            passwd: contents.passwd.map(|(_, text)| text).unwrap_or_default(),
            env: image.env.clone(),
            healthcheck: boot.engine.has_healthcheck(&image.digest).await?,
            instructions: logical_lines(&super::dockerfile(boot)?),
            programs: contents.programs,
        })
    }

    pub fn judge(&self, item: &str) -> Finding {
        match item {
            "4.1" if named_root(&self.user, &self.passwd) => {
                Finding::Breaks(format!("user {} is 0 in its /etc/passwd", self.user))
            }
            "4.1" => {
                let check = non_root(&self.user);
                Finding::of(check.outcome == Outcome::Passed, check.detail)
            }
            "4.2" => self.base(),
            "4.3" => self.none_of("unnecessary program", |name, _| {
                UNNECESSARY.contains(&name) || MANAGERS.contains(&name)
            }),
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

    /// Every base must be pinned by digest, or be nothing, or be a stage above.
    fn base(&self) -> Finding {
        let froms = self
            .words()
            .filter(|(_, word, _)| word.eq_ignore_ascii_case("FROM"));
        let stages: Vec<(usize, &str, &str)> = froms
            .map(|(line, _, rest)| {
                let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
                let base = words.next().unwrap_or_default();
                // `AS name`
                (line, base, words.nth(1).unwrap_or_default())
            })
            .collect();
        match floating(stages.iter().map(|(_, base, name)| (*base, *name))).map(|place| stages[place]) {
            Some((line, base, _)) => Finding::Breaks(format!("line {line}: {base} has no digest")),
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

    /// A value in the Dockerfile or in the configuration that reads like a secret, as the scan gate sees it; never
    /// the value.
    fn secrets(&self) -> Finding {
        let mut set: Vec<(&str, &str)> = Vec::new();
        for (_, word, rest) in self.words() {
            if word.eq_ignore_ascii_case("ENV") || word.eq_ignore_ascii_case("ARG") {
                set.extend(pairs(rest));
            }
        }
        set.extend(self.env.iter().filter_map(|pair| pair.split_once('=')));
        let found = set
            .into_iter()
            .find_map(|(name, value)| Some((name, secret(name, value.trim_matches(['"', '\'']))?)));
        match found {
            Some((name, why)) => Finding::Breaks(format!("{name} holds {why}")),
            None => Finding::Follows("no ENV or ARG holds what reads like a secret".into()),
        }
    }
}

/// What an ENV or ARG sets: `name=value ...`, or the old `name value`.
fn pairs(rest: &str) -> Vec<(&str, &str)> {
    match rest.split_once(char::is_whitespace) {
        Some((name, value)) if !name.contains('=') => vec![(name, value.trim())],
        _ => rest
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .collect(),
    }
}

/// What of an image's layers section 4 is judged by.
#[derive(Default)]
struct Contents {
    programs: Vec<(String, u32)>,
    /// The text of `/etc/passwd`, with the place of the layer that has it.
    passwd: Option<(usize, String)>,
}

impl Contents {
    fn read(archive: &Path, digest: &str) -> Result<Self> {
        let mut contents = Contents::default();
        let layers = archive::layers(archive, digest)?;
        archive::unpack_each(archive, &layers, |places, layer| {
            contents.add(places.iter().copied().max().unwrap_or_default(), layer)
        })?;
        Ok(contents)
    }

    fn add(&mut self, place: usize, layer: &mut dyn Read) -> Result<()> {
        for entry in tar::Archive::new(layer).entries()? {
            let mut entry = entry.context("a layer is cut off")?;
            let path = entry.path()?.display().to_string();
            let mode = entry.header().mode()?;
            let kind = entry.header().entry_type();
            let link = kind.is_symlink();
            if kind.is_file() && path.trim_start_matches("./") == "etc/passwd" {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                // The archive's order is not the layers'.
                if self.passwd.as_ref().is_none_or(|(known, _)| *known <= place) {
                    self.passwd = Some((place, String::from_utf8_lossy(&bytes).into_owned()));
                }
            }
            if link || (kind.is_file() || kind.is_hard_link()) && mode & 0o111 != 0 {
                // A link's own mode says nothing.
                self.programs.push((path, if link { 0 } else { mode }));
            }
        }
        Ok(())
    }
}

/// Whether an image's own list of users gives a name the number of root.
fn named_root(user: &str, passwd: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users.any(|fields| matches!(fields[..], [known, _, number, ..] if known == name && is_root(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "FROM rust:1@sha256:aa AS build\nFROM build AS dev\nFROM scratch AS prod\nCOPY x /x\nENV A=b\n";

    fn evidence(dockerfile: &str) -> Evidence {
        Evidence {
            user: "65532".into(),
            passwd: "root:x:0:0::/:\napp:x:7:7::/:\ntoor:x:0:0::/:\n".into(),
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
        broken("4.2", evidence(&format!("FROM debian\n{GOOD}")));
        broken("4.2", evidence(&format!("FROM debian AS debian\n{GOOD}")));
        broken("4.7", evidence(&format!("{GOOD}RUN apt-get update\n")));
        broken("4.9", evidence(&format!("{GOOD}ADD x.tar /x\n")));
        broken("4.10", evidence(&format!("{GOOD}ARG API_TOKEN=abc\n")));
        broken("4.10", evidence(&format!("{GOOD}ENV API_TOKEN abc\n")));
        broken("4.10", evidence(&format!("{GOOD}ENV A=b URL=postgres://u:p@h\n")));
        let with = |programs: Vec<(String, u32)>| Evidence {
            programs,
            ..evidence(GOOD)
        };
        broken("4.3", with(vec![("bin/sh".into(), 0o755)]));
        broken("4.3", with(vec![("usr/bin/pip".into(), 0o755)]));
        broken("4.8", with(vec![("usr/bin/x".into(), 0o4755)]));
        for user in ["0", "toor"] {
            broken(
                "4.1",
                Evidence {
                    user: user.into(),
                    ..evidence(GOOD)
                },
            );
        }
        broken(
            "4.6",
            Evidence {
                healthcheck: false,
                ..evidence(GOOD)
            },
        );
    }

    #[test]
    fn the_list_of_users_is_the_topmost_layers() {
        let layer = |text: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            let mut tar = tar::Builder::new(Vec::new());
            tar.append_data(&mut header, "etc/passwd", text.as_bytes())
                .unwrap();
            tar.into_inner().unwrap()
        };
        let mut contents = Contents::default();
        for (place, text) in [(1, "upper"), (0, "lower")] {
            contents.add(place, &mut layer(text).as_slice()).unwrap();
        }
        assert_eq!(contents.passwd, Some((1, "upper".to_owned())));
    }

    #[test]
    fn a_secret_may_be_named_but_not_given() {
        assert!(!breaks(
            &evidence(&format!(
                "{GOOD}ARG API_TOKEN\nENV SECRET_FILE=/run/x TOKEN_TTL=3600\n"
            )),
            "4.10"
        ));
    }
}
