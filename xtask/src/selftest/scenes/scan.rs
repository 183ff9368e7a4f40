//! What the scan gate must catch: in images, in its own policy, and in the tools that it looks with.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{Maker, caught, passes, undecided, violated};
use crate::exit::Exit;
use crate::gate::scan::yanked::{self, Answers};
use crate::selftest::database::{self, VULNERABLE};
use crate::selftest::fixture::{Fixture, Lists};
use crate::selftest::scene::{Case, Fault, Scene};
use crate::verdict::Gate;

const POLICY: &str = "docker/policy/scan.toml";
const LICENCES: &str = "docker/policy/licences.toml";
const EXCEPTIONS: &str = "docker/policy/exceptions.toml";

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    let yanked = vec![
        caught(
            vulnerable(make, "yanked-crate"),
            of("yanked crates", "smallvec 0.6.13"),
        )
        .also(&["vulnerabilities"]),
    ];
    [
        vec![
            with_database("scan", images(make)),
            with_database("scan-yanked", yanked).seeded(|context| {
                let (name, version, _) = VULNERABLE;
                let yanked = [format!("{name} {version}")].into();
                let answers = Answers {
                    yanked,
                    asked: 1,
                    ..Answers::default()
                };
                yanked::remember(context, &Some(answers));
            }),
            with_database(
                "scan-licence",
                vec![caught(
                    make.good("licence"),
                    of("licences", "gone (GPL-3.0-only)"),
                )],
            )
            .also_prepared(|checkout, _| {
                let licences = std::fs::read_to_string(checkout.path(LICENCES))?;
                let of_nobody =
                    "[[exception]]\ncrate = \"gone\"\nlicence = \"GPL-3.0-only\"\nreason = \"x\"\n";
                Ok(checkout.put(LICENCES, &format!("{licences}\n{of_nobody}"))?)
            }),
            stale_database(make),
            future_database(make),
            corrupt_database(make),
        ],
        vec![no_database(make)],
        exceptions(make),
        scanners(make),
        policies(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of(check: &'static str, words: &'static str) -> Fault {
    violated(Gate::Scan, check, words)
}

fn with_database(name: &'static str, cases: Vec<Case>) -> Scene {
    Scene::new(name, &[Gate::Scan], cases).prepared(|checkout, options| {
        options.vuln_db = Some(database::put(&checkout.root, 0)?);
        Ok(())
    })
}

fn vulnerable(make: Maker<'_>, name: &str) -> Fixture {
    Fixture {
        crates: vec![(VULNERABLE.0, VULNERABLE.1)],
        ..make.good(name)
    }
}

/// One more file in the image: where the binary is copied, copy it there first.
fn with_file(make: Maker<'_>, name: &'static str, copy: &str) -> Fixture {
    make.edited(
        name,
        &[("COPY --link bin", &format!("COPY {copy}\nCOPY --link bin"))],
    )
}

fn images(make: Maker<'_>) -> Vec<Case> {
    let opaque = Fixture {
        lists: Lists::Nothing,
        ..make.good("no-crates")
    };
    let partial = Fixture {
        lists: Lists::ItselfAlone,
        crates: vec![("quiet", "1.0.0")],
        ..make.good("crates-missing")
    };
    let mut labelled = make.good("secret-in-label");
    labelled
        .labels
        .push("api_token=ghp_0123456789abcdefghij0123456789abcdef".to_owned());
    let leaky = Fixture {
        files: vec![(
            "srv/settings.ini",
            "[deploy]\ntoken = ghp_0123456789abcdefghij0123456789abcdef\n".to_owned(),
        )],
        ..make.good("secret-in-layer")
    };
    let unrated = Fixture {
        crates: vec![("horme-fixture-unrated", "1.0.0")],
        ..make.good("unrated-crate")
    };
    let low = Fixture {
        crates: vec![("horme-fixture-low", "1.0.0"), ("horme-fixture-unfixed", "1.0.0")],
        ..make.good("below-the-policy")
    };
    vec![
        passes(make.good("good-image")),
        passes(low),
        caught(unrated, of("vulnerabilities", "UNKNOWN CVE-2099-0003")),
        caught(leaky, of("secrets", "settings.ini")),
        caught(opaque, of("crates", "sees no crates")),
        caught(partial, of("crates", "not seen: quiet 1.0.0")),
        caught(
            vulnerable(make, "vulnerable-crate"),
            of("vulnerabilities", "CRITICAL CVE-2021-25900 in smallvec 0.6.13"),
        ),
        caught(
            make.edited(
                "secret-in-env",
                &[("ENV MODE=", "ENV DB_PASSWORD=hunter2-of-the-fixture MODE=")],
            ),
            of("secrets in the configuration", "DB_PASSWORD"),
        )
        .also(&["misconfigurations"]),
        caught(labelled, of("secrets in the configuration", "api_token")).also(&["secrets"]),
        caught(
            with_file(make, "setuid-file", "--chmod=4755 bin/setuid-file /su"),
            of("files", "/su runs as its owner or group"),
        ),
        caught(
            with_file(
                make,
                "package-manager",
                "--chmod=755 bin/package-manager /usr/bin/apt-get",
            ),
            of("files", "/usr/bin/apt-get is a package manager"),
        ),
        caught(
            with_file(make, "writable-file", "--chmod=666 bin/writable-file /etc/passwd"),
            of("files", "/etc/passwd may be written by everybody"),
        ),
    ]
}

fn stale_database(make: Maker<'_>) -> Scene {
    let stale = undecided(Gate::Scan, "vulnerabilities", "the database is 400 days old");
    let finds = of("vulnerabilities", "CVE-2021-25900");
    let cases = vec![
        caught(make.good("stale-and-clean"), stale),
        caught(vulnerable(make, "stale-but-found"), finds),
    ];
    Scene::new("scan-stale-database", &[Gate::Scan], cases).prepared(|checkout, options| {
        options.vuln_db = Some(database::put(&checkout.root, 400)?);
        Ok(())
    })
}

/// A clock that is behind, or a database that lies: nobody knows how old it is.
fn future_database(make: Maker<'_>) -> Scene {
    let undecided = undecided(Gate::Scan, "vulnerabilities", "to come");
    let case = caught(make.good("future-database"), undecided);
    Scene::new("scan-future-database", &[Gate::Scan], vec![case]).prepared(|checkout, options| {
        options.vuln_db = Some(database::put(&checkout.root, -10)?);
        Ok(())
    })
}

fn no_database(make: Maker<'_>) -> Scene {
    let undecided = undecided(Gate::Scan, "vulnerabilities", "no database");
    let case = caught(make.good("no-database"), undecided);
    Scene::new("scan-no-database", &[Gate::Scan], vec![case])
}

fn corrupt_database(make: Maker<'_>) -> Scene {
    let undecided = undecided(Gate::Scan, "vulnerabilities", "trivy.db");
    let case = caught(make.good("corrupt-database"), undecided);
    Scene::new("scan-corrupt-database", &[Gate::Scan], vec![case]).prepared(|checkout, options| {
        options.vuln_db = Some(database::put_half(&checkout.root)?);
        Ok(())
    })
}

fn exception(expires: &str) -> String {
    format!(
        "[[exception]]\nid = \"{}\"\npackage = \"{}\"\nowner = \"ann\"\nreason = \"not reached\"\nexpires = \"{expires}\"\n",
        VULNERABLE.2, VULNERABLE.0
    )
}

fn exceptions(make: Maker<'_>) -> Vec<Scene> {
    let ended = of("expired exception", "ended on 2020-01-31");
    let unused = of("unused exception", "CVE-2021-25900 in smallvec");
    let scene = |name, expires: &'static str, case| {
        with_database(name, vec![case])
            .also_prepared(move |checkout, _| Ok(checkout.put(EXCEPTIONS, &exception(expires))?))
    };
    vec![
        scene(
            "scan-exception",
            "2999-12-31",
            passes(vulnerable(make, "excepted")),
        ),
        scene(
            "scan-expired-exception",
            "2020-01-31",
            caught(make.good("expired"), ended).also(&["unused exception"]),
        ),
        scene(
            "scan-unused-exception",
            "2999-12-31",
            caught(make.good("unneeded"), unused),
        ),
        vex("scan-vex", "not_affected", passes(vulnerable(make, "harmless"))),
        vex(
            "scan-vex-affected",
            "affected",
            caught(
                vulnerable(make, "harmful"),
                of("vulnerabilities", "CVE-2021-25900"),
            ),
        ),
        vex(
            "scan-unused-vex",
            "not_affected",
            caught(
                make.good("vex-unneeded"),
                of("VEX statements", "is found in no image"),
            ),
        ),
    ]
}

/// A document that says this of the vulnerable crate.
fn vex(name: &'static str, status: &str, case: Case) -> Scene {
    let (package, version, id) = VULNERABLE;
    let mut statement = json!({ "vulnerability": { "name": id }, "status": status,
        "products": [{ "@id": format!("pkg:cargo/{package}@{version}") }] });
    match status {
        "affected" => statement["action_statement"] = json!("update it"),
        _ => statement["justification"] = json!("vulnerable_code_not_in_execute_path"),
    }
    let document = json!({ "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:horme:selftest",
        "author": "selftest", "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [statement] });
    with_database(name, vec![case]).also_prepared(move |checkout, _| {
        Ok(checkout.put("docker/policy/openvex.json", &document.to_string())?)
    })
}

/// Scanners that fail: each is undecided, or refused.
fn scanners(make: Maker<'_>) -> Vec<Scene> {
    let half = "echo '{\"SchemaVersion\":2,\"Results\":[{\"Target\"' > \"$out\"";
    let of = |name: &str, words| caught(make.good(name), undecided(Gate::Scan, "scan", words));
    vec![
        stand_in("scan-half-a-report", "0.68.2", half, of("half-a-report", "EOF")),
        stand_in(
            "scan-no-report",
            "0.68.2",
            "exit 0",
            of("no-report", "wrote no report"),
        ),
        stand_in(
            "scan-hanging-scanner",
            "0.68.2",
            "exec sleep 300",
            of("hanging-scanner", "did not end within 2 s"),
        )
        .also_prepared(|checkout, _| {
            let policy = std::fs::read_to_string(checkout.path(POLICY))?;
            Ok(checkout.put(POLICY, &policy.replace("deadline_s = 120", "deadline_s = 2"))?)
        }),
        stand_in(
            "scan-refused-scanner",
            "0.69.5",
            "exit 0",
            passes(make.good("refused-scanner")),
        )
        .refused(Exit::Undecided, "0.69.5"),
    ]
}

/// A scan by a program that calls itself Trivy, and does this.
fn stand_in(name: &'static str, version: &str, does: &str, case: Case) -> Scene {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo 'Version: {version}'; exit 0; }}\n\
         while [ $# -gt 1 ]; do [ \"$1\" = --output ] && out=$2; shift; done\n{does}\n"
    );
    with_database(name, vec![case]).also_prepared(move |checkout, options| {
        let path = checkout.path("scanner");
        std::fs::write(&path, &script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        options.trivy = Some(path);
        Ok(())
    })
}

/// Policies that are refused before anything is built.
fn policies() -> Vec<Scene> {
    let policy = |name: &'static str, file: &'static str, text: String, words| {
        Scene::new(name, &[Gate::Scan], vec![passes(Fixture::new(name))])
            .prepared(move |checkout, _| Ok(checkout.put(file, &text)?))
            .refused(Exit::Usage, words)
    };
    let nobodys = exception("2999-12-31").replace("owner", "reader");
    vec![
        policy("scan-exception-without-owner", EXCEPTIONS, nobodys, EXCEPTIONS),
        policy(
            "scan-exception-without-date",
            EXCEPTIONS,
            exception("soon"),
            "expires",
        ),
        policy(
            "scan-unknown-licence",
            LICENCES,
            "allowed = [\"MITT\"]\n".to_owned(),
            "did you mean 'MIT'?",
        ),
        policy(
            "scan-unknown-policy",
            POLICY,
            "databse = \"required\"\n".to_owned(),
            "did you mean 'database'?",
        ),
    ]
}
