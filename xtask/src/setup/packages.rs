//! Debian packages. On bookworm the engine and its plugins come from trixie, pinned low so that nothing else
//! does: bookworm's own engine is too old for the builds.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::apt::{self, Mirror};
use crate::catalogue::printed_size;
use crate::context::Context;
use crate::event::Progress;
use crate::exit::Failure;
use crate::process::{self, Call};

const SOURCES: &str = "/etc/apt/sources.list.d/horme.sources";
const PREFERENCES: &str = "/etc/apt/preferences.d/horme";
const LOG: &str = "setup-packages";

/// Packages that bookworm has too old, or not at all, and the suite that has them.
const FROM_ELSEWHERE: [(&str, &str); 7] = [
    ("containerd", "trixie"),
    ("cosign", "trixie"),
    ("docker-buildx", "trixie"),
    ("docker-cli", "trixie"),
    ("docker-compose", "trixie"),
    ("docker.io", "trixie"),
    ("upx-ucl", "bookworm-backports"),
];

/// Whether this machine is one whose packages we know how to install; if not, why.
pub(super) fn installable() -> Result<(), String> {
    let system = apt::system().ok_or("this system has no /etc/os-release")?;
    if system.id != "debian" || !["bookworm", "trixie"].contains(&system.codename.as_str()) {
        return Err(format!(
            "we know Debian 12 and 13 only, this is {} {}",
            system.id, system.codename
        ));
    }
    if !rustix::process::geteuid().is_root() {
        return Err("installing packages needs root".to_owned());
    }
    if apt::mirror().is_none() {
        return Err("the apt configuration names no mirror of this release".to_owned());
    }
    Ok(())
}

/// Installs packages, each with what it depends on and nothing that it merely recommends.
pub(super) async fn install(context: &Context, packages: &[&str]) -> Result<()> {
    let refuse = |why: String| {
        Failure::undecided(
            format!("cannot install {}: {why}", packages.join(", ")),
            "install them by hand",
        )
    };
    installable().map_err(refuse)?;
    let bookworm = apt::system().is_some_and(|system| system.codename == "bookworm");
    if bookworm && packages.iter().any(|package| suite(package).is_some()) {
        let mirror = apt::mirror().ok_or_else(|| refuse("no mirror".to_owned()))?;
        write_sources(context, &mirror)?;
    }
    let named: Vec<String> = packages
        .iter()
        .map(|package| with_suite(package, bookworm))
        .collect();
    context
        .board
        .note(&format!("setup: installing Debian packages: {}", named.join(" ")));
    let updating = context.board.step("reading package lists");
    let update = Call::new(["apt-get", "update", "-q"])
        .deadline_s(180)
        .log(context.log(LOG));
    process::run_ok(context, &update).await?;
    drop(updating);
    let mut argv = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
        .map(str::to_owned)
        .to_vec();
    argv.extend(named);
    let install = Call::new(argv)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .finishing()
        .deadline_s(600)
        .log(context.log(LOG));
    let _under_way = context.board.step("installing packages");
    let mut fetched = Fetched::default();
    let installed = process::run_ok_observed(context, &install, |line| {
        if let Some(progress) = fetched.line(line) {
            context.board.progress(progress);
        }
    });
    installed.await.map(drop)
}

/// How far apt is, by what it says: first it fetches, then it unpacks and sets up.
#[derive(Debug, Default)]
struct Fetched {
    bytes: u64,
    total: Option<u64>,
}

impl Fetched {
    fn line(&mut self, line: &str) -> Option<Progress> {
        if let Some(rest) = line.strip_prefix("Need to get ") {
            // `1,234 kB of archives.`, or `1,234 kB/5,678 kB of archives.` where some are there already.
            self.total = amount(rest.split(['/']).next()?.trim_end_matches(" of archives."));
        } else if line.starts_with("Get:") {
            self.bytes += line
                .rsplit_once('[')
                .and_then(|(_, size)| amount(size.trim_end_matches(']')))?;
            return Some(Progress {
                done: Some(self.bytes),
                total: self.total.filter(|total| *total >= self.bytes),
                unit: Some("bytes".to_owned()),
                ..Progress::default()
            });
        }
        let at_work = ["Unpacking ", "Setting up "]
            .iter()
            .any(|word| line.starts_with(word));
        at_work.then(|| Progress {
            text: line.split(" (").next().unwrap_or(line).to_lowercase(),
            ..Progress::default()
        })
    }
}

/// `1,234 kB` in bytes.
fn amount(text: &str) -> Option<u64> {
    printed_size(&text.replace(',', ""))
}

fn suite(package: &str) -> Option<&'static str> {
    FROM_ELSEWHERE
        .iter()
        .find(|(name, _)| *name == package)
        .map(|(_, suite)| *suite)
}

fn with_suite(package: &str, bookworm: bool) -> String {
    match suite(package).filter(|_| bookworm) {
        Some(suite) => format!("{package}/{suite}"),
        None => package.to_owned(),
    }
}

fn write_sources(context: &Context, mirror: &Mirror) -> Result<()> {
    for (path, text) in [(SOURCES, sources(mirror)), (PREFERENCES, preferences())] {
        if std::fs::read_to_string(path).is_ok_and(|known| known == text) {
            continue;
        }
        context.board.note(&format!("setup: writing {path}"));
        let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

fn sources(mirror: &Mirror) -> String {
    let keyring = mirror
        .keyring
        .as_ref()
        .map(|keyring| format!("Signed-By: {keyring}\n"))
        .unwrap_or_default();
    format!(
        "Types: deb\nURIs: {}\nSuites: trixie bookworm-backports\nComponents: main\n{keyring}",
        mirror.uri
    )
}

/// Below every other source: only what is named with its suite is taken from here.
fn preferences() -> String {
    ["trixie", "bookworm-backports"]
        .map(|suite| format!("Package: *\nPin: release n={suite}\nPin-Priority: 50\n"))
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_old_comes_from_elsewhere() {
        assert_eq!(with_suite("docker.io", true), "docker.io/trixie");
        assert_eq!(with_suite("docker.io", false), "docker.io");
        assert_eq!(with_suite("mmdebstrap", true), "mmdebstrap");
    }

    #[test]
    fn the_machines_own_mirror_and_keyring_are_used() {
        let mirror = Mirror {
            uri: "http://mirror.test/debian".into(),
            keyring: Some("/k.gpg".into()),
        };
        let text = sources(&mirror);
        assert!(
            text.contains("URIs: http://mirror.test/debian\n") && text.ends_with("Signed-By: /k.gpg\n"),
            "{text}"
        );
        assert!(
            !sources(&Mirror {
                keyring: None,
                ..mirror
            })
            .contains("Signed-By")
        );
    }

    #[test]
    fn what_apt_fetches_is_told_of_all_there_is() {
        let mut fetched = Fetched::default();
        assert_eq!(fetched.line("Need to get 85.1 MB of archives."), None);
        let got =
            fetched.line("Get:1 http://mirror.test/debian trixie/main amd64 runc amd64 1.1.15 [3,102 kB]");
        let got = got.unwrap();
        assert_eq!((got.done, got.total), (Some(3_102_000), Some(85_100_000)));
        assert_eq!(
            fetched.line("Setting up runc (1.1.15) ...").unwrap().text,
            "setting up runc"
        );
        assert_eq!(fetched.line("Reading package lists..."), None);
        assert!(fetched.line("Get:2 something without a size").is_none());
    }
}
