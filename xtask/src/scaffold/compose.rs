//! The compose files, as text: what stands in them, and one more entry at the end of a mapping. Comments and
//! layout stay as they are, because nothing is parsed and written anew.

use std::ops::Range;

/// Where the entries of a top-level mapping stand (bytes): from the line after its key to the end of its last
/// entry. Blank lines and comments at the left edge after that belong to what follows. `None` without a key
/// on a line of its own, or with nothing indented under it.
fn body(text: &str, mapping: &str) -> Option<Range<usize>> {
    let mut lines = text.split_inclusive('\n').scan(0, |at, line| {
        *at += line.len();
        Some((*at, line))
    });
    let (start, _) = lines.find(|(_, line)| is_key(line, mapping))?;
    let inside = lines.take_while(|(_, line)| !line.starts_with(|c: char| !c.is_whitespace() && c != '#'));
    let entries = inside.filter(|(_, line)| line.starts_with(' ') && !line.trim().is_empty());
    let (end, _) = entries.last()?;
    Some(start..end)
}

fn is_key(line: &str, mapping: &str) -> bool {
    let rest = line.strip_prefix(mapping).and_then(|rest| rest.strip_prefix(':'));
    rest.is_some_and(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'))
}

/// The names of a top-level mapping's entries, those indented by two spaces; none where there is no mapping.
pub(super) fn keys<'a>(text: &'a str, mapping: &str) -> Vec<&'a str> {
    let inside = body(text, mapping).map_or("", |range| &text[range]);
    let entries = inside.lines().filter_map(|line| line.strip_prefix("  "));
    entries
        .filter(|entry| !entry.starts_with([' ', '#']))
        .filter_map(|entry| entry.split_once(':'))
        .map(|(key, _)| key.trim().trim_matches(['"', '\'']))
        .collect()
}

/// The text with `entry` (whole lines, indented by two spaces) as the last of a top-level mapping, after a blank
/// line where its entries stand apart.
///
/// # Errors
/// In words, what the text lacks: the mapping, or an anchor that the entry's aliases stand for.
pub(super) fn append(text: &str, mapping: &str, entry: &str) -> Result<String, String> {
    let range = body(text, mapping).filter(|_| !keys(text, mapping).is_empty());
    let Some(range) = range else {
        return Err(format!(
            "no mapping `{mapping}:` on a line of its own with entries indented by two spaces"
        ));
    };
    if let Some(alias) = aliases(entry).find(|alias| !has_anchor(text, alias)) {
        return Err(format!("no anchor `&{alias}`"));
    }
    let (before, after) = text.split_at(range.end);
    let line_end = if before.ends_with('\n') { "" } else { "\n" };
    let apart = if text[range].contains("\n\n") { "\n" } else { "" };
    Ok(format!("{before}{line_end}{apart}{entry}{after}"))
}

/// The ports that stand as a variable's default, as in `${NAME:-8080}`: what a machine is asked to publish.
pub(super) fn default_ports(text: &str) -> impl Iterator<Item = u16> {
    let defaults = text.split(":-").skip(1);
    defaults.filter_map(|rest| rest.split_once('}')?.0.parse().ok())
}

fn aliases(entry: &str) -> impl Iterator<Item = &str> {
    entry.split('*').skip(1).map(leading_word)
}

fn has_anchor(text: &str, name: &str) -> bool {
    text.split('&').skip(1).any(|rest| leading_word(rest) == name)
}

fn leading_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "x-service: &service { read_only: true }\n\nservices: # ours\n  # The first.\n  a:\n    <<: *service\n\n  \
        \"b\":\n    ports: [\"${A_PORT:-8088}:80\"]\n    # Inside.\n\n# Of what follows.\nnetworks:\n  a: {}\n\n# The end.\n";

    #[test]
    fn an_entry_comes_last_and_everything_else_stays() {
        let text = append(FILE, "services", "  c:\n    <<: *service\n").unwrap();
        let text = append(&text, "networks", "  c: {}\n").unwrap();
        insta::assert_snapshot!(text, @r#"
        x-service: &service { read_only: true }

        services: # ours
          # The first.
          a:
            <<: *service

          "b":
            ports: ["${A_PORT:-8088}:80"]
            # Inside.

          c:
            <<: *service

        # Of what follows.
        networks:
          a: {}
          c: {}

        # The end.
        "#);
        assert_eq!(keys(&text, "services"), ["a", "b", "c"]);
        assert_eq!(keys(&text, "networks"), ["a", "c"]);
    }

    #[test]
    fn a_file_may_end_without_a_line_end() {
        assert_eq!(
            append("services:\n  a: {}", "services", "  b: {}\n").unwrap(),
            "services:\n  a: {}\n  b: {}\n"
        );
    }

    #[test]
    fn what_is_lacking_is_named() {
        for text in [
            "{}",
            "services: {}\n",
            "services:\nnetworks:\n  a: {}\n",
            "services:\n    a: {}\n",
        ] {
            let refused = append(text, "services", "  b: {}\n").unwrap_err();
            assert!(refused.contains("no mapping `services:`"), "{text}: {refused}");
        }
        let refused = append("services:\n  a: &pace2 {}\n", "services", "  b: *pace\n").unwrap_err();
        assert_eq!(refused, "no anchor `&pace`");
    }

    #[test]
    fn published_ports_are_found() {
        assert_eq!(default_ports(FILE).collect::<Vec<_>>(), [8088]);
        assert_eq!(default_ports("a:${TAG:-latest}").count(), 0);
    }
}
