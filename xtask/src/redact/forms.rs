//! The forms in which a known secret may be written, and the secrets that a known value holds.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::report::escape;

/// A part of a longer value counts as a secret of its own from this length on.
const PART: usize = 16;
/// So does a line of it.
const LINE: usize = 8;
/// Fewer characters of an encoded secret tell nothing and would be found by chance.
const CORE: usize = 8;

/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The secrets that one value holds: itself, the passwords of addresses, and whatever long or marked words there are
/// (entries of a file of users), and each line: a log holds them one by one.
pub fn derived(value: &str) -> Vec<String> {
    let value = value.trim();
    let mut found = vec![value.to_owned()];
    let lines = value.lines().map(str::trim);
    found.extend(
        lines
            .filter(|line| line.chars().count() >= LINE)
            .map(str::to_owned),
    );
    let words = value.split(|c: char| c.is_whitespace() || "\"',;".contains(c));
    let words: Vec<&str> = words.collect();
    for word in &words {
        let plain = word.trim_start_matches('>');
        // A password that is its user's name is none.
        let marked = plain.len() < word.len() && !words.contains(&plain);
        let word = plain;
        if marked || word.chars().count() >= PART {
            found.push(word.to_owned());
        }
    }
    found.extend(passwords(value));
    found.retain(|secret| !secret.is_empty());
    found
}

/// What stands before the host in each address of a text: of `scheme://user:password@host` the user and the password.
pub fn logins(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c.is_whitespace() || "/?#".contains(c));
        let authority = &rest[..end.unwrap_or(rest.len())];
        authority.rsplit_once('@').map(|(login, _)| login)
    })
}

/// The passwords of all addresses in a text, as they stand there and as a driver reads them.
pub fn passwords(text: &str) -> Vec<String> {
    let passwords = logins(text).map(|login| login.split_once(':').map_or(login, |(_, password)| password));
    let forms = passwords.flat_map(|password| {
        let plain = percent_decode_str(password).decode_utf8_lossy().into_owned();
        [password.to_owned(), plain]
    });
    let mut forms: Vec<String> = forms.filter(|password| !password.is_empty()).collect();
    forms.dedup();
    forms
}

/// The secret in plain text, and as JSON, an address, HTML or Markdown write it.
pub fn written(secret: &str) -> Vec<String> {
    let json = in_json(secret);
    let address = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let kept = utf8_percent_encode(secret, UNRESERVED).to_string();
    vec![
        secret.to_owned(),
        in_json(&json),
        json,
        lower_hex(&address),
        address.replace("%20", "+"),
        address,
        lower_hex(&kept),
        kept.replace("%20", "+"),
        kept,
        escape(secret),
        html(secret),
    ]
}

/// The secret as a part of something that was encoded whole: in Base64 it may begin at any of three places.
pub fn encoded(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![hex.to_uppercase(), hex];
    for before in 0..3 {
        let bytes: Vec<u8> = vec![0; before].into_iter().chain(secret.bytes()).collect();
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            // The characters at either end depend on what stands beside it.
            let first = [0, 2, 3][before];
            let last = encoded.len() - usize::from(!bytes.len().is_multiple_of(3));
            forms.extend(encoded.get(first..last).map(str::to_owned));
        }
    }
    forms.retain(|form| form.len() >= CORE);
    forms
}

fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn html(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// `%2F` as `%2f`.
fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        text.push_str(&format!("%{}{rest}", digits.to_lowercase()));
    }
    text
}
