//! The plan: every detail of a run, worked out ahead of time. Pure; what follows only executes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::bases::Bases;
use crate::catalogue::{Catalogue, Service};
use crate::fingerprint::Inputs;
use crate::tool::bake;
use crate::tool::git::{Head, Revision};
use crate::verdict::Gate;

/// Limits of a run, in milliseconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub boot_deadline_ms: u64,
    pub stop_deadline_ms: u64,
    pub stack_deadline_ms: u64,
    pub recovery_deadline_ms: u64,
    pub memory_bytes: i64,
    pub pids: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            boot_deadline_ms: 30_000,
            stop_deadline_ms: 10_000,
            stack_deadline_ms: 90_000,
            recovery_deadline_ms: 60_000,
            memory_bytes: 256 * 1024 * 1024,
            pids: 128,
        }
    }
}

/// One image, in every detail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImagePlan {
    pub service: Service,
    /// Of the last commit that touched the image's inputs.
    pub revision: Revision,
    /// The build's arguments.
    pub args: BTreeMap<String, String>,
    /// The fingerprint: equal for equal inputs.
    pub key: String,
    #[serde(skip)]
    pub inputs: Inputs,
    /// Built for the network gate alone: its own gates are not asked for.
    pub support: bool,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub images: Vec<ImagePlan>,
    pub gates: Vec<Gate>,
    pub bases: Bases,
    /// The machine's own certificates, handed to the build as a secret.
    pub ca_bundle: Option<PathBuf>,
    /// Of every image, e.g. `linux/amd64`: the engine's own, where the gates can start them.
    pub platform: String,
    pub limits: Limits,
    /// Every manifest that the plan rests on -> the hash of its content.
    #[serde(skip)]
    pub manifests: BTreeMap<PathBuf, String>,
    /// Services outside this run (`--service`), shown as skipped.
    pub left_out: Vec<String>,
    /// What is checked out, where git knows.
    pub head: Option<Head>,
}

impl Plan {
    /// The images whose gates were asked for.
    pub fn judged(&self) -> impl Iterator<Item = &ImagePlan> {
        self.images.iter().filter(|image| !image.support)
    }
}

/// Works out the plan. `revisions` and `inputs` have an entry for every service.
pub fn work_out(
    catalogue: &Catalogue,
    selected: &[Service],
    revisions: &BTreeMap<String, Revision>,
    inputs: &BTreeMap<String, Inputs>,
    bases: Bases,
    platform: &str,
    gates: &[Gate],
) -> Plan {
    let chosen: BTreeSet<&str> = selected.iter().map(|service| service.name.as_str()).collect();
    let stack = [Gate::Network, Gate::Faults];
    let reach = if gates.iter().any(|gate| stack.contains(gate)) {
        reachable(catalogue, &chosen)
    } else {
        chosen.clone()
    };
    let images = catalogue
        .services
        .iter()
        .filter(|service| reach.contains(service.name.as_str()));
    let images = images.map(|service| {
        let revision = revisions.get(&service.name).cloned().unwrap_or(Revision::UNKNOWN);
        let inputs = inputs.get(&service.name).cloned().unwrap_or_default();
        image_plan(
            service,
            revision,
            inputs,
            platform,
            !chosen.contains(service.name.as_str()),
        )
    });
    let left_out = catalogue.services.iter().map(|service| service.name.clone());
    Plan {
        images: images.collect(),
        gates: gates.to_vec(),
        bases,
        ca_bundle: None,
        platform: platform.to_owned(),
        limits: Limits::default(),
        manifests: catalogue.manifests.clone(),
        left_out: left_out.filter(|name| !chosen.contains(name.as_str())).collect(),
        head: None,
    }
}

fn image_plan(
    service: &Service,
    revision: Revision,
    mut inputs: Inputs,
    platform: &str,
    support: bool,
) -> ImagePlan {
    let args = [
        ("IMAGE_VERSION", service.version.clone()),
        ("IMAGE_REVISION", revision.shown()),
        ("IMAGE_CREATED", revision.created()),
        ("SOURCE_DATE_EPOCH", revision.time_s.to_string()),
    ];
    let args: BTreeMap<String, String> = args
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    inputs.arguments = args.clone();
    // The builder sets it by itself; an image for another platform is another image.
    inputs
        .arguments
        .insert("TARGETPLATFORM".to_owned(), platform.to_owned());
    ImagePlan {
        service: service.clone(),
        revision,
        args,
        key: inputs.key(),
        inputs,
        support,
    }
}

/// The chosen services and all that they call, directly or through others.
fn reachable<'a>(catalogue: &'a Catalogue, chosen: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut reach = chosen.clone();
    loop {
        let callers = catalogue
            .services
            .iter()
            .filter(|service| reach.contains(service.name.as_str()));
        let callees: BTreeSet<&str> = callers
            .flat_map(|service| service.calls.iter().map(String::as_str))
            .collect();
        let before = reach.len();
        reach.extend(callees);
        if reach.len() == before {
            return reach;
        }
    }
}

/// The plan as a person reads it. `forecast`: service -> for each gate whether an earlier run answers for it.
pub fn describe(plan: &Plan, notes: &[String], forecast: &[(String, Vec<(Gate, bool)>)]) -> String {
    let mut text = String::new();
    let gates: Vec<&str> = plan.gates.iter().map(|gate| gate.name()).collect();
    let _ = writeln!(text, "gates: {}", gates.join(", "));
    let _ = writeln!(
        text,
        "bases: {} ({})",
        plan.bases.origin.word(),
        plan.bases.reason
    );
    for (from, to) in &plan.bases.contexts {
        let _ = writeln!(text, "  {from}\n    -> {to}");
    }
    let _ = writeln!(text, "platform: {}", plan.platform);
    for note in notes {
        let _ = writeln!(text, "{note}");
    }
    for image in &plan.images {
        let service = &image.service;
        let role = if image.support {
            " (built for the network gate alone)"
        } else {
            ""
        };
        let _ = writeln!(text, "\n{}{role}", service.name);
        let _ = writeln!(text, "  image     {} {}", service.image, service.version);
        let _ = writeln!(text, "  revision  {}", image.revision.shown());
        let _ = writeln!(text, "  key       {}", image.key);
        let _ = writeln!(
            text,
            "  port      {}   budget {} bytes   crates {}",
            service.port,
            service.budget_bytes,
            service.crates.len()
        );
        let _ = writeln!(text, "  needs     {}", words(&service.needs));
        let _ = writeln!(text, "  calls     {}", words(&service.calls));
        let gates = forecast
            .iter()
            .find(|(name, _)| *name == service.name)
            .map(|(_, gates)| gates);
        let word = |(gate, known): &(Gate, bool)| {
            format!("{} {}", gate.name(), if *known { "reused" } else { "runs" })
        };
        let words: Vec<String> = gates.into_iter().flatten().map(word).collect();
        if !words.is_empty() {
            let _ = writeln!(text, "  gates     {}", words.join(", "));
        }
        let _ = writeln!(text, "  alone     {}", bake::plain_build(plan, image).shown());
    }
    if !plan.left_out.is_empty() {
        let _ = writeln!(text, "\nskipped: {} (--service)", plan.left_out.join(", "));
    }
    text
}

fn words(list: &[String]) -> String {
    if list.is_empty() {
        "nothing".to_owned()
    } else {
        list.join(", ")
    }
}
