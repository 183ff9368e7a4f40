//! The items of a bulk call: each is checked, and those that set the same columns are kept together, since each
//! such group is one statement.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::bulk::BulkOperation;
use super::fault::{Fault, PARAMETER};
use super::field::Kind;
use super::model::Model;
use super::row::{self, Assignment};

/// An item that cannot be written, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ItemFault {
    /// Its place in the call, from 0.
    pub(crate) index: usize,
    pub(crate) fault: Fault,
}

impl ItemFault {
    /// `{index, code, field, message}`.
    pub(crate) fn to_json(&self) -> Value {
        let Fault { code, field, message } = &self.fault;
        json!({ "index": self.index, "code": code, "field": field, "message": message })
    }
}

/// One item: the values of its group's columns, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) values: Vec<Option<String>>,
}

/// Items that set the same columns, and leave the same ones to their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) columns: Vec<(String, Kind)>,
    /// Columns that were not sent: they have their defaults in a new row, and stay in one that is there already.
    pub(crate) defaulted: Vec<String>,
    pub(crate) items: Vec<Item>,
}

/// Items by the columns that they set, and those that are refused.
pub(crate) fn grouped(
    operation: BulkOperation,
    model: &Model,
    key: &[String],
    items: Vec<Value>,
) -> (Vec<Group>, Vec<ItemFault>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut places = Places::new();
    let (mut faults, mut keys) = (Vec::new(), HashSet::new());
    for (index, item) in items.into_iter().enumerate() {
        // Where no row is met, defaults are values like others, and items are in fewer groups.
        let meets_rows = !key.is_empty();
        let (values, defaulted) = match assignments(operation, model, item, meets_rows) {
            Ok(values) => values,
            Err(found) => {
                faults.extend(found.into_iter().map(|fault| ItemFault { index, fault }));
                continue;
            }
        };
        if let Some(own) = key_of(&values, key)
            && !keys.insert(own)
        {
            let message = format!("another item has the same {}", key.join(", "));
            let fault = Fault::about(PARAMETER, &key.join(", "), message);
            faults.push(ItemFault { index, fault });
            continue;
        }
        place(&mut groups, &mut places, index, values, defaulted);
    }
    (groups, faults)
}

/// Where the group of some columns and some defaults is.
type Places = BTreeMap<(Vec<String>, Vec<String>), usize>;

fn place(
    groups: &mut Vec<Group>,
    places: &mut Places,
    index: usize,
    values: Vec<Assignment>,
    defaulted: Vec<String>,
) {
    // Items are mostly alike: the group of the one before is looked at first, without any allocation.
    let same = |group: &Group| {
        let columns = group.columns.iter().map(|(column, _)| column);
        columns.eq(values.iter().map(|value| &value.column)) && group.defaulted == defaulted
    };
    let at = match groups.last() {
        Some(last) if same(last) => groups.len() - 1,
        _ => {
            let columns: Vec<String> = values.iter().map(|value| value.column.clone()).collect();
            *places.entry((columns, defaulted.clone())).or_insert_with(|| {
                let columns = values.iter().map(|value| (value.column.clone(), value.kind));
                groups.push(Group {
                    columns: columns.collect(),
                    defaulted,
                    items: Vec::new(),
                });
                groups.len() - 1
            })
        }
    };
    let values = values.into_iter().map(|value| value.value).collect();
    groups[at].items.push(Item { index, values });
}

/// The values of an item, and which of them are defaults: all for a new row; an id and what is set; an id alone.
fn assignments(
    operation: BulkOperation,
    model: &Model,
    item: Value,
    meets_rows: bool,
) -> Result<(Vec<Assignment>, Vec<String>), Vec<Fault>> {
    if operation == BulkOperation::Delete {
        let id = match item {
            Value::Object(mut item) => item.remove("id").unwrap_or_default(),
            id => id,
        };
        return Ok((vec![id_assignment(model, &id)?], Vec::new()));
    }
    let Value::Object(mut item) = item else {
        return Err(vec![Fault::new(PARAMETER, "an item must be an object")]);
    };
    if operation != BulkOperation::Update {
        let values = row::for_create(model, &item)?;
        let left_out = values
            .iter()
            .filter(|value| meets_rows && !item.contains_key(&value.column));
        let defaulted = left_out.map(|value| value.column.clone()).collect();
        return Ok((values, defaulted));
    }
    let id = item.remove("id").unwrap_or_default();
    let mut values = vec![id_assignment(model, &id)?];
    values.extend(row::for_update(model, &item)?);
    Ok((values, Vec::new()))
}

fn id_assignment(model: &Model, id: &Value) -> Result<Assignment, Vec<Fault>> {
    if id.is_null() {
        return Err(vec![Fault::about(PARAMETER, "id", "an id is required")]);
    }
    let value = row::id_of(model, id).map_err(|fault| vec![fault])?;
    Ok(Assignment {
        column: "id".to_owned(),
        kind: model.id_kind(),
        value: Some(value),
    })
}

/// What tells an item from the others; `None` where it does not set all of the key, or sets null.
fn key_of(values: &[Assignment], key: &[String]) -> Option<Vec<String>> {
    if key.is_empty() {
        return None;
    }
    key.iter()
        .map(|column| {
            let value = values.iter().find(|value| value.column == *column)?;
            value.value.clone()
        })
        .collect()
}
