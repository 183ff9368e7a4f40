//! The decision: neighbours vote for their codes, and the answer goes as deep as the vote carries.
//! Where not even a segment is sure, it abstains instead of guessing.

use std::collections::BTreeMap;

use super::{
    code::{Code, Level},
    codeset::CodeSet,
    index::{Index, Neighbour},
    text::normalise,
};

/// Name and version of the method; part of every cache key.
pub const MODEL: &str = "tfidf-char-2-5-knn-8";
/// How many neighbours vote.
const VOTERS: usize = 8;
/// Below this similarity of the best neighbour, no level is sure. Held by the tests on the demo set.
const MIN_SIMILARITY: f64 = 0.30;
/// A level is answered when its confidence reaches this.
const MIN_CONFIDENCE: f64 = 0.35;
/// The most candidates that are ever listed.
pub const MAX_CANDIDATES: usize = 20;

/// A code with what speaks for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The code, at any level.
    pub code: Code,
    /// 0 to 1: the best similarity below it times its share of the vote. An ordering, not a probability.
    pub confidence: f64,
}

/// What the neighbours say about a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbourhood {
    /// Commodities, the most similar first.
    pub candidates: Vec<Candidate>,
    /// The answer, or why there is none.
    pub decision: Decision,
}

/// The answer, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The deepest code that is sure enough.
    Code(Candidate),
    /// No answer; the reason in words for the caller.
    Abstained(&'static str),
}

/// A code set with its index.
#[derive(Debug)]
pub struct Classifier {
    set: CodeSet,
    index: Index,
}

impl Classifier {
    /// Indexes `set`.
    #[must_use]
    pub fn new(set: CodeSet) -> Self {
        let index = Index::build(&set);
        Self { set, index }
    }

    /// The set that codes come from.
    #[must_use]
    pub fn set(&self) -> &CodeSet {
        &self.set
    }

    /// Classifies `text` no deeper than `deepest`, and lists at most `limit` commodities beside the answer.
    #[must_use]
    pub fn classify(&self, text: &str, deepest: Level, limit: usize) -> Neighbourhood {
        let normalised = normalise(text);
        let voters = self.index.nearest(&normalised, VOTERS);
        let listed = self.index.nearest(&normalised, usize::MAX);
        Neighbourhood {
            candidates: distinct(&listed, limit.min(MAX_CANDIDATES)),
            decision: decide(&normalised, &voters, deepest),
        }
    }
}

/// The best document of each commodity, most similar first.
fn distinct(neighbours: &[Neighbour], limit: usize) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::new();
    for neighbour in neighbours {
        if kept.len() == limit {
            break;
        }
        if kept.iter().all(|candidate| candidate.code != neighbour.code) {
            kept.push(Candidate {
                code: neighbour.code,
                confidence: neighbour.similarity,
            });
        }
    }
    kept
}

fn decide(normalised: &str, voters: &[Neighbour], deepest: Level) -> Decision {
    if normalised.is_empty() {
        return Decision::Abstained("the text has no letters or digits");
    }
    if voters.first().is_none_or(|best| best.similarity < MIN_SIMILARITY) {
        return Decision::Abstained("nothing in the code set resembles the text");
    }
    let levels = Level::DEEPEST_FIRST.into_iter().filter(|level| *level <= deepest);
    let sure = levels
        .map(|level| strongest(voters, level))
        .find(|best| best.is_some_and(|candidate| candidate.confidence >= MIN_CONFIDENCE));
    match sure.flatten() {
        Some(candidate) => Decision::Code(candidate),
        None => Decision::Abstained("the nearest codes contradict each other"),
    }
}

/// The code of `level` with the highest confidence among the voters; of equal ones the lower number.
fn strongest(voters: &[Neighbour], level: Level) -> Option<Candidate> {
    let mut tally: BTreeMap<Code, (f64, f64)> = BTreeMap::new();
    let mut total = 0.0;
    for voter in voters {
        // Squared: one close neighbour outweighs several distant ones.
        let vote = voter.similarity.powi(2);
        total += vote;
        let (sum, best) = tally.entry(voter.code.at(level)).or_insert((0.0, 0.0));
        *sum += vote;
        *best = best.max(voter.similarity);
    }
    let score = |(code, (sum, best)): (Code, (f64, f64))| Candidate {
        code,
        confidence: best * sum / total,
    };
    tally
        .into_iter()
        .map(score)
        .reduce(|a, b| if b.confidence > a.confidence { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classifier() -> Classifier {
        Classifier::new(CodeSet::demo().unwrap())
    }

    fn answer(text: &str) -> Decision {
        classifier().classify(text, Level::Commodity, 5).decision
    }

    fn code_of(text: &str) -> String {
        match answer(text) {
            Decision::Code(candidate) => candidate.code.to_string(),
            Decision::Abstained(why) => panic!("abstained on {text}: {why}"),
        }
    }

    #[test]
    fn plain_names_reach_their_commodity() {
        assert_eq!(code_of("Stanley claw hammer 450 g"), "10101001");
        assert_eq!(code_of("18V cordless drill, brushless"), "20101001");
        assert_eq!(code_of("NITRILE coated work gloves size L"), "40201001");
        assert_eq!(code_of("safety helmets"), "40102001");
    }

    #[test]
    fn misspelt_names_still_reach_it() {
        assert_eq!(code_of("adjustible spaner 10 inch"), "10202001");
    }

    #[test]
    fn an_unsure_text_backs_off_to_a_wider_code() {
        let Decision::Code(candidate) = answer("hammer") else {
            panic!("abstained")
        };
        assert!(candidate.code.level() <= Level::Commodity);
        let wide = classifier().classify("claw hammer", Level::Segment, 5).decision;
        assert!(
            matches!(wide, Decision::Code(c) if c.code.to_string() == "10000000"),
            "{wide:?}"
        );
    }

    #[test]
    fn it_abstains_instead_of_guessing() {
        for text in [
            "",
            "???",
            "日本語",
            "quarterly audit of accounts",
            "fresh bananas",
            "zzzzqqqq",
        ] {
            assert!(
                matches!(answer(text), Decision::Abstained(_)),
                "{text}: {:?}",
                answer(text)
            );
        }
    }

    #[test]
    fn every_code_comes_from_the_set() {
        let classifier = classifier();
        for text in ["led", "steel pipe", "paint", "glue for wood", "safety"] {
            let found = classifier.classify(text, Level::Commodity, 20);
            assert!(
                found
                    .candidates
                    .iter()
                    .all(|c| classifier.set().get(c.code).is_some())
            );
            if let Decision::Code(candidate) = found.decision {
                assert!(classifier.set().get(candidate.code).is_some());
            }
        }
    }

    #[test]
    fn candidates_are_distinct_and_limited() {
        let found = classifier().classify("safety", Level::Commodity, 3);
        assert!(found.candidates.len() <= 3);
        assert!(classifier().classify("a", Level::Commodity, 500).candidates.len() <= MAX_CANDIDATES);
    }

    #[test]
    fn each_example_of_the_set_is_found_again() {
        let classifier = classifier();
        let commodities = classifier
            .set()
            .iter()
            .filter(|(code, _)| code.level() == Level::Commodity);
        let (mut hits, mut all) = (0, 0);
        for (code, entry) in commodities {
            for phrase in &entry.examples {
                all += 1;
                let found = classifier.classify(phrase, Level::Commodity, 1);
                hits += u32::from(found.candidates.first().is_some_and(|first| first.code == code));
            }
        }
        assert_eq!(hits, all);
    }
}
