//! The machine's own apt configuration: which Debian mirror it uses, signed by which keyring. Read from both
//! formats of sources; written nowhere but into sources of this same machine.

use std::path::Path;

/// Where Debian keeps its keys, in this machine and in every image made of Debian packages.
pub const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The machine's roots of trust in one file, on Debian.
pub const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A Debian mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub uri: String,
    pub keyring: Option<String>,
}

impl Mirror {
    /// A source of one line for a suite.
    pub fn line(&self, suite: &str) -> String {
        let options = self
            .keyring
            .as_ref()
            .map(|keyring| format!("[signed-by={keyring}] "))
            .unwrap_or_default();
        format!("deb {options}{} {suite} main", self.uri)
    }

    /// Who it is asked as, with the password (`http://user:password@mirror/`), where its address says so.
    pub fn secret(&self) -> Option<&str> {
        let authority = self.uri.split_once("://")?.1.split(['/', '?', '#']).next()?;
        authority.rsplit_once('@').map(|(secret, _)| secret)
    }
}

/// The system in /etc/os-release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    pub(super) id: String,
    pub(super) codename: String,
}

/// This machine's system; `None` where there is no /etc/os-release.
pub(super) fn system() -> Option<System> {
    std::fs::read_to_string("/etc/os-release")
        .ok()
        .map(|text| parse_system(&text))
}

fn parse_system(text: &str) -> System {
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    System {
        id: value("ID"),
        codename: value("VERSION_CODENAME"),
    }
}

/// This machine's Debian mirror.
pub fn mirror() -> Option<Mirror> {
    let codename = system().filter(|system| system.id == "debian")?.codename;
    find_mirror(&source_files(Path::new("/etc/apt")), &codename)
}

/// Path and text of every source file, /etc/apt/sources.list first.
fn source_files(folder: &Path) -> Vec<(String, String)> {
    let listed = std::fs::read_dir(folder.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten();
    let mut paths: Vec<_> = listed.map(|entry| entry.path()).collect();
    paths.sort();
    paths.insert(0, folder.join("sources.list"));
    let texts = paths
        .into_iter()
        .filter_map(|path| Some((path.display().to_string(), std::fs::read_to_string(&path).ok()?)));
    texts.collect()
}

/// The first enabled source of the release's main suite; security and updates are other suites.
fn find_mirror(files: &[(String, String)], codename: &str) -> Option<Mirror> {
    files.iter().find_map(|(path, text)| {
        if path.ends_with(".sources") {
            text.split("\n\n").find_map(|stanza| deb822(stanza, codename))
        } else if path.ends_with(".list") {
            text.lines().find_map(|line| one_line(line, codename))
        } else {
            None
        }
    })
}

/// A paragraph of `Name: value` lines; values go on in lines that begin with a space.
fn deb822(stanza: &str, codename: &str) -> Option<Mirror> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in stanza.lines().filter(|line| !line.starts_with('#')) {
        match (
            line.starts_with([' ', '\t']),
            line.split_once(':'),
            fields.last_mut(),
        ) {
            (true, _, Some((_, value))) => {
                value.push('\n');
                value.push_str(line.trim());
            }
            (false, Some((name, value)), _) => fields.push((name.to_lowercase(), value.trim().to_owned())),
            _ => {}
        }
    }
    let field = |name: &str| {
        fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let has = |name: &str, word: &str| {
        field(name).is_some_and(|value| value.split_whitespace().any(|known| known == word))
    };
    if field("enabled") == Some("no") || !has("types", "deb") || !has("suites", codename) {
        return None;
    }
    let uri = field("uris")?.split_whitespace().next()?.to_owned();
    // A key written out in place has no path to hand on: apt's own keyrings must do.
    let keyring = field("signed-by")
        .filter(|value| value.starts_with('/'))
        .map(|value| first_word(value, &[' ', '\n', ',']));
    Some(Mirror { uri, keyring })
}

/// `deb [options] uri suite component...`
fn one_line(line: &str, codename: &str) -> Option<Mirror> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let keyring = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    (suite == codename).then(|| Mirror {
        uri: uri.to_owned(),
        keyring: keyring.map(|value| first_word(value, &[','])),
    })
}

fn first_word(text: &str, ends: &[char]) -> String {
    text.split(ends).next().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Option<Mirror> {
        find_mirror(&[(name.to_owned(), text.to_owned())], "bookworm")
    }

    fn expected(keyring: Option<&str>) -> Option<Mirror> {
        Some(Mirror {
            uri: "http://mirror.test/debian".into(),
            keyring: keyring.map(str::to_owned),
        })
    }

    #[test]
    fn a_deb822_source_is_read_past_comments_and_security() {
        let text = "Types: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security\n\n# made by hand\nTypes: deb deb-src\n\
            # URIs: http://old.test\nURIs: http://mirror.test/debian http://second.test\nSuites: bookworm bookworm-updates\n\
            Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        assert_eq!(
            found("/etc/apt/sources.list.d/debian.sources", text),
            expected(Some(DEBIAN_KEYRING))
        );
    }

    #[test]
    fn a_disabled_source_and_a_key_in_place_are_seen_as_such() {
        let text = "Enabled: no\nTypes: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\n";
        assert_eq!(found("a.sources", text), None);
        let text = "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\nSigned-By:\n -----BEGIN PGP\n abc\n";
        assert_eq!(found("a.sources", text), expected(None));
    }

    #[test]
    fn a_one_line_source_is_read_with_and_without_options() {
        assert_eq!(
            found(
                "sources.list",
                "# deb http://no.test bookworm main\ndeb http://mirror.test/debian bookworm main\n"
            ),
            expected(None)
        );
        let text = "deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib";
        assert_eq!(found("sources.list", text), expected(Some("/k.gpg")));
        assert_eq!(
            found("sources.list", "deb-src http://mirror.test/debian bookworm main"),
            None
        );
        assert_eq!(
            found("x.list.disabled", "deb http://mirror.test/debian bookworm main"),
            None
        );
    }

    #[test]
    fn the_system_is_read() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(
            parse_system(text),
            System {
                id: "debian".into(),
                codename: "bookworm".into()
            }
        );
    }
}
