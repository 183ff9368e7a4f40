//! `POST /classify`, and `POST /api/classify/product` under which older callers know it.

use std::time::Instant;

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use kit::{Body, Problem, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cache,
    domain::{
        Classifier, Decision, Level,
        classify::{Candidate, MAX_CANDIDATES, MODEL},
        text::normalise,
    },
    state::App,
};

/// Longer texts are refused: names and descriptions of products are short.
const MAX_TEXT_BYTES: usize = 8 * 1024;
const DEFAULT_CANDIDATES: usize = 5;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/classify", post(classify))
        .route("/api/classify/product", post(classify))
}

/// What to classify: `text`, or the fields of a product.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    id: Option<Value>,
    text: Option<String>,
    name: Option<String>,
    description: Option<String>,
    category: Option<String>,
    brand: Option<String>,
    systems: Option<Vec<String>>,
    top_k: Option<usize>,
    level: Option<String>,
    use_cache: Option<bool>,
}

/// A question that can be answered.
struct Task {
    text: String,
    level: Level,
    top_k: usize,
}

async fn classify(State(app): State<App>, Body(question): Body<Question>) -> Result<Json<Value>> {
    let begun = Instant::now();
    let task = task(&question)?;
    let Some(classifier) = app.classifier() else {
        return Err(Problem::internal("no code set"));
    };
    let wanted = format!("{} {} {}", task.level.as_str(), task.top_k, normalise(&task.text));
    let key = cache::key(MODEL, classifier.set().name(), &wanted);
    let cache = app.cache().filter(|_| question.use_cache.unwrap_or(true));
    let kept = match cache {
        Some(cache) => cache.get(&key).await,
        None => None,
    };
    let hit = kept.is_some();
    let mut answer = kept.unwrap_or_else(|| answer(classifier, &task));
    if let Some(cache) = cache.filter(|_| !hit) {
        cache.put(&key, &answer).await;
    }
    answer["id"] = question.id.unwrap_or(Value::Null);
    answer["cache_hit"] = json!(hit);
    answer["processing_ms"] = json!(begun.elapsed().as_secs_f64() * 1000.0);
    Ok(Json(answer))
}

/// Everything that is wrong with a question, as one 422.
fn task(question: &Question) -> Result<Task> {
    let mut faults = Vec::new();
    let fields = [
        &question.text,
        &question.name,
        &question.description,
        &question.category,
        &question.brand,
    ];
    let text = fields
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ");
    if fields.iter().all(|field| field.is_none()) {
        faults.push("text: expected text, or at least a name".to_owned());
    }
    if text.len() > MAX_TEXT_BYTES {
        faults.push(format!(
            "text: expected at most {MAX_TEXT_BYTES} bytes, got {}",
            text.len()
        ));
    }
    let top_k = question.top_k.unwrap_or(DEFAULT_CANDIDATES);
    if !(1..=MAX_CANDIDATES).contains(&top_k) {
        faults.push(format!("top_k: expected 1 to {MAX_CANDIDATES}, got {top_k}"));
    }
    let word = question.level.as_deref().unwrap_or("commodity");
    let level = Level::from_word(word);
    if level.is_none() {
        faults.push(format!(
            "level: expected segment, family, class or commodity, got '{word}'"
        ));
    }
    for system in question
        .systems
        .iter()
        .flatten()
        .filter(|system| *system != "unspsc")
    {
        faults.push(format!(
            "systems: no code set is loaded for '{system}'; expected unspsc"
        ));
    }
    match level {
        Some(level) if faults.is_empty() => Ok(Task { text, level, top_k }),
        _ => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "INVALID_QUESTION",
            faults.join("; "),
        )
        .field("faults", faults)),
    }
}

fn answer(classifier: &Classifier, task: &Task) -> Value {
    let found = classifier.classify(&task.text, task.level, task.top_k);
    let candidates: Vec<Value> = found
        .candidates
        .iter()
        .map(|one| code(classifier, *one))
        .collect();
    let (mut result, reason) = match found.decision {
        Decision::Code(candidate) => (code(classifier, candidate), None),
        Decision::Abstained(reason) => (json!({ "code": null }), Some(reason)),
    };
    result["candidates"] = json!(candidates);
    json!({
        "unspsc": result,
        "abstained": reason.is_some(),
        "reason": reason,
        "model": MODEL,
        "code_set": classifier.set().name(),
    })
}

/// A code with its place in the hierarchy.
fn code(classifier: &Classifier, candidate: Candidate) -> Value {
    let set = classifier.set();
    let lineage = candidate.code.lineage();
    let hierarchy: Vec<Value> = lineage
        .iter()
        .map(|code| json!({ "code": code.to_string(), "title": set.title(*code) }))
        .collect();
    json!({
        "code": candidate.code.to_string(),
        "title": set.title(candidate.code),
        "level": candidate.code.level().as_str(),
        "hierarchy": hierarchy,
        "confidence": (candidate.confidence * 1000.0).round() / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_question_is_told() {
        let question = Question {
            top_k: Some(0),
            level: Some("order".into()),
            systems: Some(vec!["unspsc".into(), "etim".into()]),
            ..Question::default()
        };
        let Err(problem) = task(&question) else {
            panic!("accepted")
        };
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let words = problem.to_string();
        for name in ["text:", "top_k:", "level:", "systems:"] {
            assert!(words.contains(name), "{words}");
        }
    }

    #[test]
    fn the_fields_of_a_product_are_read_together() {
        let question = Question {
            name: Some("hammer".into()),
            description: Some("claw".into()),
            brand: Some("Acme".into()),
            ..Question::default()
        };
        assert_eq!(task(&question).unwrap().text, "hammer claw Acme");
    }
}
