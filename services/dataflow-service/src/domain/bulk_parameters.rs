//! The parameters of bulk nodes: their names, their bounds, and how each is read.

use serde_json::Value;

use super::bulk::{BulkOperation, Conflict, OnError};
use super::fault::{BULK_UNCONFIRMED, FILTER, Fault, PARAMETER};
use super::filter::{self, Condition};
use super::model::Model;
use super::parameters::{Parameters, flag, only};

/// Items in one call at most; an import takes more.
pub(super) const MOST_ITEMS: usize = 50_000;
/// Rows in one statement, where `batch_size` does not say it.
pub(super) const BATCH: usize = 1000;
pub(super) const LARGEST_BATCH: usize = 10_000;
/// The names under which items are sent.
pub(super) const DATA: [&str; 4] = ["data", "records", "rows", "documents"];

pub(super) const CONFLICTS: [(&str, Conflict); 3] = [
    ("skip", Conflict::Skip),
    ("update", Conflict::Update),
    ("error", Conflict::Error),
];
pub(super) const ON_ERRORS: [(&str, OnError); 2] =
    [("abort", OnError::Abort), ("continue", OnError::Continue)];

/// The parameters of an operation, by name.
pub(super) fn names(operation: BulkOperation) -> impl Iterator<Item = &'static str> {
    let own: &[&str] = match operation {
        BulkOperation::Create | BulkOperation::Upsert => {
            &["conflict_resolution", "conflict_on", "return_ids"]
        }
        BulkOperation::Update => &["filter", "fields", "safe_mode", "confirmed"],
        BulkOperation::Delete => &["filter", "safe_mode", "confirmed"],
    };
    DATA.into_iter()
        .chain(["batch_size", "on_error"])
        .chain(own.iter().copied())
}

pub(super) fn known(operation: BulkOperation, sent: &Parameters) -> Result<(), Vec<Fault>> {
    let known: Vec<&str> = names(operation).collect();
    only(sent, &known)
}

pub(super) fn items(sent: &mut Parameters) -> Result<Option<Vec<Value>>, Fault> {
    let mut given = DATA
        .iter()
        .filter_map(|name| Some((*name, sent.remove(*name).filter(|value| !value.is_null())?)));
    let Some((name, value)) = given.next() else {
        return Ok(None);
    };
    if let Some((other, _)) = given.next() {
        return Err(Fault::about(
            PARAMETER,
            other,
            format!("{other} is another name of {name}"),
        ));
    }
    match value {
        Value::Array(items) if items.len() > MOST_ITEMS => {
            let message =
                format!("{name} holds more than {MOST_ITEMS} items: send several calls, or an import");
            Err(Fault::about(PARAMETER, name, message))
        }
        Value::Array(items) => Ok(Some(items)),
        _ => Err(Fault::about(PARAMETER, name, format!("{name} must be an array"))),
    }
}

pub(super) fn filter_of(model: &Model, sent: &Parameters) -> Result<Option<Vec<Condition>>, Vec<Fault>> {
    match sent.get("filter") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(filter)) => filter::parse(model, filter).map(Some),
        Some(_) => Err(vec![Fault::about(FILTER, "filter", "filter must be an object")]),
    }
}

/// Whatever `safe_mode` says: every row of a model is meant only where that is said in so many words.
pub(super) fn confirmed(conditions: &[Condition], sent: &Parameters) -> Result<(), Vec<Fault>> {
    flag(sent, "safe_mode", true)?;
    if conditions.is_empty() && !flag(sent, "confirmed", false)? {
        let message = "an empty filter means every row: say confirmed: true";
        return Err(vec![Fault::about(BULK_UNCONFIRMED, "confirmed", message)]);
    }
    Ok(())
}

pub(super) fn conflict_on(model: &Model, sent: &Parameters) -> Result<Vec<String>, Fault> {
    let wrong = || {
        Fault::about(
            PARAMETER,
            "conflict_on",
            "conflict_on takes id or one unique field",
        )
    };
    let columns = match sent.get("conflict_on") {
        None | Some(Value::Null) => return Ok(vec!["id".to_owned()]),
        Some(Value::Array(columns)) => columns,
        Some(_) => return Err(wrong()),
    };
    let [Value::String(column)] = &columns[..] else {
        return Err(wrong());
    };
    let field = model.fields.get(column).ok_or_else(wrong)?;
    if column != "id" && !field.unique {
        return Err(wrong());
    }
    Ok(vec![column.clone()])
}

pub(super) fn batch_size(sent: &Parameters) -> Result<usize, Fault> {
    let wrong = || {
        let message = format!("batch_size must be a whole number from 1 to {LARGEST_BATCH}");
        Fault::about(PARAMETER, "batch_size", message)
    };
    match sent.get("batch_size") {
        None | Some(Value::Null) => Ok(BATCH),
        Some(value) => {
            let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
            size.filter(|size| (1..=LARGEST_BATCH).contains(size))
                .ok_or_else(wrong)
        }
    }
}

pub(super) fn word<T: Copy>(
    sent: &Parameters,
    name: &str,
    words: &[(&str, T)],
    default: T,
) -> Result<T, Fault> {
    let Some(value) = sent.get(name).filter(|value| !value.is_null()) else {
        return Ok(default);
    };
    let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Fault::about(
            PARAMETER,
            name,
            format!("{name} must be one of {}", words.join(", ")),
        )
    })
}
