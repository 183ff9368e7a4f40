//! The parameters of nodes that are about one row: its id, what else must hold of it, and what is set.

use serde_json::Value;

use super::call::{Action, Call, Key};
use super::fault::{DELETE_WITHOUT_ID, FILTER, Fault, PARAMETER, READ_WITHOUT_ID, UPDATE_WITHOUT_ID};
use super::filter;
use super::model::{DELETED, Model, STAMPS};
use super::parameters::{Parameters, Read, flag, object, only, refuse};
use super::row;

pub(super) fn read(model: &Model, sent: &Parameters) -> Read<Action> {
    let known = [
        "id",
        "record_id",
        "conditions",
        "raise_on_not_found",
        "include_deleted",
    ];
    only(sent, &known)?;
    Ok(Action::Read {
        key: key(model, sent, object(sent, "conditions", FILTER)?, READ_WITHOUT_ID)?,
        raise: flag(sent, "raise_on_not_found", true)?,
        include_deleted: flag(sent, "include_deleted", false)?,
    })
}

/// What is sent beside these words is a field, as DataFlow takes it, too.
const UPDATE_WORDS: [&str; 6] = ["filter", "conditions", "fields", "updates", "id", "record_id"];

pub(super) fn update(model: &Model, sent: &Parameters) -> Read<Call> {
    let mut warnings = Vec::new();
    let filter = renamed(sent, "filter", "conditions", &mut warnings)?;
    let mut fields = renamed(sent, "fields", "updates", &mut warnings)?;
    for (name, value) in sent
        .iter()
        .filter(|(name, _)| !UPDATE_WORDS.contains(&name.as_str()))
    {
        if name == "database_url" {
            only(sent, &UPDATE_WORDS)?;
        }
        if fields.insert(name.clone(), value.clone()).is_some() {
            return refuse(PARAMETER, name, "is sent twice, in fields and beside them");
        }
    }
    for own in STAMPS.into_iter().chain([DELETED]) {
        // A field may have that name where the config does not take it.
        if !model.fields.contains_key(own) && fields.remove(own).is_some() {
            warnings.push(format!("{own} is set by the service; what was sent is left out"));
        }
    }
    let key = key(model, sent, filter, UPDATE_WITHOUT_ID)?;
    let values = row::for_update(model, &fields)?;
    Ok(Call {
        action: Action::Update { key, values },
        warnings,
    })
}

/// A parameter that had another name once.
fn renamed(sent: &Parameters, name: &str, before: &str, warnings: &mut Vec<String>) -> Read<Parameters> {
    if !sent.contains_key(before) {
        return object(sent, name, PARAMETER);
    }
    if sent.contains_key(name) {
        return refuse(
            PARAMETER,
            before,
            &format!("is the old name of {name}; both were sent"),
        );
    }
    warnings.push(format!("{before} is deprecated: use {name}"));
    object(sent, before, PARAMETER)
}

pub(super) fn delete(model: &Model, sent: &Parameters) -> Read<Action> {
    only(sent, &["id", "record_id", "filter"])?;
    let filter = object(sent, "filter", FILTER)?;
    key(model, sent, filter, DELETE_WITHOUT_ID).map(Action::Delete)
}

/// The row that a call is about: its id stands among the parameters, or in their filter beside other conditions.
fn key(model: &Model, sent: &Parameters, mut filter: Parameters, code: &'static str) -> Read<Key> {
    let plain = |value: &Value| !value.is_null() && !value.is_object();
    let beside = ["id", "record_id"].into_iter().filter_map(|name| sent.get(name));
    let mut ids: Vec<Value> = beside.filter(|value| !value.is_null()).cloned().collect();
    if filter.get("id").is_some_and(plain) {
        ids.extend(filter.remove("id"));
    }
    let Some(id) = ids.first() else {
        return Err(vec![Fault::about(code, "id", "an id is required")]);
    };
    if ids.iter().any(|other| other != id) {
        return refuse(code, "id", "is sent twice, and is not the same");
    }
    Ok(Key {
        id: row::id_of(model, id).map_err(|fault| vec![fault])?,
        also: filter::parse(model, &filter)?,
    })
}
