//! Vector search: the rows whose vectors are nearest to one.

use serde_json::Value;

use super::fault::{FILTER, Fault, PARAMETER};
use super::field::{Kind, Metric};
use super::filter::{self, Condition};
use super::model::Model;
use super::parameters::{Parameters, Read, flag, number, object, only, refuse, word};

/// A search with every name and value checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) column: String,
    pub(crate) kind: Kind,
    pub(crate) vector: String,
    /// Rows at most.
    pub(crate) k: i64,
    pub(crate) metric: Metric,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) include_distance: bool,
    pub(crate) include_deleted: bool,
}

impl Search {
    /// `{field, vector, k, metric, filter, include_distance, include_deleted}`.
    ///
    /// # Errors
    /// Everything that is wrong with them; a vector of another length names the field.
    pub(crate) fn parse(model: &Model, sent: &Parameters, max_page: i64) -> Read<Self> {
        let known = [
            "field",
            "vector",
            "k",
            "metric",
            "filter",
            "include_distance",
            "include_deleted",
        ];
        only(sent, &known)?;
        let name = sent.get("field").and_then(Value::as_str).unwrap_or_default();
        let Some((field, kind @ Kind::Vector(_))) = model.fields.get(name).map(|field| (field, field.kind))
        else {
            return refuse(
                PARAMETER,
                "field",
                &format!("must name a vector of {}", model.name),
            );
        };
        let k = number(sent, "k", 10)?;
        if !(1..=max_page).contains(&k) {
            return refuse(PARAMETER, "k", &format!("must be from 1 to {max_page}"));
        }
        let metric = word(
            sent,
            "metric",
            field.metric.unwrap_or_default(),
            "cosine, l2 or ip",
        )?;
        Ok(Search {
            column: name.to_owned(),
            kind,
            vector: vector(name, kind, metric, sent.get("vector").unwrap_or(&Value::Null))?,
            k,
            metric,
            conditions: filter::parse(model, &object(sent, "filter", FILTER)?)?,
            include_distance: flag(sent, "include_distance", true)?,
            include_deleted: flag(sent, "include_deleted", false)?,
        })
    }
}

fn vector(name: &str, kind: Kind, metric: Metric, sent: &Value) -> Read<String> {
    let text = kind
        .text_of(sent)
        .map_err(|why| vec![Fault::about(PARAMETER, name, format!("vector for {name} {why}"))])?;
    let is_zero = |number: &Value| number.as_f64() == Some(0.0);
    if metric == Metric::Cosine && sent.as_array().is_some_and(|numbers| numbers.iter().all(is_zero)) {
        let message =
            format!("vector for {name} is all zeros: it has no direction, and cosine compares directions");
        return Err(vec![Fault::about(PARAMETER, name, message)]);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_search_names_what_does_not_fit() {
        let fields = json!({ "title": "str", "place": { "type": "vector(2)", "metric": "l2" } });
        let model = Model::define("Product", fields.as_object().unwrap()).unwrap();
        let parse = |sent: Value| Search::parse(&model, sent.as_object().unwrap(), 100);
        let search =
            parse(json!({ "field": "place", "vector": [1, 0.5], "filter": { "title": "a" } })).unwrap();
        assert_eq!(
            (search.vector.as_str(), search.k, search.metric),
            ("[1,0.5]", 10, Metric::L2)
        );
        for (sent, field) in [
            (json!({ "field": "title", "vector": [1, 2] }), "field"),
            (json!({ "field": "place", "vector": [1, 2, 3] }), "place"),
            (
                json!({ "field": "place", "vector": [0, 0], "metric": "cosine" }),
                "place",
            ),
            (json!({ "field": "place", "vector": [1, 2], "k": 0 }), "k"),
            (json!({ "field": "place", "vector": [1, 2], "k": 101 }), "k"),
            (
                json!({ "field": "place", "vector": [1, 2], "metric": "l1" }),
                "metric",
            ),
            (
                json!({ "field": "place", "vector": [1, 2], "filter": { "place": { "$gt": [1, 2] } } }),
                "place",
            ),
        ] {
            let faults = parse(sent.clone()).unwrap_err();
            assert_eq!(faults[0].field.as_deref(), Some(field), "{sent}");
        }
    }
}
