//! From text to features: normalisation and character n-grams inside word boundaries.

use std::collections::BTreeMap;

/// Lengths of the n-grams, both ends included. Measured elsewhere as a good range for short product names.
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=5;

/// Lower case, every run of other than letters and digits one space, none at the ends.
#[must_use]
pub fn normalise(text: &str) -> String {
    let lowered = text.to_lowercase();
    let words: Vec<&str> = lowered
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect();
    words.join(" ")
}

/// How often each character n-gram appears in normalised text. Words are framed by spaces, and no n-gram
/// reaches over a word's end, so that the order of words does not matter.
#[must_use]
pub fn ngrams(normalised: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for word in normalised.split(' ').filter(|word| !word.is_empty()) {
        let framed: Vec<char> = std::iter::once(' ')
            .chain(word.chars())
            .chain(std::iter::once(' '))
            .collect();
        for length in LENGTHS {
            for window in framed.windows(length) {
                *counts.entry(window.iter().collect()).or_insert(0) += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalising_keeps_letters_and_digits_alone() {
        assert_eq!(normalise("  Hex-Bolt, M10×40 (ZINC)! "), "hex bolt m10 40 zinc");
        assert_eq!(normalise("Ärger ¿?"), "ärger");
        assert_eq!(normalise("--- "), "");
    }

    #[test]
    fn ngrams_stay_inside_words() {
        let grams = ngrams("ab c");
        assert_eq!(grams.get(" ab "), Some(&1));
        assert_eq!(grams.get(" c"), Some(&1));
        assert!(grams.keys().all(|gram| !gram.contains("b c")));
    }

    #[test]
    fn the_order_of_words_does_not_matter() {
        assert_eq!(ngrams("claw hammer"), ngrams("hammer claw"));
    }
}
