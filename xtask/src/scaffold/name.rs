//! What a new service may be called and how it may be described, where it listens, and what its image is
//! called. Pure.

use std::collections::BTreeMap;

use crate::exit::Failure;

/// In characters. Crates, hosts and images could be called longer; the lines that hold the name could not.
const LONGEST_NAME: usize = 40;
const LONGEST_DESCRIPTION: usize = 120;
/// Where the search for a free port begins.
const FIRST_PORT: u16 = 8004;

/// Words of the language (Rust Reference, "Keywords"): no crate can be called so.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern \
    false final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static \
    struct super trait true try type typeof unsafe unsized use virtual where while yield";
/// Crates that come with the language, folders of cargo, and folders that no build sees (`.dockerignore`).
const SPOKEN_FOR: &str =
    "std core alloc test proc-macro build deps examples incremental target tests stories";

/// Whether a crate, a compose service, a host and an image can all be called so: lower-case letters, digits and
/// single dashes, a letter first, no dash last.
///
/// # Errors
/// Exit 2; the hint is the nearest name that is legal, where there is one.
pub(super) fn check(name: &str) -> Result<(), Failure> {
    if !is_legal(name) {
        let near = mended(name);
        let hint = if is_legal(&near) {
            format!("did you mean '{near}'?")
        } else {
            "choose a name such as 'price-list'".to_owned()
        };
        let what = format!(
            "'{name}' cannot name a service: it takes lower-case letters, digits and single dashes between them, \
             a letter first, {LONGEST_NAME} characters at most"
        );
        return Err(Failure::usage(what, hint));
    }
    let mut words = KEYWORDS.split(' ').chain(SPOKEN_FOR.split(' '));
    if words.any(|word| word == name) {
        let what = format!("'{name}' cannot name a service: it means something to Rust, cargo or the build");
        return Err(Failure::usage(
            what,
            format!("choose a longer one, such as '{name}-service'"),
        ));
    }
    Ok(())
}

fn is_legal(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inner)
        && !name.ends_with('-')
        && !name.contains("--")
        && name.len() <= LONGEST_NAME
}

/// Lower case, with a single dash for every run of other characters.
fn mended(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// The description as it goes into the manifest, the image's label and a doc comment: one line, no full stop.
///
/// # Errors
/// Exit 2 for what one of the three would read in another way.
pub(super) fn description(text: &str) -> Result<&str, Failure> {
    let text = text.trim().trim_end_matches('.');
    let plain =
        |c: char| c.is_alphanumeric() || c == ' ' || (c.is_ascii_punctuation() && !"\"\\$".contains(c));
    let strange = text.chars().find(|c| !plain(*c));
    let what = match strange {
        Some(c) => format!("--description: {c:?} cannot stand in it"),
        None if !text.starts_with(char::is_alphabetic) => {
            "--description: it must begin with a letter".to_owned()
        }
        None if text.chars().count() > LONGEST_DESCRIPTION => {
            format!("--description: longer than {LONGEST_DESCRIPTION} characters")
        }
        None => return Ok(text),
    };
    let hint = "one plain line: letters, digits, spaces and ASCII punctuation without \", \\ and $";
    Err(Failure::usage(what, hint))
}

/// The port that was asked for, or the lowest free one. `taken`: each with what has it.
///
/// # Errors
/// Exit 2 where the one that was asked for is taken.
pub(super) fn port(wanted: Option<u16>, taken: &BTreeMap<u16, String>) -> Result<u16, Failure> {
    let free = (FIRST_PORT..=u16::MAX).find(|port| !taken.contains_key(port));
    let remedy = match free {
        Some(free) => format!("{free} is free; without `--port` the lowest free one is taken"),
        None => format!("no port from {FIRST_PORT} on is free; choose a lower one with `--port`"),
    };
    match wanted {
        Some(port) => match taken.get(&port) {
            Some(owner) => Err(Failure::usage(format!("port {port} is taken by {owner}"), remedy)),
            None => Ok(port),
        },
        None => free.ok_or_else(|| Failure::usage("no port is free", remedy)),
    }
}

/// What the images' names have in common, up to and with a dash: `acme-` for `acme-data` and `acme-page`; of a
/// single service, what stands before its own name. Empty where there is nothing.
pub(super) fn prefix<'a>(services: &[(&str, &'a str)]) -> &'a str {
    let Some(((name, first), others)) = services.split_first() else {
        return "";
    };
    if others.is_empty() {
        return first.strip_suffix(name).unwrap_or_default();
    }
    let common = others
        .iter()
        .fold(*first, |common, (_, image)| &common[..same(common, image)]);
    &common[..common.rfind('-').map_or(0, |dash| dash + 1)]
}

/// How many bytes two names begin with alike; names are ASCII.
fn same(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legal_name_passes_and_others_find_their_neighbour() {
        for good in ["a", "billing", "price-list", "v2-api", "a-1"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let hint = |name: &str| check(name).unwrap_err().hint.unwrap();
        assert_eq!(hint("Price_List"), "did you mean 'price-list'?");
        assert_eq!(hint("price--list-"), "did you mean 'price-list'?");
        assert_eq!(hint("../etc"), "did you mean 'etc'?");
        for hopeless in ["", "1st", "ü", "-", "a".repeat(41).as_str()] {
            assert!(hint(hopeless).contains("choose a name"), "{hopeless}");
        }
    }

    #[test]
    fn words_that_mean_something_already_are_refused() {
        for word in ["match", "test", "std", "build", "stories", "yield"] {
            assert!(
                check(word).unwrap_err().what.contains("means something"),
                "{word}"
            );
            assert!(check(&format!("{word}-service")).is_ok());
        }
    }

    #[test]
    fn a_description_is_one_plain_line() {
        assert_eq!(description(" Keeps prices. ").unwrap(), "Keeps prices");
        assert!(description("Prüft (a, b); don't").is_ok());
        for bad in ["", "a \"b\"", "a\nb", "$HOME", "a\\b", "- a", "a\u{202e}b"] {
            assert!(description(bad).is_err(), "{bad}");
        }
        assert!(description(&"a".repeat(121)).is_err());
    }

    #[test]
    fn the_lowest_free_port_is_taken() {
        let taken = |ports: &[u16]| ports.iter().map(|port| (*port, "x".to_owned())).collect();
        assert_eq!(port(None, &taken(&[8000, 8003])).unwrap(), 8004);
        assert_eq!(port(None, &taken(&[8004, 8005, 8007])).unwrap(), 8006);
        assert_eq!(port(Some(9000), &taken(&[8004])).unwrap(), 9000);
        let refused = port(Some(8004), &taken(&[8004])).unwrap_err();
        assert_eq!(refused.what, "port 8004 is taken by x");
        assert!(refused.hint.unwrap().starts_with("8005 is free"));
    }

    #[test]
    fn images_share_a_prefix_that_ends_with_a_dash() {
        let images = [
            ("data", "acme-data"),
            ("date", "acme-date"),
            ("page", "acme-page"),
        ];
        assert_eq!(prefix(&images), "acme-");
        assert_eq!(prefix(&images[..2]), "acme-");
        assert_eq!(prefix(&images[..1]), "acme-");
        assert_eq!(prefix(&[("data", "store"), ("page", "front")]), "");
        assert_eq!(prefix(&[("data", "store")]), "");
        assert_eq!(prefix(&[]), "");
    }
}
