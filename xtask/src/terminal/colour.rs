//! Whether words may be coloured: what was asked for on the command line, then what the environment says, then
//! whether a terminal is there. Words carry the meaning; colour is only an extra.

use clap::ValueEnum;
use console::{Style, style};

use crate::verdict::Outcome;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum When {
    /// On a terminal, unless the environment says otherwise
    #[default]
    Auto,
    Always,
    Never,
}

/// Whether to colour. Passed along, never global.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paint(pub bool);

impl Paint {
    /// Decides by `--color`, the environment's variables (`NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`, `TERM`, the first
    /// that says something) and whether a terminal is there.
    pub fn decide(when: When, variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> Self {
        let is_set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let refused =
            || is_set("CLICOLOR").as_deref() == Some("0") || is_set("TERM").as_deref() == Some("dumb");
        Paint(match when {
            When::Always => true,
            When::Never => false,
            When::Auto if is_set("NO_COLOR").is_some() => false,
            When::Auto if is_set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            When::Auto => is_terminal && !refused(),
        })
    }

    /// A verdict's word in the colour of its outcome.
    pub fn verdict(self, word: &str, outcome: Outcome) -> String {
        let style = match outcome {
            Outcome::Passed => Style::new().green(),
            Outcome::Skipped => Style::new().dim(),
            Outcome::Undecided => Style::new().yellow(),
            Outcome::Violated => Style::new().red().bold(),
        };
        self.with(word, style)
    }

    /// What may be overlooked.
    pub fn faint(self, text: &str) -> String {
        self.with(text, Style::new().dim())
    }

    fn with(self, text: &str, style_: Style) -> String {
        if self.0 && !text.is_empty() {
            style_.force_styling(true).apply_to(text).to_string()
        } else {
            style(text).force_styling(false).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(when: When, set: &[(&str, &str)], is_terminal: bool) -> bool {
        let set: std::collections::BTreeMap<_, _> = set.iter().copied().collect();
        Paint::decide(
            when,
            |name| set.get(name).map(|value| (*value).to_owned()),
            is_terminal,
        )
        .0
    }

    #[test]
    fn a_terminal_is_coloured_unless_the_environment_says_otherwise() {
        assert!(decided(When::Auto, &[], true));
        assert!(!decided(When::Auto, &[], false));
        for refusal in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
            assert!(!decided(When::Auto, &[refusal], true), "{refusal:?}");
        }
        // Set to nothing, it says nothing.
        assert!(decided(When::Auto, &[("NO_COLOR", ""), ("CLICOLOR", "1")], true));
    }

    #[test]
    fn force_colours_a_pipe_and_no_colour_wins_over_it() {
        assert!(decided(
            When::Auto,
            &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")],
            false
        ));
        assert!(!decided(When::Auto, &[("CLICOLOR_FORCE", "0")], false));
        assert!(!decided(
            When::Auto,
            &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
            true
        ));
    }

    #[test]
    fn the_command_line_wins_over_all() {
        assert!(decided(When::Always, &[("NO_COLOR", "1")], false));
        assert!(!decided(When::Never, &[("CLICOLOR_FORCE", "1")], true));
    }

    #[test]
    fn without_colour_a_word_is_only_itself() {
        assert_eq!(Paint(false).verdict("violated", Outcome::Violated), "violated");
        assert!(
            Paint(true)
                .verdict("violated", Outcome::Violated)
                .starts_with("\u{1b}[")
        );
    }
}
