//! What reads like a secret that nobody told us: by its own shape (keys, signed tokens, passwords in addresses,
//! headers), or by the name before it.

use anyhow::Result;
use regex::{Captures, Regex};

use super::{MASK, forms};
use crate::gate::scan::configuration::announces;

/// A value: in quotes (which inside JSON are escaped), or up to the next space; an apostrophe within it ends none.
const VALUE: &str =
    r#"(\\+"[^"]*"|"(?:[^"\\]|\\.)*"|'[^']*'|(?:[^\s"'\\]|\\[^"nrt\s])(?:[^\s"\\]|\\[^"nrt\s])*)"#;
/// Between a name and its value.
const IS: &str = r#"(\\*["']?[ \t]*[:=][ \t]*)"#;

#[derive(Debug)]
pub struct Shapes {
    name: Regex,
    value: Regex,
    flags: Regex,
    header: Regex,
    scheme: Regex,
    signed: Regex,
    issued: Regex,
    address: Regex,
}

impl Shapes {
    pub fn new() -> Result<Self> {
        let headers = "(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token";
        Ok(Shapes {
            name: Regex::new(&format!(r"([A-Za-z0-9_.-]+){IS}"))?,
            value: Regex::new(&format!("^{VALUE}"))?,
            flags: Regex::new(r#"(\B--?[A-Za-z0-9][A-Za-z0-9-]*)([ \t]+)([^\s"'-][^\s"']*)"#)?,
            header: Regex::new(&format!(
                r#"(?i)\b({headers}){IS}(\\+"[^"]*"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\r\n"\\]+)"#
            ))?,
            scheme: Regex::new(r"(?i)\b(bearer|basic)([ \t]+)([A-Za-z0-9._~+/=-]{8,})")?,
            signed: Regex::new(r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")?,
            issued: Regex::new(
                r"\b(?:AKIA|ASIA|AIza|gh[opsu]_|github_pat_|glpat-|xox[bp]-|sk_live_)[A-Za-z0-9_-]{12,}",
            )?,
            address: Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)([^\s"'<>/?#]*)@"#)?,
        })
    }

    pub fn mask(&self, text: &str) -> String {
        let text = keys(text);
        let text = self.header.replace_all(&text, value);
        let text = self.address.replace_all(&text, userinfo);
        let text = self.signed.replace_all(&text, MASK);
        let text = self.issued.replace_all(&text, MASK);
        let text = self.scheme.replace_all(&text, credentials);
        let text = self
            .flags
            .replace_all(&text, |found: &Captures<'_>| match is_flag(&found[1]) {
                true => value(found),
                false => found[0].to_owned(),
            });
        self.named(&text)
    }

    /// Values behind a name that announces a secret; such a name may also stand inside of another's value.
    fn named(&self, text: &str) -> String {
        let (mut masked, mut at) = (String::with_capacity(text.len()), 0);
        while let Some(found) = self.name.captures_at(text, at) {
            let end = found.get(0).map_or(text.len(), |whole| whole.end());
            masked.push_str(&text[at..end]);
            at = end;
            if !announces_more(&found[1]) || opens(&found[2], &text[at..]) {
                continue;
            }
            let Some(value) = self.value.find(&text[at..]) else {
                continue;
            };
            let bare = value.as_str().trim_matches(['\\', '"', '\'']);
            masked.push_str(&match is_secret(&found[1], bare) {
                true => in_its_quotes(value.as_str()),
                false => value.as_str().to_owned(),
            });
            at += value.end();
        }
        masked + &text[at..]
    }
}

/// Whether a name could be a variable's.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !text.is_empty() && text.chars().all(plain)
}

/// `--password`, `--pass`, `--api-key`; of one with its value in it the value alone is found.
pub fn is_flag(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    name.len() < word.len()
        && is_name(name)
        && (announces_more(name) || name == "pass" || name == "requirepass")
}

/// Whether a list or an object follows, and no value; what an `=` is followed by is one, unless it is empty.
fn opens(is: &str, rest: &str) -> bool {
    let empty = ["[]", "{}", "()"].iter().any(|empty| rest.starts_with(empty));
    rest.starts_with(['[', '{', '(']) && (empty || !is.contains('='))
}

/// Whether the value under a name is none that may be seen. Switches, numbers under a longer name, what is empty or
/// refers to another place are.
pub fn is_secret(name: &str, value: &str) -> bool {
    let switch = ["", "true", "false", "yes", "no", "on", "off", "none", "null"];
    announces_more(name)
        && !switch.contains(&value.trim_end_matches([',', ';', '}', ']']))
        && !value.starts_with("/run/secrets")
        && !is_reference(value)
}

/// `${NAME}`, without a value for where there is none.
fn is_reference(value: &str) -> bool {
    let name = value
        .strip_prefix("${")
        .and_then(|rest| rest.trim_end_matches([',', ';']).strip_suffix('}'));
    name.is_some_and(is_name)
}

/// What of a variable's value is secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Hidden {
    Nothing,
    All,
    Passwords(Vec<String>),
}

pub fn hidden(name: &str, value: &str) -> Hidden {
    match forms::passwords(value) {
        passwords if !passwords.is_empty() => Hidden::Passwords(passwords),
        _ if is_secret(name, value) && !is_count(value) => Hidden::All,
        _ => Hidden::Nothing,
    }
}

/// A number that is too short for a secret.
pub fn is_count(value: &str) -> bool {
    value.len() < 6 && value.parse::<f64>().is_ok()
}

/// The names that a scan knows, and those of other keys, of data sources and of passwords in short.
pub fn announces_more(name: &str) -> bool {
    const ENDS: [&str; 12] = [
        "_key",
        "-key",
        ".key",
        "_dsn",
        "_pass",
        "-pass",
        ".pass",
        "_pwd",
        "-pwd",
        ".pwd",
        "encryptionkey",
        "signingkey",
    ];
    let plain = name.to_lowercase();
    let last = plain.rsplit(['.', '-']).next().unwrap_or_default();
    let ends = ENDS.iter().any(|end| plain.ends_with(end)) || ends_in_camels(name);
    announces(name) || ends && !plain.contains("public") || last == "dsn" || plain.ends_with("jwt")
}

/// `signingKey`, `dbPass`.
fn ends_in_camels(name: &str) -> bool {
    let before = ["Key", "Pass", "Pwd"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    before.is_some_and(|before| before.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

/// What stood in quotes stays in them.
fn value(found: &Captures<'_>) -> String {
    format!("{}{}{}", &found[1], &found[2], in_its_quotes(&found[3]))
}

fn in_its_quotes(quoted: &str) -> String {
    let open: String = quoted.chars().take_while(|c| "\\\"'".contains(*c)).collect();
    if open.len() == quoted.len() {
        return quoted.to_owned();
    }
    format!("{open}{MASK}{open}")
}

fn userinfo(found: &Captures<'_>) -> String {
    match found[2].split_once(':') {
        Some((user, _)) => format!("{}{user}:{MASK}@", &found[1]),
        None => format!("{}{MASK}@", &found[1]),
    }
}

/// Words of a sentence (`basic authentication`) are no credentials.
fn credentials(found: &Captures<'_>) -> String {
    if found[3].chars().all(|c| c.is_ascii_lowercase() || c == '.') {
        return found[0].to_owned();
    }
    format!("{}{}{MASK}", &found[1], &found[2])
}

/// Keys and certificates between their lines; what has no last line is masked as far as it reads like one.
fn keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(BEGIN) {
        let label = rest[at + BEGIN.len()..].find("-----");
        let Some(label) = label.filter(|length| *length < 64) else {
            let (before, after) = rest.split_at(at + BEGIN.len());
            masked.push_str(before);
            rest = after;
            continue;
        };
        let (before, body) = rest.split_at(at + BEGIN.len() + label + "-----".len());
        let next = body.find(BEGIN).unwrap_or(body.len());
        let end = body[..next].find(END).unwrap_or_else(|| encoded(body));
        masked.push_str(before);
        masked.push_str(MASK);
        rest = &body[end..];
    }
    masked + rest
}

/// How much of a text is Base64 over several lines, line breaks in any writing.
fn encoded(text: &str) -> usize {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=\\\r\n".contains(c);
    text.find(|c: char| !plain(c)).unwrap_or(text.len())
}
