//! The CIS Docker Benchmark 1.6.0 (14 June 2023), sections 4 and 5: what an image, its Dockerfile and its entry in
//! the production stack show of each item. The rest is listed as not applicable here, with the reason.

mod image;
mod policy;
mod stack;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Boot, Found};
use crate::context::Context;
use crate::process;
use crate::tool::compose;
use crate::verdict::{Check, Gate, Record};

pub use policy::Policy;

/// The environment whose entry is judged: the one that the benchmark is about.
const ENVIRONMENT: &str = "prod";

/// What is to be found, and the resolved configuration that is looked at: resolved once, when first needed.
#[derive(Debug)]
pub struct Benchmark {
    pub policy: Policy,
    stack: OnceCell<Result<Value, String>>,
}

impl Benchmark {
    pub fn new(policy: Policy) -> Self {
        Benchmark {
            policy,
            stack: OnceCell::new(),
        }
    }
}

/// What an item came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    Follows(String),
    Breaks(String),
    /// Neither image nor container can show it here.
    NotApplicable(&'static str),
}

impl Finding {
    fn of(fine: bool, evidence: impl Into<String>) -> Self {
        let evidence = evidence.into();
        if fine {
            Finding::Follows(evidence)
        } else {
            Finding::Breaks(evidence)
        }
    }
}

/// An item in the record.
#[derive(Debug, Clone, Serialize)]
struct Item {
    item: &'static str,
    title: &'static str,
    /// `passed`, `violated`, `accepted` or `not applicable here`.
    outcome: &'static str,
    evidence: String,
}

/// Items that apply where the engine's kernel has what they ask for.
const BY_KERNEL: [&str; 2] = ["5.2", "5.3"];

/// Number and title of every item of both sections.
const ITEMS: [(&str, &str); 44] = [
    ("4.1", "a user for the container"),
    ("4.2", "trusted base images only"),
    ("4.3", "no unnecessary packages"),
    ("4.4", "images scanned and rebuilt with security patches"),
    ("4.5", "content trust for Docker"),
    ("4.6", "HEALTHCHECK instruction"),
    ("4.7", "update instructions not alone"),
    ("4.8", "no setuid and setgid permissions"),
    ("4.9", "COPY instead of ADD"),
    ("4.10", "no secrets in Dockerfiles"),
    ("4.11", "verified packages only"),
    ("4.12", "signed artifacts validated"),
    ("5.1", "swarm mode off, if not needed"),
    ("5.2", "AppArmor profile, if applicable"),
    ("5.3", "SELinux options, if applicable"),
    ("5.4", "kernel capabilities restricted"),
    ("5.5", "not privileged"),
    ("5.6", "no sensitive host folders mounted"),
    ("5.7", "no sshd"),
    ("5.8", "no privileged ports mapped"),
    ("5.9", "needed ports only"),
    ("5.10", "host's network namespace not shared"),
    ("5.11", "memory limited"),
    ("5.12", "CPU priority set"),
    ("5.13", "read-only root"),
    ("5.14", "incoming traffic bound to one interface"),
    ("5.15", "restart policy on-failure, 5 times"),
    ("5.16", "host's process namespace not shared"),
    ("5.17", "host's IPC namespace not shared"),
    ("5.18", "no host devices"),
    ("5.19", "default ulimit overridden only if needed"),
    ("5.20", "mount propagation not shared"),
    ("5.21", "host's UTS namespace not shared"),
    ("5.22", "default seccomp profile on"),
    ("5.23", "no exec with --privileged"),
    ("5.24", "no exec as root"),
    ("5.25", "cgroup confirmed"),
    ("5.26", "no additional privileges"),
    ("5.27", "health checked at runtime"),
    ("5.28", "latest version of the image"),
    ("5.29", "limit on processes"),
    ("5.30", "default bridge docker0 not used"),
    ("5.31", "host's user namespaces not shared"),
    ("5.32", "Docker socket not mounted"),
];

impl Boot<'_> {
    /// Judges every item; the record gets a check for each that can be judged and is not accepted, and all of them
    /// as the figure `cis`.
    pub(super) async fn benchmark(&self, benchmark: &Benchmark, found: &mut Found) -> Result<()> {
        let evidence = image::Evidence::gather(self).await?;
        let stack = benchmark.stack.get_or_init(|| resolve(self.context)).await;
        let service = &self.image.plan.service;
        let entry = entry(stack, &service.name);
        let stack = entry.as_ref().ok().map(|entry| stack::Evidence {
            entry,
            port: service.port,
            security: &self.engine.security,
            programs: &evidence.programs,
        });
        let mut items = Vec::new();
        for (number, title) in ITEMS {
            let finding = match &stack {
                _ if number.starts_with("4.") => evidence.judge(number),
                Some(stack) => stack.judge(number),
                // What there is no entry for cannot be looked at: one check says so for the whole section.
                None => continue,
            };
            let (item, check) = weigh(number, title, finding, &benchmark.policy);
            found.checks.extend(check);
            items.push(item);
        }
        found.checks.extend(entry.err());
        found.figures.insert("cis".into(), json!(items));
        Ok(())
    }
}

/// A service's entry in the production stack, or what stands for all of section 5 where there is none.
fn entry<'a>(stack: &'a Result<Value, String>, service: &str) -> Result<&'a Value, Check> {
    let stack = stack.as_ref().map_err(|why| {
        let hint = "`docker compose -f compose/compose.yaml -f compose/compose.prod.yaml config` must pass";
        Check::undecided("CIS 5", why, hint)
    })?;
    let entry = &stack["services"][service];
    if entry.is_null() {
        let hint = "give it an entry in compose/compose.yaml";
        let detail = format!("no service '{service}' in the production stack");
        return Err(Check::violated("CIS 5", detail, hint));
    }
    Ok(entry)
}

fn weigh(
    item: &'static str,
    title: &'static str,
    finding: Finding,
    policy: &Policy,
) -> (Item, Option<Check>) {
    let name = format!("CIS {item}");
    let (outcome, evidence, check) = match finding {
        Finding::Follows(evidence) => {
            let check = Check::passed(name, format!("{title}: {evidence}"));
            ("passed", evidence, Some(check))
        }
        Finding::Breaks(evidence) => match policy.reason(item) {
            Some(reason) => ("accepted", format!("{evidence}; {reason}"), None),
            None => {
                let hint = "mend it, or write down in docker/policy/cis.toml why it is not followed";
                let check = Check::violated(name, format!("{title}: {evidence}"), hint);
                ("violated", evidence, Some(check))
            }
        },
        Finding::NotApplicable(why) => ("not applicable here", why.to_owned(), None),
    };
    let item = Item {
        item,
        title,
        outcome,
        evidence,
    };
    (item, check)
}

/// The production stack as compose resolves it.
async fn resolve(context: &Context) -> Result<Value, String> {
    let files = compose::files(ENVIRONMENT);
    let words = ["--profile", "*", "config", "--format", "json"];
    let call = compose::call(&context.root, None, &files, &words).log(context.log("boot-compose-prod"));
    let output = process::run(context, &call).await;
    let output = output.map_err(|error| format!("{error:#}"))?;
    if !output.success() {
        return Err(output.last_lines(3));
    }
    serde_json::from_str(&output.stdout).map_err(|error| format!("its configuration cannot be read: {error}"))
}

/// Adds a violated check to every record where an accepted item is broken by no image; true where it did. Only
/// where every image was looked at.
pub fn unused(policy: &Policy, records: &mut [Record]) -> bool {
    let items = |record: &Record| record.figures.get("cis").and_then(Value::as_array).cloned();
    let Some(all) = records.iter().map(items).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let needless = |item: &str, outcome: &Value| match outcome.as_str() {
        Some("passed") => true,
        // What another engine's kernel has may need the acceptance there.
        Some("not applicable here") => !BY_KERNEL.contains(&item),
        _ => false,
    };
    // An item that was not looked at in one image may be broken by it.
    let unused = |item: &&str| {
        let needless = |found: &Value| found["item"] == **item && needless(item, &found["outcome"]);
        all.iter().all(|items| items.iter().any(needless))
    };
    let unused: Vec<&str> = policy.items().filter(unused).collect();
    if unused.is_empty() || records.is_empty() {
        return false;
    }
    let detail = format!("{}: accepted, but every image follows it", unused.join(", "));
    let check = Check::violated(
        "unused acceptance",
        detail,
        "take it out of docker/policy/cis.toml",
    );
    for record in records {
        let mut checks = std::mem::take(&mut record.checks);
        checks.push(check.clone());
        let judged = Record::from_checks(&record.service, Gate::Boot, checks, "");
        (record.checks, record.outcome, record.reason) = (judged.checks, judged.outcome, judged.reason);
    }
    true
}

/// The text of a service's Dockerfile.
fn dockerfile(boot: &Boot<'_>) -> Result<String> {
    let path = boot.image.plan.service.dockerfile();
    std::fs::read_to_string(boot.context.root.join(&path))
        .with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    const ACCEPTED: &str = "[[accepted]]\nitem = \"5.15\"\nowner = \"ann\"\nreason = \"it must come back\"\n";

    fn record(outcome: &str) -> Record {
        let checks = vec![Check::passed("live", "")];
        Record::from_checks("x", Gate::Boot, checks, "")
            .figure("cis", json!([{ "item": "5.15", "outcome": outcome }]))
    }

    #[test]
    fn what_is_broken_is_violated_unless_it_is_accepted_with_a_reason() {
        let policy = Policy::parse(ACCEPTED).unwrap();
        let broken = || Finding::Breaks("restart: always".into());
        let (item, check) = weigh("5.15", "", broken(), &policy);
        assert_eq!((item.outcome, check), ("accepted", None));
        assert!(item.evidence.contains("it must come back"), "{}", item.evidence);
        let (item, check) = weigh("5.13", "", broken(), &policy);
        assert_eq!(
            (item.outcome, check.unwrap().outcome),
            ("violated", Outcome::Violated)
        );
        let (item, check) = weigh("5.1", "", Finding::NotApplicable("the host's"), &policy);
        assert_eq!((item.outcome, check), ("not applicable here", None));
    }

    #[test]
    fn an_acceptance_that_no_image_needs_fails_once_all_were_looked_at() {
        let policy = Policy::parse(ACCEPTED).unwrap();
        let mut records = [record("passed"), record("accepted")];
        assert!(!unused(&policy, &mut records));
        let mut records = [record("passed"), record("passed")];
        assert!(unused(&policy, &mut records));
        assert!(records.iter().all(|record| record.outcome == Outcome::Violated));
        let mut records = [record("passed"), record("passed")];
        records[1].figures.clear();
        assert!(!unused(&policy, &mut records), "one image was not looked at");
        records[1].figures.insert("cis".into(), json!([]));
        assert!(
            !unused(&policy, &mut records),
            "one image was not looked at in full"
        );
    }

    #[test]
    fn an_acceptance_that_another_kernel_needs_may_stay() {
        let not_here = |item: &str| {
            let policy = Policy::parse(&ACCEPTED.replace("5.15", item)).unwrap();
            let items = json!([{ "item": item, "outcome": "not applicable here" }]);
            let record = Record::from_checks("x", Gate::Boot, Vec::new(), "").figure("cis", items);
            unused(&policy, &mut [record])
        };
        assert!(!not_here("5.2"));
        assert!(not_here("5.1"));
    }

    #[test]
    fn without_an_entry_one_check_stands_for_the_section() {
        let outcome = |stack| entry(&stack, "x").map_err(|check| check.outcome).cloned();
        assert_eq!(outcome(Err("no compose".into())), Err(Outcome::Undecided));
        assert_eq!(outcome(Ok(json!({ "services": {} }))), Err(Outcome::Violated));
        let stack = json!({ "services": { "x": { "restart": "no" } } });
        assert_eq!(outcome(Ok(stack)), Ok(json!({ "restart": "no" })));
    }
}
