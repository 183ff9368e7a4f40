//! Words from outside, made visible: colours are taken out, and what an eye would not see, or see elsewhere (control
//! characters, the override of direction), is written as its number.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The words as they may be shown in any form of the report; line breaks and tabs stay.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' if rest.peek() == Some(&'[') => {
                // A colour, or another order to a terminal, ends with a letter.
                rest.by_ref().skip(1).find(|end| ('@'..='~').contains(end));
            }
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' | '\t' => shown.push(character),
            hidden if is_hidden(hidden) => shown.extend(hidden.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

/// An eye would not see it, or see what follows elsewhere.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
            | '\u{fffe}' | '\u{ffff}')
}

/// All but what stands for itself in a path.
const UNLIKE_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A path as the target of a link: nothing in it is read as anything but a path.
pub fn link(path: &str) -> String {
    let target = utf8_percent_encode(path, UNLIKE_PATH).to_string();
    // The first part of a relative path is no scheme and no host.
    match target.starts_with('/') {
        true => format!(".{target}"),
        false => target,
    }
}

/// The first `limit` characters, and a sign that there is more.
pub fn cut(text: &str, limit: usize) -> String {
    match text.chars().count() <= limit {
        true => text.to_owned(),
        false => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The same, cut between words where there is a place for it.
pub fn cut_at_word(text: &str, limit: usize) -> String {
    let short = cut(text, limit);
    match short.strip_suffix('…').and_then(|words| words.rsplit_once(' ')) {
        Some((words, _)) if short != text => format!("{words} …"),
        _ => short,
    }
}

/// `a, b and 7 more`.
pub fn listed(names: &[&str], limit: usize) -> String {
    match names.len().checked_sub(limit) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..limit].join(", ")),
    }
}

/// `1 image`, `2 images`.
pub fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_words() {
        let cut = |limit| cut_at_word("the database is old", limit);
        assert_eq!(
            [cut(19), cut(15), cut(2)],
            ["the database is old", "the database …", "t…"]
        );
    }

    #[test]
    fn what_an_eye_would_not_see_is_written_as_its_number() {
        assert_eq!(
            visible("\u{1b}[1;31mred\u{1b}[0m\u{0}a\u{202e}b\r\nc\td\re"),
            "red\\u{0}a\\u{202e}b\nc\td\\u{d}e"
        );
        assert_eq!(visible("\u{1b}[31"), "", "cut off");
        assert_eq!(visible("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
    }

    #[test]
    fn a_link_is_a_path_and_nothing_else() {
        assert_eq!(link("logs/a b(1)?#.log"), "logs/a%20b%281%29%3F%23.log");
        assert_eq!(link("javascript:alert(1)"), "javascript%3Aalert%281%29");
        assert_eq!(link("//elsewhere"), ".//elsewhere");
    }

    #[test]
    fn long_words_and_lists_are_cut_with_a_sign() {
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(listed(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(listed(&["a", "b"], 2), "a, b");
    }
}
