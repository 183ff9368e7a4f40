//! What the scan gate must catch: in images, in its own policy, and in the tools that it looks with.

use super::{Maker, caught, passes, undecided, violated};
use crate::exit::Exit;
use crate::selftest::database::{self, VULNERABLE};
use crate::selftest::fixture::{Fixture, Lists};
use crate::selftest::scene::{Case, Fault, Scene};
use crate::verdict::Gate;

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    vec![
        with_database("scan", images(make)),
        stale_database(make),
        corrupt_database(make),
        exceptions(
            "scan-exception",
            "2999-12-31",
            passes(vulnerable(make, "excepted")),
        ),
        exceptions(
            "scan-expired-exception",
            "2020-01-31",
            caught(
                make.good("expired"),
                of("expired exception", "ended on 2020-01-31"),
            ),
        ),
        exceptions(
            "scan-unused-exception",
            "2999-12-31",
            caught(
                make.good("unneeded"),
                of("unused exception", "CVE-2021-25900 in smallvec"),
            ),
        ),
        policy(
            "scan-exception-without-owner",
            "docker/policy/exceptions.toml",
            &exception("2999-12-31").replace("owner", "reader"),
        )
        .refused(Exit::Usage, "docker/policy/exceptions.toml"),
        policy(
            "scan-exception-without-date",
            "docker/policy/exceptions.toml",
            &exception("soon"),
        )
        .refused(Exit::Usage, "expires"),
        policy(
            "scan-unknown-policy",
            "docker/policy/scan.toml",
            "databse = \"required\"\n",
        )
        .refused(Exit::Usage, "docker/policy/scan.toml"),
    ]
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
    vec![
        passes(make.good("good-image")),
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

fn corrupt_database(make: Maker<'_>) -> Scene {
    let case = caught(
        make.good("corrupt-database"),
        undecided(Gate::Scan, "vulnerabilities", "trivy.db"),
    );
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

fn exceptions(name: &'static str, expires: &'static str, case: Case) -> Scene {
    Scene::new(name, &[Gate::Scan], vec![case]).prepared(move |checkout, options| {
        options.vuln_db = Some(database::put(&checkout.root, 0)?);
        Ok(checkout.put("docker/policy/exceptions.toml", &exception(expires))?)
    })
}

/// A policy that is refused before anything is built.
fn policy(name: &'static str, file: &'static str, text: &str) -> Scene {
    let text = text.to_owned();
    let fixture = Fixture::new(name, format!("horme-selftest-{name}"));
    Scene::new(name, &[Gate::Scan], vec![passes(fixture)])
        .prepared(move |checkout, _| Ok(checkout.put(file, &text)?))
}
