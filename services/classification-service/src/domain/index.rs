//! TF-IDF vectors of a code set's titles and examples, searched by cosine similarity.
//! An inverted index over n-grams; exact, and quick enough for tens of thousands of documents.

use std::collections::{BTreeMap, HashMap};

use super::{
    code::{Code, Level},
    codeset::CodeSet,
    text::{ngrams, normalise},
};

/// A document that resembles the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// The commodity it stands for.
    pub code: Code,
    /// Cosine similarity, 0 to 1.
    pub similarity: f64,
}

/// The searchable form of a code set.
#[derive(Debug, Clone)]
pub struct Index {
    /// Of each document, the commodity it belongs to.
    codes: Vec<Code>,
    /// Inverse document frequency of each n-gram, and the documents with their weight in it.
    postings: HashMap<String, Postings>,
}

#[derive(Debug, Clone)]
struct Postings {
    idf: f64,
    documents: Vec<(usize, f64)>,
}

impl Index {
    /// One document for each commodity's title and one for each of its examples.
    #[must_use]
    pub fn build(set: &CodeSet) -> Self {
        let mut codes = Vec::new();
        let mut documents = Vec::new();
        for (code, entry) in set.iter().filter(|(code, _)| code.level() == Level::Commodity) {
            for phrase in std::iter::once(&entry.title).chain(&entry.examples) {
                codes.push(code);
                documents.push(ngrams(&normalise(phrase)));
            }
        }
        let postings = weigh(&documents);
        Self { codes, postings }
    }

    /// The `limit` documents that resemble `normalised` most: the most similar first, equal ones by code.
    #[must_use]
    pub fn nearest(&self, normalised: &str, limit: usize) -> Vec<Neighbour> {
        let query: Vec<(&Postings, f64)> = ngrams(normalised)
            .iter()
            .filter_map(|(gram, count)| Some((self.postings.get(gram)?, f64::from(*count))))
            .collect();
        let norm = query
            .iter()
            .map(|(postings, count)| (damp(*count) * postings.idf).powi(2))
            .sum::<f64>()
            .sqrt();
        let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
        for (postings, count) in &query {
            let weight = damp(*count) * postings.idf / norm;
            for (document, other) in &postings.documents {
                *scores.entry(*document).or_insert(0.0) += weight * other;
            }
        }
        let mut found: Vec<Neighbour> = scores
            .into_iter()
            .map(|(document, score)| Neighbour {
                code: self.codes[document],
                similarity: score.min(1.0),
            })
            .collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.code.cmp(&b.code)));
        found.truncate(limit);
        found
    }
}

/// Sublinear term frequency: a gram seen ten times does not count tenfold.
fn damp(count: f64) -> f64 {
    1.0 + count.ln()
}

/// Weights of all documents, each of length one, by n-gram.
fn weigh(documents: &[BTreeMap<String, u32>]) -> HashMap<String, Postings> {
    let mut frequency: BTreeMap<&str, u32> = BTreeMap::new();
    for gram in documents.iter().flat_map(BTreeMap::keys) {
        *frequency.entry(gram).or_insert(0) += 1;
    }
    #[allow(
        clippy::cast_precision_loss,
        reason = "numbers of documents are far below 2^52"
    )]
    let total = documents.len() as f64;
    // Smoothed, as if one more document held every gram: no weight is ever zero.
    let idf = |gram: &str| {
        ((1.0 + total) / (1.0 + f64::from(frequency.get(gram).copied().unwrap_or(0)))).ln() + 1.0
    };

    let mut postings: HashMap<String, Postings> = HashMap::new();
    for (number, grams) in documents.iter().enumerate() {
        let weights: Vec<(&String, f64)> = grams
            .iter()
            .map(|(gram, count)| (gram, damp(f64::from(*count)) * idf(gram)))
            .collect();
        let norm = weights
            .iter()
            .map(|(_, weight)| weight.powi(2))
            .sum::<f64>()
            .sqrt();
        for (gram, weight) in weights {
            let entry = postings.entry(gram.clone()).or_insert_with(|| Postings {
                idf: idf(gram),
                documents: Vec::new(),
            });
            entry.documents.push((number, weight / norm));
        }
    }
    postings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::build(&CodeSet::demo().unwrap())
    }

    #[test]
    fn a_document_is_its_own_nearest_neighbour() {
        let found = index().nearest("claw hammer", 3);
        assert_eq!(found[0].code.to_string(), "10101001");
        assert!(found[0].similarity > 0.999, "{found:?}");
    }

    #[test]
    fn nothing_in_common_finds_nothing() {
        assert!(index().nearest("日本語", 5).is_empty());
        assert!(index().nearest("", 5).is_empty());
    }

    #[test]
    fn the_order_is_the_same_every_time() {
        let (a, b) = (
            index().nearest("steel safety tool", 20),
            index().nearest("steel safety tool", 20),
        );
        assert_eq!(a, b);
        assert!(a.windows(2).all(|pair| pair[0].similarity >= pair[1].similarity));
    }
}
