//! A series as a line of characters.

/// From low to high; plain ones where the terminal or the locale has no others.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PLAIN: [char; 8] = ['_', '.', ',', '-', '=', '+', '*', '#'];

/// Draws values into at most `width` characters; where there are more values, each stands for the median of a few.
/// Values that differ by less than `least_span` of their median stay flat: noise is no picture.
pub fn draw(values: &[f64], width: usize, least_span: f64, blocks: bool) -> String {
    let columns = width.min(values.len());
    let column = |index: usize| {
        let (from, to) = (
            index * values.len() / columns,
            (index + 1) * values.len() / columns,
        );
        super::jump::median(&values[from..to])
    };
    let shown: Vec<f64> = (0..columns).map(column).collect();
    let low = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let high = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = (high - low)
        .max(least_span * super::jump::median(&shown))
        .max(1.0);
    let bottom = f64::midpoint(low, high) - span / 2.0;
    let signs = if blocks { BLOCKS } else { PLAIN };
    let sign = |value: &f64| signs[(((value - bottom) / span * 8.0) as usize).min(7)];
    shown.iter().map(sign).collect()
}

/// Whether a terminal shows more than ASCII, by the names that POSIX gives the locale's variables.
pub fn has_blocks(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    let locale = locale.unwrap_or_default().to_lowercase();
    let dumb = variable("TERM").is_some_and(|term| term == "dumb");
    !dumb && (locale.contains("utf-8") || locale.contains("utf8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_rises_with_its_values() {
        let rising: Vec<f64> = (0..8).map(|value| f64::from(value) * 100.0).collect();
        assert_eq!(draw(&rising, 20, 0.05, true), "▁▂▃▄▅▆▇█");
        assert_eq!(draw(&rising, 4, 0.05, false), "_,+#");
        assert_eq!(draw(&[250.0, 251.0, 249.5], 9, 0.05, false), "-=-");
        assert_eq!(draw(&[5.0], 9, 0.05, true).chars().count(), 1);
        assert_eq!(draw(&[], 9, 0.05, true), "");
        assert_eq!(draw(&[0.0, u64::MAX as f64], 9, 0.05, true), "▁█");
    }

    #[test]
    fn blocks_are_for_terminals_that_show_them() {
        let of = |pairs: &'static [(&str, &str)]| {
            has_blocks(|name| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(of(&[("LANG", "de_DE.UTF-8")]));
        assert!(of(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!of(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(!of(&[("LANG", "de_DE.UTF-8"), ("TERM", "dumb")]));
        assert!(!of(&[]));
    }
}
