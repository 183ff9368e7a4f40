//! cosign: signing and checking statements about files, never in a registry: what it writes and reads are bundles on
//! disk. Its versions differ in how they are told to leave the transparency log alone, so each is asked what it knows.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attest::{Signer, Trust};
use crate::process::Call;

/// With a transparency log and a certificate authority to ask.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the cosign at hand understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// It must be asked for Sigstore bundles (before 3; from then on it writes no others).
    asks_for_bundles: bool,
    offline: Offline,
}

/// How a signature with a key is made without any service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Offline {
    /// 2.4 and 2.5.
    WithoutLog,
    /// 2.6 to 3.1: it must not fetch a configuration of services either.
    WithoutConfiguration,
    /// Later: one flag says it all.
    Flag,
}

impl Dialect {
    /// Reads what `help` prints. Flags that a version only tolerates are not listed there.
    ///
    /// # Errors
    /// It writes no Sigstore bundles: older than 2.4.
    pub fn parse(said: &str) -> Result<Self, String> {
        let has = |flag: &str| {
            let after = said
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix(flag));
            after
                .into_iter()
                .any(|rest| rest.starts_with(['=', ' ', ':']) || rest.is_empty())
        };
        let asks_for_bundles = has("--new-bundle-format");
        let knows_configurations = has("--signing-config") || has("--use-signing-config");
        if !has("--bundle") || !(asks_for_bundles || knows_configurations || has("--offline")) {
            return Err("it writes no Sigstore bundles: 2.4 or newer is needed".to_owned());
        }
        let offline = match () {
            () if has("--offline") => Offline::Flag,
            () if knows_configurations => Offline::WithoutConfiguration,
            () => Offline::WithoutLog,
        };
        Ok(Dialect {
            asks_for_bundles,
            offline,
        })
    }

    fn bundles(self) -> Option<&'static str> {
        self.asks_for_bundles.then_some("--new-bundle-format")
    }

    fn offline(self) -> &'static [&'static str] {
        match self.offline {
            Offline::WithoutLog => &["--tlog-upload=false"],
            Offline::WithoutConfiguration => &["--use-signing-config=false", "--tlog-upload=false"],
            Offline::Flag => &["--offline"],
        }
    }
}

/// Prints the flags of signing.
pub fn help(program: &Path) -> Call {
    Call::new([program.as_os_str(), "attest-blob".as_ref(), "--help".as_ref()]).deadline_s(30)
}

/// Signs a statement of type `kind` (a URI: the predicate stays as it is) about the file `subject`.
pub fn attest(
    (program, dialect): (&Path, Dialect),
    signer: &Signer,
    kind: &str,
    predicate: &Path,
    subject: &Path,
    bundle: &Path,
) -> Call {
    let mut argv = argv(program, ["attest-blob", "--type", kind]);
    argv.extend(["--predicate".into(), predicate.into()]);
    sign(argv, dialect, signer, subject, bundle)
}

/// Signs the file `payload` as it is.
pub fn sign_blob(
    (program, dialect): (&Path, Dialect),
    signer: &Signer,
    payload: &Path,
    bundle: &Path,
) -> Call {
    sign(argv(program, ["sign-blob"]), dialect, signer, payload, bundle)
}

/// Writes the public half of a key.
pub fn public_key(program: &Path, key: &str, file: &Path) -> Call {
    let mut argv = argv(program, ["public-key", "--key", key, "--outfile"]);
    argv.push(file.into());
    within(Call::new(argv))
}

fn sign(mut argv: Vec<OsString>, dialect: Dialect, signer: &Signer, file: &Path, bundle: &Path) -> Call {
    argv.extend(["--yes".into(), "--bundle".into(), bundle.into()]);
    argv.extend(dialect.bundles().map(OsString::from));
    if let Signer::Key(key) = signer {
        argv.extend(["--key".into(), key.into()]);
        argv.extend(dialect.offline().iter().map(OsString::from));
    }
    argv.push(file.into());
    within(Call::new(argv))
}

/// Checks a bundle with a statement about the file `subject`. With a key nothing is asked: `roots` is a file of
/// trusted services that names none. Whom an identity's certificate comes from cosign finds out itself.
pub fn verify(
    (program, dialect): (&Path, Dialect),
    trust: &Trust,
    kind: &str,
    (subject, bundle): (&Path, &Path),
    roots: &Path,
) -> Call {
    let mut argv = argv(program, ["verify-blob-attestation", "--type", kind]);
    argv.extend(["--bundle".into(), bundle.into()]);
    argv.extend(dialect.bundles().map(OsString::from));
    match trust {
        Trust::Key(key) => {
            argv.extend(["--key".into(), key.into(), "--insecure-ignore-tlog".into()]);
            argv.extend(["--trusted-root".into(), roots.into()]);
        }
        Trust::Identity { issuer, identity } => {
            argv.extend(matched("--certificate-identity", identity));
            argv.extend(matched("--certificate-oidc-issuer", issuer));
        }
    }
    argv.push(subject.into());
    // Neither another trust root nor a habit of the caller's decides.
    within(Call::new(argv)).withhold("COSIGN_").withhold("SIGSTORE_")
}

fn within(mut call: Call) -> Call {
    call.deadline = DEADLINE;
    call
}

fn matched(flag: &str, value: &str) -> [OsString; 2] {
    let flag = match value.starts_with('^') {
        true => format!("{flag}-regexp"),
        false => flag.to_owned(),
    };
    [flag.into(), value.into()]
}

fn argv<const N: usize>(program: &Path, words: [&str; N]) -> Vec<OsString> {
    std::iter::once(program.into())
        .chain(words.map(OsString::from))
        .collect()
}

/// A file of trusted services without any.
pub const NO_ROOTS: &str = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

/// What a refusal comes down to: its `Error:` line, without the word.
pub fn words(stderr: &str) -> &str {
    let last = stderr
        .lines()
        .rfind(|line| line.starts_with("Error: "))
        .or_else(|| stderr.lines().rfind(|line| !line.trim().is_empty()));
    last.map_or("no reason given", |line| {
        line.strip_prefix("Error: ").unwrap_or(line)
    })
}

/// Whether a check came to nothing because something else did not answer or cannot be read: it says nothing about the
/// signature.
pub fn is_unanswered(words: &str) -> bool {
    const SIGNS: [&str; 10] = [
        "dial tcp",
        "no such host",
        "tuf refresh",
        "initializing",
        "i/o timeout",
        "deadline exceeded",
        "loading public key",
        "public key: getting",
        "operation error",
        "unknown flag",
    ];
    SIGNS.iter().any(|sign| words.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Flags:\n    --bundle='':\n\twrite\n\n    --key='':\n\n    --tlog-upload=true:\n";
    const TWO_FIVE: &str = "    --bundle='':\n    --new-bundle-format=false:\n    --tlog-upload=true:\n";
    const THREE: &str = "    --bundle='':\n    --signing-config='':\n    --trusted-root='':\n";

    fn shown(call: &Call) -> String {
        call.shown()
    }

    fn attested(said: &str, signer: &Signer) -> String {
        let dialect = Dialect::parse(said).unwrap();
        let [predicate, subject, bundle] = ["p", "s", "b"].map(Path::new);
        shown(&attest(
            (Path::new("cosign"), dialect),
            signer,
            "https://t/1",
            predicate,
            subject,
            bundle,
        ))
    }

    #[test]
    fn each_version_is_told_in_its_own_words_to_stay_offline() {
        let key = Signer::Key("env://KEY".into());
        assert_eq!(
            attested(TWO_FIVE, &key),
            "cosign attest-blob --type https://t/1 --predicate p --yes --bundle b --new-bundle-format --key env://KEY --tlog-upload=false s"
        );
        assert_eq!(
            attested(THREE, &key),
            "cosign attest-blob --type https://t/1 --predicate p --yes --bundle b --key env://KEY --use-signing-config=false --tlog-upload=false s"
        );
        let four = format!("{THREE}    --offline=false:\n");
        assert!(attested(&four, &key).ends_with("--key env://KEY --offline s"));
        assert!(Dialect::parse(OLD).unwrap_err().contains("2.4 or newer"));
    }

    #[test]
    fn without_a_key_the_log_and_the_authority_are_asked() {
        assert_eq!(
            attested(TWO_FIVE, &Signer::Keyless),
            "cosign attest-blob --type https://t/1 --predicate p --yes --bundle b --new-bundle-format s"
        );
    }

    #[test]
    fn whom_a_reader_trusts_is_exact_unless_it_is_an_expression() {
        let dialect = Dialect::parse(TWO_FIVE).unwrap();
        let call = |trust: &Trust| {
            let files = (Path::new("s"), Path::new("b"));
            shown(&verify(
                (Path::new("cosign"), dialect),
                trust,
                "t",
                files,
                Path::new("r"),
            ))
        };
        assert_eq!(
            call(&Trust::Key("k.pub".into())),
            "cosign verify-blob-attestation --type t --bundle b --new-bundle-format --key k.pub --insecure-ignore-tlog --trusted-root r s"
        );
        let identity = Trust::Identity {
            issuer: "https://i".into(),
            identity: "^https://x/".into(),
        };
        let said = call(&identity);
        assert!(said.contains("--certificate-oidc-issuer https://i s"), "{said}");
        assert!(said.contains("--certificate-identity-regexp"), "{said}");
    }

    #[test]
    fn a_refusal_is_told_from_no_answer() {
        let said = "WARNING: x\nError: failed to verify signature: could not verify envelope\nerror during command execution: failed\n";
        assert_eq!(
            words(said),
            "failed to verify signature: could not verify envelope"
        );
        assert!(!is_unanswered(words(said)));
        assert!(is_unanswered("tuf refresh failed: Get \"https://x\": dial tcp"));
        assert!(is_unanswered("loading public key: open k.pub"));
        assert_eq!(words(""), "no reason given");
    }
}
