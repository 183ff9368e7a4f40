//! Files that are broken in every way that files are: one clear error that names the culprit and the remedy, and
//! nothing half done.

use std::path::Path;

use crate::checkout::{Checkout, Fixture};

/// What stands where a file should be.
enum Instead<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Folder,
    Nothing,
}
use Instead::{Bytes, Folder, Nothing, Text};

pub(crate) fn one(name: &str) -> Checkout {
    Checkout::new(vec![Fixture {
        mode: "good",
        ..Fixture::new(name)
    }])
}

fn put(path: &Path, instead: &Instead) {
    if path.is_dir() {
        std::fs::remove_dir(path).unwrap();
    } else if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    match instead {
        Text(text) => std::fs::write(path, text).unwrap(),
        Bytes(bytes) => std::fs::write(path, bytes).unwrap(),
        Folder => std::fs::create_dir(path).unwrap(),
        Nothing => {}
    }
}

/// Puts each thing in a file's place, and asserts that a command then ends with 2, names the file and what is wrong
/// with it, and has a hint.
fn refused(checkout: &Checkout, file: &str, command: &str, cases: &[(Instead, &str)]) {
    let path = checkout.path(file);
    let good = std::fs::read(&path).ok();
    for (instead, why) in cases {
        put(&path, instead);
        let said = checkout.run(&[command]);
        assert_eq!(said.code, Some(2), "{file}, expected '{why}': {}", said.said());
        for words in [file, *why, "hint: "] {
            assert!(said.stderr.contains(words), "no '{words}' in:\n{}", said.stderr);
        }
        assert!(!said.said().contains("panicked"), "{}", said.said());
    }
    put(&path, &good.as_deref().map_or(Nothing, Bytes));
}

fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no '{from}' in {text}");
    text.replace(from, to)
}

#[test]
fn a_baseline_that_is_no_baseline() {
    let checkout = one("bad-baseline");
    let half = "{\"local\": {\"horme-test-bad-baseline\": {\"unpacked_bytes\": 1";
    let sizes = |bytes: &str| {
        format!(
            "{{\"local\": {{\"horme-test-bad-baseline\": {{\"unpacked_bytes\": {bytes}, \"compressed_bytes\": 1}}}}}}"
        )
    };
    let gone = sizes("1").replace("bad-baseline", "gone");
    refused(
        &checkout,
        "reports/baseline.json",
        "budget",
        &[
            (Text("[]"), "invalid type"),
            (Text(""), "EOF"),
            (Text(half), "EOF"),
            (Text(&sizes("\"1 MB\"")), "invalid type"),
            (Text(&sizes("-1")), "invalid value"),
            (Text(&sizes("1.5")), "invalid type"),
            (Text(&sizes("1, \"more\": 2")), "unknown field `more`"),
            (Text(&gone), "no service has the image 'horme-test-gone'"),
            (Bytes(b"\xff\xfe{}"), "UTF-8"),
            (Folder, "directory"),
        ],
    );
}

#[test]
fn policies_that_are_none() {
    let checkout = one("bad-policy");
    let shipped = |file: &str| std::fs::read_to_string(checkout.path(file)).unwrap();
    let scan = shipped("docker/policy/scan.toml");
    let unknown = format!("severities = []\n{scan}");
    refused(
        &checkout,
        "docker/policy/scan.toml",
        "scan",
        &[
            (Text(&unknown), "unknown key 'severities'"),
            (Text(&with(&scan, "when-available", "sometimes")), "sometimes"),
            (Text(&with(&scan, "= 7", "= -7")), "-7"),
            (
                Text(&with(&scan, "\"HIGH\"", "\"HIHG\"")),
                "'HIHG', did you mean 'HIGH'?",
            ),
            (Text("database = "), "docker/policy/scan.toml"),
            (Text(""), "missing field"),
            (Bytes(b"\xff\xfe"), "UTF-8"),
            (Folder, "directory"),
            (Nothing, "No such file"),
        ],
    );
    refused(
        &checkout,
        "docker/policy/budget.toml",
        "budget",
        &[
            (Text("allowed_growth = 5.0"), "unknown field `allowed_growth`"),
            (Text("allowed_growth_percent = \"5\""), "invalid type"),
            (Text("allowed_growth_percent = -5.0"), "allowed_growth_percent"),
            (Text("allowed_growth_percent = nan"), "allowed_growth_percent"),
            (Text(""), "missing field"),
            (Bytes(b"\xff\xfe"), "UTF-8"),
            (Folder, "directory"),
        ],
    );
}

#[test]
fn exceptions_that_say_too_little() {
    let checkout = one("bad-exception");
    let good = "[[exception]]\nid = \"CVE-1\"\npackage = \"p\"\nowner = \"o\"\nreason = \"r\"\nexpires = \"2099-12-31\"\n";
    refused(
        &checkout,
        "docker/policy/exceptions.toml",
        "scan",
        &[
            (Text(&with(good, "2099-12-31", "next year")), "next year"),
            (Text(&with(good, "2099-12-31", "2099-02-30")), "2099-02-30"),
            (Text(&with(good, "\"r\"", "\" \"")), "must say something"),
            (Text(&with(good, "owner = \"o\"\n", "")), "missing field `owner`"),
            (Text(&with(good, "package", "crate")), "unknown field `crate`"),
            (Bytes(b"\xff\xfe"), "UTF-8"),
            (Folder, "directory"),
        ],
    );
}

#[test]
fn metadata_that_says_what_cannot_be() {
    let checkout = one("bad-metadata");
    let good = std::fs::read_to_string(checkout.path("services/bad-metadata/Cargo.toml")).unwrap();
    let port = |port: &str| with(&good, "port = 8000", &format!("port = {port}"));
    let bare = with(&good, "needs = []\n", "");
    let more = |line: &str| format!("{bare}{line}\n");
    let range = "image.port: expected a number from 1 to 65535";
    refused(
        &checkout,
        "services/bad-metadata/Cargo.toml",
        "plan",
        &[
            (Text(&port("0")), range),
            (Text(&port("70000")), range),
            (Text(&port("-1")), range),
            (Text(&port("80.5")), range),
            (Text(&port("\"8000\"")), range),
            (Text(&with(&good, "port = 8000\n", "")), range),
            (Text(&more("retries = 3")), "image.retries: unknown key"),
            (
                Text(&more("needs = \"redis\"")),
                "image.needs: expected a list of names",
            ),
            (
                Text(&more("needs = [\"redis\"]\non_loss = { redis = \"explode\" }")),
                "image.on_loss.redis: expected \"degrade\" or \"not-ready\"",
            ),
            (
                Text(&more("needs = [\"redis\"]\non_loss = { postgres = \"degrade\" }")),
                "image.on_loss.postgres: not among image.needs",
            ),
            (
                Text(&more("on_loss = \"degrade\"")),
                "image.on_loss: expected a table",
            ),
        ],
    );
}

/// The verdicts of `lint` on the only service: exit code 1, and the words.
fn linted(checkout: &Checkout, words: &[&str]) {
    let said = checkout.run(&["lint", "--fresh"]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    for words in words {
        assert!(said.stdout.contains(words), "no '{words}' in:\n{}", said.stdout);
    }
}

#[test]
fn dockerfiles_that_are_none() {
    let checkout = one("bad-dockerfile");
    let file = "docker/Dockerfile.bad-dockerfile";
    let elf = b"\x7fELF\x02\x01\x01\x00\xff\xfe\x00\n";
    refused(
        &checkout,
        file,
        "plan",
        &[
            (Bytes(elf), "no text"),
            (Folder, "directory"),
            (Nothing, "missing"),
        ],
    );
    // One that is empty is a violation of the gates that look at it.
    checkout.write(file, "");
    linted(&checkout, &["bad-dockerfile", file]);
    let said = checkout.run(&["build"]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    let report = checkout.report().to_string();
    assert!(report.contains("the Dockerfile cannot be empty"), "{report}");
}

#[test]
fn a_dockerfile_of_another_systems_line_ends_is_read_like_any() {
    let (checkout, plain) = (one("crlf-dockerfile"), one("lf-dockerfile"));
    let path = checkout.path("docker/Dockerfile.crlf-dockerfile");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let (there, here) = (checkout.run(&["lint"]), plain.run(&["lint"]));
    assert_eq!(there.code, here.code, "{}{}", there.said(), here.said());
    let (there, here) = (
        checkout.checks("crlf-dockerfile", "lint"),
        plain.checks("lf-dockerfile", "lint"),
    );
    assert_eq!(there, here);
    assert_eq!(checkout.run(&["build"]).code, Some(0));
}

#[test]
fn compose_files_that_are_none() {
    let checkout = one("bad-compose");
    for broken in ["services: [", "services:\n\t- x", "\u{0}", "[]", "services: 7"] {
        checkout.write("compose/compose.prod.yaml", broken);
        linted(&checkout, &["compose prod"]);
    }
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    checkout.write("compose/compose.ci.yaml", "services: [");
    let said = checkout.run(&["network"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stdout.contains("network undecided") || said.stdout.contains("undecided"),
        "{}",
        said.said()
    );
    assert!(said.stdout.contains("compose.ci.yaml"), "{}", said.said());
}
