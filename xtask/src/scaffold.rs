//! `cargo xtask new`: one more service that passes every gate as it is. Everything is looked at first, then all
//! of it is written, or nothing stays.

mod compose;
mod dockerfile;
mod journal;
mod name;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::catalogue::{Catalogue, Service};
use crate::cli::NewOptions;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::planning;
use crate::process;
use crate::report;
use crate::tool::cargo;
use journal::Journal;

/// What a service goes by.
#[derive(Debug, Clone, PartialEq)]
struct Identity {
    /// Package name = binary name = compose service name = network name.
    name: String,
    /// The published repository name.
    image: String,
    port: u16,
}

impl Identity {
    fn of(service: &Service) -> Self {
        Identity {
            name: service.name.clone(),
            image: service.image.clone(),
            port: service.port,
        }
    }
}

/// The files of a crate, relative to its folder, and their templates.
const CRATE: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("scaffold/Cargo.toml.in")),
    ("src/lib.rs", include_str!("scaffold/lib.rs.in")),
    ("src/main.rs", include_str!("scaffold/main.rs.in")),
    ("tests/it/main.rs", include_str!("scaffold/test.rs.in")),
];

/// A compose file, and the entries that it gets in `services` and `networks`; an empty one is none.
struct Addition {
    file: &'static str,
    service: &'static str,
    network: &'static str,
}

/// A provider has a network of its own, which no caller has joined yet.
const COMPOSE: [Addition; 5] = [
    Addition {
        file: "compose/compose.yaml",
        service: include_str!("scaffold/compose.yaml.in"),
        network: "  {{name}}: { internal: true }\n",
    },
    Addition {
        file: "compose/compose.dev.yaml",
        service: include_str!("scaffold/compose.dev.yaml.in"),
        network: "  {{name}}: { internal: false }\n",
    },
    Addition {
        file: "compose/compose.stage.yaml",
        service: "  {{name}}: { <<: *stage }\n",
        network: "",
    },
    Addition {
        file: "compose/compose.prod.yaml",
        service: "  {{name}}: { <<: *prod }\n",
        network: "",
    },
    Addition {
        file: "compose/compose.ci.yaml",
        service: "  {{name}}: { <<: *ci }\n",
        network: "",
    },
];

const LOCK: &str = "Cargo.lock";

/// Every file of a new service, worked out ahead. Paths are relative to the root.
#[derive(Debug)]
struct Scaffold {
    new: Identity,
    created: Vec<(PathBuf, String)>,
    changed: Vec<(PathBuf, String)>,
}

/// Adds a service to the checkout and says what a person would do next.
///
/// # Errors
/// Exit 2 for a name, a port or a description that cannot be had, and for compose files and Dockerfiles that
/// cannot be added to. Whatever fails, the checkout is as it was before.
pub async fn run(context: &Context, options: &NewOptions) -> Result<Exit> {
    name::check(&options.name)?;
    let catalogue = planning::read_catalogue(context).await?;
    let scaffold = work_out(&context.root, &catalogue, options)?;
    let mut journal = Journal::new(&context.root);
    if let Err(error) = carry_out(context, &scaffold, &mut journal).await {
        return taken_back(context, error, journal);
    }
    report::say(describe(&scaffold).trim_end());
    Ok(Exit::Passed)
}

/// What the checkout holds that the new service must get on with.
struct Surroundings {
    lock: String,
    /// The text of each of [`COMPOSE`].
    compose: Vec<(&'static Addition, String)>,
}

impl Surroundings {
    fn read(root: &Path) -> Result<Self> {
        let read = |path: &str| {
            let hint = "run the command in a checkout that has it";
            std::fs::read_to_string(root.join(path))
                .map_err(|error| Failure::usage(format!("cannot read {path}: {error}"), hint))
        };
        let compose = COMPOSE
            .iter()
            .map(|addition| Ok((addition, read(addition.file)?)));
        Ok(Surroundings {
            lock: read(LOCK)?,
            compose: compose.collect::<Result<_, Failure>>()?,
        })
    }

    /// Ports that something listens on or publishes, with the words for it.
    fn ports(&self, catalogue: &Catalogue) -> BTreeMap<u16, String> {
        let mut taken = BTreeMap::new();
        for (addition, text) in &self.compose {
            let published = compose::default_ports(text).map(|port| (port, addition.file.to_owned()));
            taken.extend(published);
        }
        let services = catalogue.services.iter();
        taken.extend(services.map(|service| (service.port, service.name.clone())));
        taken
    }
}

fn work_out(root: &Path, catalogue: &Catalogue, options: &NewOptions) -> Result<Scaffold> {
    let around = Surroundings::read(root)?;
    let description = name::description(&options.description)?;
    let images: Vec<(&str, &str)> = catalogue
        .services
        .iter()
        .map(|service| (service.name.as_str(), service.image.as_str()))
        .collect();
    let image = format!("{}{}", name::prefix(&images), options.name);
    refuse_taken(root, catalogue, &around, &options.name, &image)?;
    let new = Identity {
        name: options.name.clone(),
        image,
        port: name::port(options.port, &around.ports(catalogue))?,
    };
    let fill = |template: &str| fill(template, &new, description);
    let dir = Path::new("services").join(&new.name);
    let mut created: Vec<(PathBuf, String)> = CRATE
        .iter()
        .map(|(file, template)| (dir.join(file), fill(template)))
        .collect();
    created.push(derived_dockerfile(root, catalogue, &new, description)?);
    let changed = around.compose.iter().map(|(addition, text)| {
        let text = added(addition, text, fill)?;
        Ok((addition.file.into(), text))
    });
    let changed = changed.collect::<Result<Vec<_>>>()?;
    Ok(Scaffold {
        new,
        created,
        changed,
    })
}

/// Nothing is ever overwritten: whatever has the name already is named, all of it at once.
fn refuse_taken(
    root: &Path,
    catalogue: &Catalogue,
    around: &Surroundings,
    name: &str,
    image: &str,
) -> Result<()> {
    let mut owners = Vec::new();
    for path in [format!("services/{name}"), format!("docker/Dockerfile.{name}")] {
        if root.join(&path).symlink_metadata().is_ok() {
            owners.push(path);
        }
    }
    // A library's name has underscores where its package has dashes.
    let plain = |name: &str| name.replace('-', "_");
    if locked(&around.lock).any(|locked| plain(locked) == plain(name)) {
        owners.push(format!("a crate in {LOCK}"));
    }
    for (addition, text) in &around.compose {
        for mapping in ["services", "networks"] {
            if compose::keys(text, mapping).contains(&name) {
                owners.push(format!("{} ({mapping})", addition.file));
            }
        }
        let variable = format!("HORME_{}_PORT", shouted(name));
        if text.contains(&format!("${{{variable}:")) {
            owners.push(format!("{} ({variable})", addition.file));
        }
    }
    if let Some(service) = catalogue.services.iter().find(|service| service.image == image) {
        owners.push(format!("the image {image} of {}", service.name));
    }
    if owners.is_empty() {
        return Ok(());
    }
    let what = format!("the name '{name}' is taken: {}", owners.join(", "));
    Err(Failure::usage(what, "choose another name; nothing that is there is overwritten").into())
}

/// The names in a lock file.
fn locked(lock: &str) -> impl Iterator<Item = &str> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \""));
    names.map(|name| name.trim_end_matches('"'))
}

/// The first service's Dockerfile is the model: what all share is taken from the checkout, and cannot drift.
fn derived_dockerfile(
    root: &Path,
    catalogue: &Catalogue,
    new: &Identity,
    description: &str,
) -> Result<(PathBuf, String)> {
    let model = catalogue.services.first().context("the catalogue is empty")?;
    let path = model.dockerfile();
    let text = std::fs::read_to_string(root.join(&path))
        .with_context(|| format!("cannot read {}", path.display()))?;
    let derived = dockerfile::derive(&Identity::of(model), &text, new, description);
    let text = derived.map_err(|lack| {
        let what = format!("{} is no model for another one: it has {lack}", path.display());
        Failure::usage(
            what,
            "write it like the other services' Dockerfiles, then run again",
        )
    })?;
    Ok((format!("docker/Dockerfile.{}", new.name).into(), text))
}

/// A compose file's text with the new service's entries.
fn added(addition: &Addition, text: &str, fill: impl Fn(&str) -> String) -> Result<String> {
    let mut text = text.to_owned();
    for (mapping, entry) in [("services", addition.service), ("networks", addition.network)] {
        if !entry.is_empty() {
            text = compose::append(&text, mapping, &fill(entry)).map_err(|lack| {
                let what = format!("{} cannot be added to: it has {lack}", addition.file);
                Failure::usage(
                    what,
                    "give it what it lacks, as the file is shipped, then run again",
                )
            })?;
        }
    }
    Ok(text)
}

/// A template with its gaps filled in; the description last, so that nothing in it is taken for a gap.
fn fill(template: &str, new: &Identity, description: &str) -> String {
    template
        .replace("{{name}}", &new.name)
        .replace("{{NAME}}", &shouted(&new.name))
        .replace("{{crate}}", &new.name.replace('-', "_"))
        .replace("{{image}}", &new.image)
        .replace("{{port}}", &new.port.to_string())
        .replace("{{description}}", description)
}

/// `price-list` -> `PRICE_LIST`.
fn shouted(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

/// Writes everything, and reads the services anew: what cannot be read is not kept.
async fn carry_out(context: &Context, scaffold: &Scaffold, journal: &mut Journal<'_>) -> Result<()> {
    for (path, text) in &scaffold.created {
        journal.create(path, text)?;
    }
    for (path, text) in &scaffold.changed {
        journal.change(path, text)?;
    }
    let name = &scaffold.new.name;
    let before = journal.remember(Path::new(LOCK))?;
    process::run_ok(context, &cargo::lock_members(&context.root)).await?;
    let after = std::fs::read_to_string(context.root.join(LOCK)).context("cannot read Cargo.lock")?;
    if gained(&before, &after) != [name.as_str()] {
        let what = format!("{LOCK} did not gain the one entry '{name}'");
        let hint = "let Cargo.toml take in `services/*`, and let `cargo update --workspace --offline` change nothing";
        return Err(Failure::usage(what, hint).into());
    }
    let catalogue = planning::read_catalogue(context).await?;
    catalogue.select(std::slice::from_ref(name))?;
    Ok(())
}

/// The names of the entries that a lock file gained. For each entry that it lost, or that reads otherwise now,
/// there is an empty word: then nothing was merely added.
fn gained<'a>(before: &'a str, after: &'a str) -> Vec<&'a str> {
    let (old, new) = (entries(before), entries(after));
    let added = new.difference(&old).flat_map(|entry| locked(entry));
    added.chain(old.difference(&new).map(|_| "")).collect()
}

fn entries(lock: &str) -> BTreeSet<&str> {
    lock.split("\n\n").map(str::trim).collect()
}

/// Undoes what was done, and ends as what went wrong says.
fn taken_back(context: &Context, error: anyhow::Error, journal: Journal<'_>) -> Result<Exit> {
    let left = journal.undo();
    if !left.is_empty() {
        return Err(error.context(format!("not everything could be undone: {}", left.join("; "))));
    }
    match context.interrupted() {
        Some(exit) => {
            report::complain("interrupted: nothing was changed");
            Ok(exit)
        }
        None => Err(error.context("nothing was changed")),
    }
}

/// What was done, what comes next, and what was left to a person on purpose.
fn describe(scaffold: &Scaffold) -> String {
    let Identity { name, image, port } = &scaffold.new;
    let mut text = format!("{name}: the image {image}, on port {port}\n\n");
    for (path, _) in &scaffold.created {
        let _ = writeln!(text, "created  {}", path.display());
    }
    let changed = scaffold.changed.iter().map(|(path, _)| path.as_path());
    for path in changed.chain([Path::new(LOCK)]) {
        let _ = writeln!(text, "changed  {}", path.display());
    }
    let _ = write!(
        text,
        "\nnext:\n  cargo test --package {name}\n  cargo xtask ci --service {name}\n\n\
         Nobody reaches it yet. Who calls it says so in its own `calls`, and joins the network '{name}' in\n\
         compose/compose.yaml; so do the edge (with a route in compose/proxy) and Prometheus (with a line in\n\
         compose/monitoring) where they should know it.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> Identity {
        Identity {
            name: "price-list".to_owned(),
            image: "acme-price-list".to_owned(),
            port: 8004,
        }
    }

    #[test]
    fn no_gap_of_a_template_stays_open() {
        let compose = COMPOSE
            .iter()
            .flat_map(|addition| [addition.service, addition.network]);
        for template in CRATE.iter().map(|(_, template)| *template).chain(compose) {
            let text = fill(template, &new(), "Keeps prices");
            assert!(!text.contains("{{"), "{text}");
        }
        assert_eq!(fill("{{crate}} {{NAME}}", &new(), ""), "price_list PRICE_LIST");
        // Words of a description are never gaps.
        assert_eq!(fill("{{description}}", &new(), "{{name}}"), "{{name}}");
    }

    #[test]
    fn the_base_file_gets_an_entry_and_a_network() {
        let text = "x: [&service {}, &pace {}]\nservices:\n  a: {}\nnetworks:\n  a: {}\n";
        let text = added(&COMPOSE[0], text, |entry| fill(entry, &new(), "")).unwrap();
        insta::assert_snapshot!(text, @r#"
        x: [&service {}, &pace {}]
        services:
          a: {}
          price-list:
            <<: *service
            image: ${HORME_IMAGE_PREFIX:-}acme-price-list:${HORME_VERSION:-latest}
            build: { context: .., dockerfile: docker/Dockerfile.price-list, target: prod }
            expose: ["8004"]
            environment:
              HOST: own.price-list
              PORT: "8004"
            healthcheck:
              test: ["CMD", "/price-list", "healthcheck"]
              <<: *pace
            networks:
              price-list: { aliases: [own.price-list] }
        networks:
          a: {}
          price-list: { internal: true }
        "#);
    }

    #[test]
    fn a_lock_file_may_gain_one_entry_and_nothing_else() {
        let before = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1\"\n";
        let after = format!("{before}\n[[package]]\nname = \"b\"\nversion = \"1\"\n");
        assert_eq!(gained(before, &after), ["b"]);
        assert_eq!(gained(before, before), Vec::<&str>::new());
        let raised = after.replacen("version = \"1\"", "version = \"2\"", 1);
        assert_eq!(gained(before, &raised), ["a", "b", ""]);
    }
}
