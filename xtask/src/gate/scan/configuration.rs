//! Secrets in an image's own configuration: variables and labels that anybody who pulls it can read. A rule of
//! ours, because scanners of files pass `DB_PASSWORD=...` in an image's ENV.

use std::collections::BTreeMap;

use crate::redact::logins;
use crate::verdict::Check;

/// Words in a variable's or label's name that announce a secret.
const NAMES: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
    "credential",
    "passphrase",
];

/// Ends of such a name that make it a setting's.
const SETTINGS: [&str; 11] = [
    "file", "path", "dir", "ttl", "length", "issuer", "audience", "url", "enabled", "header", "name",
];

/// Beginnings of well-known secrets: cloud keys, forge and chat tokens, payment keys, signed tokens.
const BEGINNINGS: [&str; 12] = [
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "eyJhbGci",
    "AIza",
];

/// Judges variables (`NAME=value`) and labels.
pub fn judge(env: &[String], labels: &BTreeMap<String, String>) -> Check {
    let variables = env.iter().filter_map(|entry| entry.split_once('='));
    let variables = variables.map(|(name, value)| ("ENV", name, value));
    let labels = labels
        .iter()
        .map(|(name, value)| ("LABEL", name.as_str(), value.as_str()));
    let found = variables.chain(labels).find_map(|(kind, name, value)| {
        let why = secret(name, value)?;
        // The value itself goes into no report.
        Some(format!("{kind} {name} holds {why}"))
    });
    match found {
        Some(detail) => Check::violated(
            "secrets in the configuration",
            detail,
            "give it at run time (a variable, or a file that `<NAME>_FILE` names), and revoke what was in the image",
        ),
        None => Check::passed("secrets in the configuration", "none in ENV and labels"),
    }
}

/// Why a value reads like a secret, if it does.
pub fn secret(name: &str, value: &str) -> Option<&'static str> {
    let value = value.trim();
    if value.is_empty() {
        return None;
    }
    if value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if BEGINNINGS.iter().any(|beginning| value.starts_with(beginning)) && value.len() >= 16 {
        return Some("what reads like a known kind of key or token");
    }
    if has_password(value) {
        return Some("an address with a password in it");
    }
    let plain = plain(name);
    let announced = NAMES.iter().any(|word| plain.contains(word));
    (announced && !is_harmless(&plain, value)).then_some("a value under a secret's name")
}

/// Whether a name announces a secret, whatever its value.
pub fn announces(name: &str) -> bool {
    let plain = plain(name);
    NAMES.iter().any(|word| plain.contains(word)) && !SETTINGS.iter().any(|end| plain.ends_with(end))
}

fn plain(name: &str) -> String {
    let lower = name.to_lowercase();
    lower.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// `scheme://user:password@host`.
fn has_password(value: &str) -> bool {
    logins(value).any(|login| {
        login
            .split_once(':')
            .is_some_and(|(_, password)| !password.is_empty())
    })
}

/// A path or a switch under such a name is a setting, no secret (`PASSWORD_FILE=/run/secrets/x`), and so is a number
/// or a duration, unless the name ends with the very word (`TOKEN_TTL=3600`, but `DB_PASSWORD=12345678`).
fn is_harmless(plain_name: &str, value: &str) -> bool {
    let switch = ["true", "false", "yes", "no", "on", "off", "none", "0", "1"];
    let bare = NAMES.iter().any(|word| plain_name.ends_with(word));
    SETTINGS.iter().any(|end| plain_name.ends_with(end))
        || switch.contains(&value.to_lowercase().as_str())
        || value.starts_with('/')
        || !bare
            && value
                .trim_end_matches(['s', 'm', 'h', 'd'])
                .parse::<f64>()
                .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    fn judged(env: &str) -> Outcome {
        judge(&[env.to_owned()], &BTreeMap::new()).outcome
    }

    #[test]
    fn what_reads_like_a_secret_is_violated_and_not_repeated() {
        for env in [
            "DB_PASSWORD=hunter2",
            "DB_PASSWORD=12345678",
            "API_TOKEN=1e9",
            "SECRET=inf",
            "API_KEY=x9-f00",
            "GITHUB_TOKEN=anything",
            "X=AKIAIOSFODNN7EXAMPLE",
            "X=-----BEGIN RSA PRIVATE KEY-----\nMIIE",
            "DATABASE_URL=postgres://app:hunter2@db/app",
            "JWT=eyJhbGciOiJIUzI1NiJ9.e30.x",
        ] {
            let check = judge(&[env.to_owned()], &BTreeMap::new());
            assert_eq!(check.outcome, Outcome::Violated, "{env}");
            let value = env.split_once('=').unwrap().1;
            assert!(!check.detail.contains(value), "{}", check.detail);
        }
        let labels = BTreeMap::from([("build.secret".to_owned(), "s3cr3t!".to_owned())]);
        assert_eq!(judge(&[], &labels).outcome, Outcome::Violated);
    }

    #[test]
    fn settings_under_such_a_name_are_no_secrets() {
        for env in [
            "PATH=/usr/bin",
            "DB_PASSWORD_FILE=/run/secrets/db",
            "DB_PASSWORD=",
            "TOKEN_TTL=3600",
            "MAX_TOKENS=4096",
            "REQUIRE_PASSWORD=1",
            "TOKEN_TIMEOUT=30s",
            "SECRET_ROTATION=off",
            "DATABASE_URL=postgres://db/app",
            "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
        ] {
            assert_eq!(judged(env), Outcome::Passed, "{env}");
        }
    }
}
