//! "did you mean": the known word that is nearest to an unknown one.

/// Longer words are not compared, since the work grows with both lengths.
const LONGEST: usize = 64;
/// Nor is a word compared with more than these.
const MOST: usize = 200;

/// `; did you mean 'x'?`, or nothing where no known word is near.
pub(crate) fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if unknown.len() > LONGEST {
        return String::new();
    }
    let nearest = known
        .into_iter()
        .filter(|word| word.len() <= LONGEST)
        .take(MOST)
        .map(|word| (distance(&unknown.to_lowercase(), &word.to_lowercase()), word))
        .min();
    match nearest {
        Some((edits, word)) if edits <= word.len().div_ceil(3) => format!("; did you mean '{word}'?"),
        _ => String::new(),
    }
}

/// Edits from one word to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_if_it_is_near() {
        assert_eq!(
            did_you_mean("Tranform", ["Transform", "DataFlow"]),
            "; did you mean 'Transform'?"
        );
        assert_eq!(
            did_you_mean("dataflow", ["Transform", "DataFlow"]),
            "; did you mean 'DataFlow'?"
        );
        assert_eq!(did_you_mean("HTTPRequest", ["Transform", "DataFlow"]), "");
        assert_eq!((distance("kitten", "sitting"), distance("", "ab")), (3, 2));
    }
}
