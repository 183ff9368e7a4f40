//! What a person calls an image: `host/owner/name`, with a tag, a digest or both, as docker reads it; or a service's
//! name alone.

use crate::exit::Failure;

/// Docker's own registry, which a name without a host means.
const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub host: String,
    /// `owner/name`.
    pub repository: String,
    pub tag: Option<String>,
    /// `sha256:<64 hex digits>`.
    pub digest: Option<String>,
}

/// The words, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Image(Reference),
    /// A word without a `/`: only the checkout knows whose image that is.
    Service {
        name: String,
        tag: Option<String>,
        digest: Option<String>,
    },
}

impl Named {
    /// # Errors
    /// Exit 2: names the part that is none.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::usage(
                format!("'{text}' is no image: {why}"),
                "REGISTRY/OWNER/NAME with :TAG, @sha256:DIGEST or both; or the name of a service",
            )
        };
        if text.contains("://") {
            return Err(wrong("leave the scheme out".to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(wrong(format!(
                "'{digest}' is no digest (sha256: and 64 hex digits)"
            )));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(wrong(format!("'{tag}' is no tag")));
        }
        let (host, path) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (Some(first), path),
            _ => (None, name),
        };
        if let Some(part) = path.split('/').find(|part| !is_name(part)) {
            return Err(wrong(format!(
                "'{part}' is no name (lower case, digits, `.`, `_`, `-`)"
            )));
        }
        let (tag, digest) = (tag.map(str::to_owned), digest.map(str::to_owned));
        if host.is_none() && !path.contains('/') {
            let name = path.to_owned();
            return Ok(Named::Service { name, tag, digest });
        }
        let (host, repository) = (host.unwrap_or(DEFAULT_HOST).to_owned(), path.to_owned());
        Ok(Named::Image(Reference::new(host, repository, tag, digest)))
    }
}

impl Reference {
    /// Where neither tag nor digest is said, the tag is `latest`.
    pub(super) fn new(host: String, repository: String, tag: Option<String>, digest: Option<String>) -> Self {
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Reference {
            host,
            repository,
            tag,
            digest,
        }
    }

    /// What the image is called wherever it is published: the last part of its repository's name.
    pub(super) fn image(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// As a person writes it.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!("{}/{}", self.host, self.repository);
        for (sign, part) in [(':', &self.tag), ('@', &self.digest)] {
            shown.extend(part.iter().flat_map(|part| [sign.to_string(), part.clone()]));
        }
        shown
    }
}

/// The first part of a name is a host where it could be nothing else.
fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':'])
}

fn is_name(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || "._-".contains(c))
}

fn is_tag(tag: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(plain) && tag.chars().all(|c| plain(c) || ".-".contains(c))
}

fn is_digest(digest: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    digest
        .strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.chars().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match Named::parse(text) {
            Ok(Named::Image(reference)) => reference.shown(),
            Ok(Named::Service { name, tag, digest }) => format!("service {name} {tag:?} {digest:?}"),
            Err(failure) => format!("{:?}: {}", failure.exit, failure.what),
        }
    }

    #[test]
    fn images_are_read_as_docker_reads_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let both = format!("ghcr.io/acme/x:1@{digest}");
        let bare = format!("ghcr.io/acme/x@{digest}");
        let cases = [
            ("ghcr.io/acme/x:1.4.2", "ghcr.io/acme/x:1.4.2"),
            ("ghcr.io/acme/x", "ghcr.io/acme/x:latest"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
            ("localhost/a/b/c:t", "localhost/a/b/c:t"),
            ("acme/x", "docker.io/acme/x:latest"),
            ("frontend", "service frontend None None"),
            ("frontend:1.4.2", "service frontend Some(\"1.4.2\") None"),
            (&both, &both),
            (&bare, &bare),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused_by_its_part() {
        let cases = [
            ("https://ghcr.io/a/x", "leave the scheme out"),
            ("ghcr.io/Acme/x", "'Acme' is no name"),
            ("ghcr.io/a/", "'' is no name"),
            ("ghcr.io/a/x:", "'' is no tag"),
            ("ghcr.io/a/x:-1", "'-1' is no tag"),
            ("ghcr.io/a/x@sha256:abc", "'sha256:abc' is no digest"),
            ("", "'' is no name"),
            ("ghcr.io/a/x y", "'x y' is no name"),
        ];
        for (text, expected) in cases {
            let said = read(text);
            assert!(said.starts_with("Usage: "), "{text}: {said}");
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
