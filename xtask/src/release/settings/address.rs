//! Addresses: of a registry and its owner, and of the repository that the source lies in.

use anyhow::Result;

use crate::exit::Failure;

/// Host and owner of `HOST/OWNER`; `key` is where it was said. The owner may have several parts; it may be empty
/// where a registry has none.
///
/// # Errors
/// Exit 2: names the key and what is wrong.
pub(super) fn registry(given: &str, key: &str) -> Result<(String, String)> {
    let wrong = |why: &str| {
        let hint = "HOST/OWNER in lower case, e.g. ghcr.io/acme, docker.io/acme, registry.example.org:5000/team/apps";
        Failure::usage(format!("{key}: '{given}' {why}"), hint)
    };
    if given.contains("://") {
        return Err(wrong("begins with a scheme").into());
    }
    let (host, owner) = given.split_once('/').unwrap_or((given, ""));
    if !is_host(host) {
        return Err(wrong("does not begin with a registry's host").into());
    }
    if given.chars().any(char::is_uppercase) {
        return Err(wrong("has upper case, which names of images cannot have").into());
    }
    if owner.is_empty() && (given.ends_with('/') || ["ghcr.io", "docker.io"].contains(&host)) {
        return Err(wrong("names no owner").into());
    }
    if !owner.is_empty() && !owner.split('/').all(is_part) {
        return Err(wrong("has an owner that no image's name can have").into());
    }
    Ok((host.to_owned(), owner.to_owned()))
}

/// As in a reference to an image, a first part is a host where it has a dot or a port, or is `localhost`.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let is_v6 = name.starts_with('[') && name.ends_with(']');
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c) || (is_v6 && "[]:".contains(c));
    let is_name = !name.is_empty() && name.chars().all(legal);
    is_port && is_name && (name == "localhost" || name.contains('.') || port.is_some())
}

/// A part of a repository's name (distribution-spec, "pulling manifests").
fn is_part(part: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let outer = |end: Option<char>| end.is_some_and(inside);
    outer(part.chars().next())
        && outer(part.chars().last())
        && part.chars().all(|c| inside(c) || "._-".contains(c))
        && !["..", "___", "._", "_.", ".-", "-.", "_-", "-_"]
            .iter()
            .any(|odd| part.contains(odd))
}

/// The owner in the address of a remote on GitHub, as it is written.
pub(super) fn github_owner(origin: &str) -> Option<String> {
    let path = public(origin)?;
    let owner = path.strip_prefix("https://github.com/")?.split('/').next()?;
    (!owner.is_empty()).then(|| owner.to_owned())
}

/// The address of a remote as others may be told: without user, password and `.git`, and over HTTPS where it is
/// GitHub's. Nothing for a folder.
pub(super) fn public(origin: &str) -> Option<String> {
    let (scheme, rest) = match origin.split_once("://") {
        Some((scheme @ ("https" | "http" | "ssh" | "git"), rest)) => (scheme, rest.to_owned()),
        Some(_) => return None,
        // `git@host:path`, as scp writes it.
        None => {
            let (host, path) = origin.split_once(':').filter(|(host, _)| !host.contains('/'))?;
            ("ssh", format!("{host}/{}", path.trim_start_matches('/')))
        }
    };
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path.trim_end_matches('/').trim_end_matches(".git");
    match host.trim_end_matches(":443").trim_end_matches(":22") {
        "github.com" | "ssh.github.com" => Some(format!("https://github.com/{path}")),
        _ => Some(format!("{scheme}://{host}/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_read_with_their_owners() {
        for (given, host, owner) in [
            ("ghcr.io/acme", "ghcr.io", "acme"),
            ("docker.io/acme", "docker.io", "acme"),
            ("127.0.0.1:5000", "127.0.0.1:5000", ""),
            ("localhost/acme", "localhost", "acme"),
            ("[::1]:5000/acme", "[::1]:5000", "acme"),
            (
                "registry.example.org:5000/team/my-apps_1.x",
                "registry.example.org:5000",
                "team/my-apps_1.x",
            ),
        ] {
            assert_eq!(registry(given, "k").unwrap(), (host.to_owned(), owner.to_owned()));
        }
    }

    #[test]
    fn what_is_no_registry_is_refused_with_the_reason() {
        for (given, why) in [
            ("", "registry's host"),
            ("acme", "registry's host"),
            ("acme/apps", "registry's host"),
            ("ghcr.io", "names no owner"),
            ("docker.io", "names no owner"),
            ("ghcr.io/", "names no owner"),
            ("ghcr.io/Acme", "upper case"),
            ("GHCR.io/acme", "upper case"),
            ("https://ghcr.io/acme", "scheme"),
            ("ghcr.io/acme/", "no image's name"),
            ("ghcr.io//acme", "no image's name"),
            ("ghcr.io/acme:1.0", "no image's name"),
            ("ghcr.io/-acme", "no image's name"),
            ("ghcr.io/a..b", "no image's name"),
            ("ghcr.io:port/acme", "registry's host"),
            ("ghcr.io/ac me", "no image's name"),
        ] {
            let error = registry(given, "--registry").unwrap_err();
            let (exit, text) = crate::exit::explain(&error);
            assert_eq!(exit, crate::exit::Exit::Usage);
            assert!(
                text.contains("--registry") && text.contains(why),
                "{given}: {text}"
            );
            assert!(text.contains("hint: HOST/OWNER"), "{text}");
        }
    }

    #[test]
    fn the_source_is_told_without_who_fetched_it() {
        for (origin, expected) in [
            (
                "https://github.com/Acme/horme.git",
                Some("https://github.com/Acme/horme"),
            ),
            (
                "https://x:token@github.com/acme/horme",
                Some("https://github.com/acme/horme"),
            ),
            (
                "git@github.com:acme/horme.git",
                Some("https://github.com/acme/horme"),
            ),
            (
                "ssh://git@github.com:22/acme/horme.git",
                Some("https://github.com/acme/horme"),
            ),
            (
                "ssh://git@ssh.github.com:443/acme/horme.git",
                Some("https://github.com/acme/horme"),
            ),
            (
                "https://git.example.org:8443/a/b.git/",
                Some("https://git.example.org:8443/a/b"),
            ),
            ("git@git.example.org:a/b.git", Some("ssh://git.example.org/a/b")),
            ("/srv/git/horme.git", None),
            ("../horme", None),
            ("file:///srv/git/horme.git", None),
            ("", None),
        ] {
            assert_eq!(public(origin).as_deref(), expected, "{origin}");
        }
        assert_eq!(
            github_owner("git@github.com:Acme/horme.git").as_deref(),
            Some("Acme")
        );
        assert_eq!(github_owner("git@gitlab.com:acme/horme.git"), None);
        assert_eq!(github_owner("https://github.com.evil.org/acme/horme"), None);
    }
}
