//! The colours of the page by the rules of WCAG 2.2 (1.4.3): a contrast of 4.5 or more, in light and in dark.

use std::collections::BTreeMap;

const STYLE: &str = include_str!("style.css");

/// The colours of each scheme by name.
fn schemes() -> Vec<BTreeMap<&'static str, &'static str>> {
    let blocks = STYLE.split(":root {").skip(1);
    blocks
        .map(|block| {
            let declared = block.split('}').next().unwrap().split(';');
            declared
                .filter_map(|one| one.trim().strip_prefix("--")?.split_once(": "))
                .collect()
        })
        .collect()
}

/// Relative luminance of `#rrggbb`, from 0 to 1.
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        match value {
            0.0..=0.04045 => value / 12.92,
            _ => ((value + 0.055) / 1.055).powf(2.4),
        }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn text_and_series_can_be_read_in_both_schemes() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
    let schemes = schemes();
    assert_eq!(schemes.len(), 2);
    for colours in schemes {
        let words = "ink ink-soft accent passed violated undecided reused skipped";
        let on_paper = words
            .split(' ')
            .flat_map(|word| [(word, "paper"), (word, "card")]);
        let series = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];
        let on_series = series
            .into_iter()
            .flat_map(|name| [("on-series", name), (name, "card")]);
        for (over, under) in on_paper.chain(on_series) {
            let found = contrast(colours[over], colours[under]);
            assert!(found >= 4.5, "{over} on {under}: {found:.2}");
        }
    }
}
