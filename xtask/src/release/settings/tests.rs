//! What the settings of a release are read from, and what is refused in them.

use super::*;
use crate::exit::{Exit, explain};

const AGES: &str = "[age]\nverdict_max_days = 14\ndatabase_max_days = 7\n";

fn checkout(manifest: &str, policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("docker/policy")).unwrap();
    std::fs::write(folder.path().join(MANIFEST), manifest).unwrap();
    std::fs::write(folder.path().join(POLICY), policy).unwrap();
    folder
}

fn release(keys: &str) -> String {
    format!("[workspace]\nmembers = []\n[workspace.metadata.release]\n{keys}")
}

fn flag(registry: &str) -> Surroundings {
    Surroundings {
        registry: Some(registry.to_owned()),
        ..Surroundings::default()
    }
}

fn read(manifest: &str, policy: &str, around: &Surroundings) -> Result<Settings> {
    Settings::of(checkout(manifest, policy).path(), around)
}

fn refused(manifest: &str, policy: &str) -> String {
    let error = read(manifest, policy, &flag("ghcr.io/acme")).unwrap_err();
    let (exit, text) = explain(&error);
    assert_eq!(exit, Exit::Usage, "{text}");
    assert!(text.contains("hint: "), "{text}");
    text
}

#[test]
fn the_shipped_files_are_read_and_name_no_owner() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let settings = Settings::of(root, &flag("ghcr.io/acme")).unwrap();
    assert!(settings.version.is_some());
    assert_eq!(settings.repository("horme-x"), "acme/horme-x");
    assert!(declared(root).unwrap().registry.is_none());
    let alone = Settings {
        owner: String::new(),
        ..settings
    };
    assert_eq!(alone.repository("horme-x"), "horme-x");
}

#[test]
fn the_registry_is_the_flags_else_the_manifests_else_githubs_else_the_remotes() {
    let declared = release("registry = \"registry.example.org/team\"");
    let mut around = flag("docker.io/acme");
    around.github_owner = Some("GitHub-Owner".to_owned());
    around.origin = Some("git@github.com:Origin-Owner/horme.git".to_owned());
    let place = |manifest: &str, around: &Surroundings| {
        let settings = read(manifest, AGES, around).unwrap();
        format!("{}/{}", settings.host, settings.owner)
    };
    assert_eq!(place(&declared, &around), "docker.io/acme");
    around.registry = None;
    assert_eq!(place(&declared, &around), "registry.example.org/team");
    assert_eq!(place("", &around), "ghcr.io/github-owner");
    around.github_owner = None;
    assert_eq!(place("", &around), "ghcr.io/origin-owner");
    around.origin = Some("git@gitlab.com:acme/horme.git".to_owned());
    let (exit, text) = explain(&read("", AGES, &around).unwrap_err());
    assert_eq!(exit, Exit::Usage);
    assert!(
        text.contains("no registry is named") && text.contains("--registry ghcr.io/OWNER"),
        "{text}"
    );
}

#[test]
fn the_source_is_githubs_word_else_the_remote() {
    let mut around = flag("ghcr.io/acme");
    around.origin = Some("https://token@github.com/acme/fork.git".to_owned());
    let source = |around: &Surroundings| read("", AGES, around).unwrap().source.unwrap();
    assert_eq!(source(&around), "https://github.com/acme/fork");
    around.github_source = Some("https://github.com/acme/horme".to_owned());
    assert_eq!(source(&around), "https://github.com/acme/horme");
}

#[test]
fn a_faulty_manifest_is_refused_by_key() {
    for (keys, words) in [
        ("versoin = \"1.0.0\"", "versoin"),
        ("version = 1", "string"),
        ("version = \"v1.0.0\"", "version: 'v1.0.0' is not SemVer"),
        ("version = \"1.0\"", "version: '1.0' is not SemVer"),
        ("version = \"1.0.0+7\"", "`+`"),
    ] {
        let text = refused(&release(keys), AGES);
        assert!(text.contains(words), "{keys}: {text}");
    }
    assert!(refused("[workspace", AGES).contains("Cargo.toml"));
    let odd = read(&release("registry = \"Acme\""), AGES, &Surroundings::default()).unwrap_err();
    assert!(
        odd.to_string()
            .contains("[workspace.metadata.release] registry: 'Acme'"),
        "{odd}"
    );
}

#[test]
fn a_faulty_policy_is_refused_by_key() {
    for (policy, words) in [
        (AGES.replace("14", "0"), "verdict_max_days"),
        (
            AGES.replace("database_max_days", "database_days"),
            "database_days",
        ),
        ("[age]\nverdict_max_days = 14\n".to_owned(), "database_max_days"),
        (format!("{AGES}[trust]\nkey = \"gone.pub\"\n"), "no file gone.pub"),
        (format!("{AGES}[trust]\nissuer = \"x\"\n"), "[trust]"),
        (
            format!("{AGES}[trust]\nkey = \"a://b\"\nissuer = \"x\"\nidentity = \"y\"\n"),
            "[trust]",
        ),
        (
            format!("{AGES}[trust]\nissuer = \"x\"\nidentity = \"^(\"\n"),
            "identity",
        ),
        (format!("{AGES}[trust]\n"), "[trust]"),
        (format!("{AGES}[more]\n"), "more"),
    ] {
        let text = refused("", &policy);
        assert!(text.contains(POLICY) && text.contains(words), "{policy}: {text}");
    }
}

#[test]
fn trust_is_a_key_of_the_checkout_a_kms_address_or_an_identity() {
    let trust = |table: &str| {
        let folder = checkout("", &format!("{AGES}[trust]\n{table}"));
        std::fs::write(folder.path().join("key.pub"), "").unwrap();
        let trust = Settings::of(folder.path(), &flag("ghcr.io/acme"))
            .unwrap()
            .trust
            .unwrap();
        (folder.path().join("key.pub").display().to_string(), trust)
    };
    let (file, key) = trust("key = \"key.pub\"");
    assert_eq!(key, Trust::Key(file));
    assert_eq!(
        trust("key = \"awskms:///alias/x\"").1,
        Trust::Key("awskms:///alias/x".to_owned())
    );
    let identity = Trust::Identity {
        issuer: "i".to_owned(),
        identity: "^a$".to_owned(),
    };
    assert_eq!(trust("issuer = \"i\"\nidentity = \"^a$\"").1, identity);
}
