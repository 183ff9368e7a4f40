//! "Did you mean": the nearest of the names that exist.

/// `; did you mean 'x'?` where one of `known` is near, else nothing.
pub(crate) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let furthest = wrong.chars().count() / 3 + 1;
    let nearest = known
        .into_iter()
        .map(|name| (distance(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .min();
    match nearest {
        Some((distance, name)) if distance <= furthest => format!("; did you mean '{name}'?"),
        _ => String::new(),
    }
}

/// Edits from one word to the other: insert, delete, replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["Transform", "DataFlow"];
        assert_eq!(hint("Transfrom", known), "; did you mean 'Transform'?");
        assert_eq!(hint("dataflow", known), "; did you mean 'DataFlow'?");
        assert_eq!(hint("Teapot", known), "");
    }
}
