//! Text for a terminal: without what would move the cursor, and broken where a line ends.

use console::Term;

/// Columns of the terminal that standard output is; nothing where it is none.
pub fn width() -> Option<usize> {
    columns(&Term::stdout())
}

/// The same of standard error.
pub fn error_width() -> Option<usize> {
    columns(&Term::stderr())
}

fn columns(term: &Term) -> Option<usize> {
    let size = term.is_term().then(|| term.size_checked()).flatten();
    size.map(|(_, width)| usize::from(width))
}

/// A line without anything that would move the cursor, or colour, or ring.
pub fn clean(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    line.chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

/// Words broken into lines that fit, those after the first further in. A word longer than a line stays whole.
pub fn broken(words: &str, indent: usize, width: Option<usize>) -> String {
    let Some(room) = width.map(|width| width.saturating_sub(1)) else {
        return format!("{}{words}", " ".repeat(indent));
    };
    let (mut text, mut taken) = (" ".repeat(indent), indent);
    for (at, word) in words.split(' ').enumerate() {
        let length = console::measure_text_width(word);
        if at > 0 && taken + 1 + length > room {
            let further = " ".repeat(indent + 2);
            text.push_str(&format!("\n{further}"));
            taken = further.len();
        } else if at > 0 {
            text.push(' ');
            taken += 1;
        }
        text.push_str(word);
        taken += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_between_words_and_only_where_there_is_a_width() {
        assert_eq!(broken("one two three", 2, Some(10)), "  one two\n    three");
        assert_eq!(broken("one two three", 0, None), "one two three");
        assert_eq!(
            broken("a-word-that-is-too-long", 0, Some(10)),
            "a-word-that-is-too-long"
        );
    }

    #[test]
    fn what_would_move_the_cursor_is_left_out() {
        assert_eq!(clean("a\tb\r\u{1b}[2J\u{7}c"), "a bc");
    }
}
