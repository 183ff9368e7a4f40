//! What an answer means that is not the one that was hoped for: which may pass, and the words and the remedy for the
//! others. The decision is pure.

use reqwest::Response;
use serde::Deserialize;

use super::Repository;
use super::login::Login;
use super::retry::Fault;
use super::transport::read_at_most;
use crate::exit::Failure;

/// A longer text of a registry is no message.
const LONGEST: usize = 200;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Read,
    /// Begins an upload: the first thing that a registry which takes nothing refuses.
    Begin,
    /// Begins one that another repository may lend: what is refused there may be uploaded all the same.
    Borrow,
    Write,
}

/// The specification's error document, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    errors: Vec<One>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct One {
    code: String,
    message: String,
}

/// What an answer comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The registry forgot what it had just been given: it may remember, or be given it again.
    Passing,
    NotLoggedIn,
    Forbidden,
    ReadOnly,
    NoRepository,
    Odd,
}

fn judge(doing: Doing, status: u16, said: &Said, is_known: bool) -> Meaning {
    let has = |wanted: &str| said.errors.iter().any(|one| one.code == wanted);
    // GHCR and Docker say "unknown blob" now and then of a blob that came a moment ago.
    let forgot = [
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
    ]
    .into_iter()
    .any(has)
        || said
            .errors
            .iter()
            .any(|one| one.message.to_lowercase().contains("unknown blob"));
    match (doing, status) {
        (Doing::Begin | Doing::Write, 400 | 404 | 416) if forgot => Meaning::Passing,
        (_, 401 | 403) if !is_known => Meaning::NotLoggedIn,
        (_, 401 | 403) => Meaning::Forbidden,
        (Doing::Begin, 405) => Meaning::ReadOnly,
        (Doing::Begin | Doing::Write, _) if has("UNSUPPORTED") && doing == Doing::Begin => Meaning::ReadOnly,
        (Doing::Begin | Doing::Write, 404) => Meaning::NoRepository,
        _ => Meaning::Odd,
    }
}

impl Repository {
    /// The fault that an answer is.
    pub(super) async fn refused(&self, doing: Doing, answer: Response) -> Fault {
        let status = answer.status();
        // A body that does not come, or is no error document, says nothing more.
        let bytes = read_at_most(answer, 64 << 10).await.unwrap_or_default();
        let said: Said = serde_json::from_slice(&bytes).unwrap_or_default();
        let is_known = match self.client.login().await {
            Ok(login) => *login != Login::Nobody,
            Err(fault) => return fault,
        };
        let words = self.client.context.witness.masked(&said.words());
        let text = format!("answers {status}{words}");
        let (shown, host) = (self.shown(), &self.client.host);
        let what = match doing {
            Doing::Read => "read",
            Doing::Begin | Doing::Borrow | Doing::Write => "written to",
        };
        let (what, hint) = match judge(doing, status.as_u16(), &said, is_known) {
            Meaning::Passing => return Fault::passing(text),
            Meaning::NotLoggedIn => (
                format!("{shown}: not logged in, and it may not be {what} without ({status})"),
                format!("`docker login {host}`"),
            ),
            Meaning::Forbidden => (
                format!("{shown}: may not be {what} with this login ({status}{words})"),
                format!(
                    "`docker login {host}` as one who may; on GHCR a token needs the scope write:packages to push"
                ),
            ),
            Meaning::ReadOnly => (
                format!("{shown}: the registry takes no uploads, it is read-only ({status}{words})"),
                "name one that may be written to (`registry`), or open it".to_owned(),
            ),
            Meaning::NoRepository => (
                format!("{shown}: there is no such repository ({status}{words})"),
                "create it there, or correct the setting `registry`".to_owned(),
            ),
            Meaning::Odd => {
                let hint = "see what the registry says of it; its log tells more";
                return Failure::undecided(format!("{shown}: {text}"), hint).into();
            }
        };
        Failure::usage(what, hint).into()
    }
}

impl Said {
    /// ` DENIED: permission_denied`; nothing where nothing was said. It is a stranger's text: one short line of it.
    fn words(&self) -> String {
        let Some(one) = self.errors.first() else {
            return String::new();
        };
        let text = format!(" {}: {}", one.code, one.message);
        text.chars()
            .filter(|character| !character.is_control())
            .take(LONGEST)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, message: &str) -> Said {
        Said {
            errors: vec![One {
                code: code.to_owned(),
                message: message.to_owned(),
            }],
        }
    }

    #[test]
    fn each_answer_has_its_meaning() {
        use Doing::{Begin, Read, Write};
        for (doing, status, code, is_known, meaning) in [
            (Read, 401, "UNAUTHORIZED", false, Meaning::NotLoggedIn),
            (Read, 403, "DENIED", true, Meaning::Forbidden),
            (Begin, 401, "UNAUTHORIZED", true, Meaning::Forbidden),
            (Begin, 403, "DENIED", false, Meaning::NotLoggedIn),
            (Begin, 405, "UNSUPPORTED", true, Meaning::ReadOnly),
            (Begin, 400, "UNSUPPORTED", true, Meaning::ReadOnly),
            (Begin, 404, "NAME_UNKNOWN", true, Meaning::NoRepository),
            (Write, 404, "BLOB_UPLOAD_UNKNOWN", true, Meaning::Passing),
            (Write, 400, "MANIFEST_BLOB_UNKNOWN", true, Meaning::Passing),
            (Write, 400, "MANIFEST_INVALID", true, Meaning::Odd),
            (Write, 405, "UNSUPPORTED", true, Meaning::Odd),
            (Doing::Borrow, 404, "BLOB_UNKNOWN", true, Meaning::Odd),
            // What is read and is not there never was.
            (Read, 404, "BLOB_UNKNOWN", true, Meaning::Odd),
            (Read, 418, "", true, Meaning::Odd),
        ] {
            let found = judge(doing, status, &said(code, ""), is_known);
            assert_eq!(found, meaning, "{doing:?} {status} {code}");
        }
        let words = said("UNKNOWN", "Unknown Blob");
        assert_eq!(judge(Write, 400, &words, true), Meaning::Passing);
        assert_eq!(judge(Write, 400, &Said::default(), true), Meaning::Odd);
    }

    #[test]
    fn a_strangers_text_is_one_short_line() {
        let text = said("DENIED", &format!("a\n\u{1b}[31m{}", "b".repeat(999))).words();
        assert!(text.starts_with(" DENIED: a[31mb"), "{text}");
        assert_eq!(text.len(), LONGEST);
        assert_eq!(Said::default().words(), "");
    }
}
