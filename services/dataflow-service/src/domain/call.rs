//! What a node's parameters mean: a call becomes an `Action`, with every name and value checked.

use serde_json::Value;

use super::bulk::{Bulk, Refusal};
use super::cache_key::CacheWish;
use super::fault::{APPEND_ONLY, FILTER, Fault, PARAMETER};
use super::filter::{self, Condition};
use super::model::Model;
use super::node::Operation;
use super::one_row;
use super::parameters::{Parameters, Read, flag, number, object, only, order, refuse};
use super::row::{self, Assignment};
use super::search::Search;
use super::upsert::Upsert;

/// One row: its id, and what else must hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) also: Vec<Condition>,
}

/// Some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) conditions: Vec<Condition>,
    /// Of a model with soft deletion: also the deleted ones.
    pub(crate) include_deleted: bool,
    /// Whether, and how, the answer may come from the cache.
    pub(crate) cache: CacheWish,
}

/// One page of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) of: Selection,
    /// Columns, each with whether it descends.
    pub(crate) order: Vec<(String, bool)>,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

/// What is to be done, with every name and value checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Create(Vec<Assignment>),
    Read {
        key: Key,
        raise: bool,
        include_deleted: bool,
    },
    Update {
        key: Key,
        values: Vec<Assignment>,
    },
    Delete(Key),
    List(Page),
    Count(Selection),
    Upsert(Upsert),
    Search(Search),
    Bulk(Bulk),
}

/// An action, and what the caller should know about how it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) action: Action,
    pub(crate) warnings: Vec<String>,
}

impl From<Action> for Call {
    fn from(action: Action) -> Self {
        Call {
            action,
            warnings: Vec::new(),
        }
    }
}

impl Action {
    /// Checks a call's parameters.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn parse(
        operation: Operation,
        model: &Model,
        sent: Parameters,
        max_page: i64,
    ) -> Result<Call, Refusal> {
        if let Operation::Bulk(operation) = operation {
            return Bulk::parse(operation, model, sent).map(|bulk| Action::Bulk(bulk).into());
        }
        Action::of_one(operation, model, &sent, max_page).map_err(Refusal::from)
    }

    fn of_one(operation: Operation, model: &Model, sent: &Parameters, max_page: i64) -> Read<Call> {
        match operation {
            Operation::Create => row::for_create(model, sent).map(|values| Action::Create(values).into()),
            Operation::Read => one_row::read(model, sent).map(Call::from),
            Operation::Update => changeable(model).and_then(|()| one_row::update(model, sent)),
            Operation::Delete => changeable(model)
                .and_then(|()| one_row::delete(model, sent))
                .map(Call::from),
            Operation::List => list(model, sent, max_page),
            Operation::Count => {
                only(
                    sent,
                    &[
                        "filter",
                        "include_deleted",
                        "enable_cache",
                        "cache_ttl",
                        "cache_key",
                    ],
                )?;
                selection(model, sent).map(|selection| Action::Count(selection).into())
            }
            Operation::Upsert => changeable(model)
                .and_then(|()| Upsert::parse(model, sent))
                .map(|upsert| Action::Upsert(upsert).into()),
            Operation::Bulk(_) => refuse(PARAMETER, "operation", "is not about one row"),
        }
    }
}

impl Action {
    /// As metrics and the log name it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Action::Create(_) => "create",
            Action::Read { .. } => "read",
            Action::Update { .. } => "update",
            Action::Delete(_) => "delete",
            Action::List(_) => "list",
            Action::Count(_) => "count",
            Action::Upsert(_) => "upsert",
            Action::Search(_) => "search",
            Action::Bulk(bulk) => bulk.operation.word(),
        }
    }
}

/// # Errors
/// Rows of an append-only model stay as they are.
pub(crate) fn changeable(model: &Model) -> Read<()> {
    if !model.config.append_only {
        return Ok(());
    }
    let message = format!(
        "{} is append-only: its rows are neither changed nor deleted",
        model.name
    );
    Err(vec![Fault::new(APPEND_ONLY, message)])
}

fn list(model: &Model, sent: &Parameters, max_page: i64) -> Read<Call> {
    let known = [
        "filter",
        "limit",
        "offset",
        "order_by",
        "sort",
        "count_only",
        "enable_cache",
        "cache_ttl",
        "cache_key",
        "include_deleted",
    ];
    only(sent, &known)?;
    let of = selection(model, sent)?;
    if flag(sent, "count_only", false)? {
        return Ok(Action::Count(of).into());
    }
    let limit = number(sent, "limit", 10)?;
    let page = Page {
        of,
        order: order(model, sent)?,
        limit: limit.min(max_page),
        offset: number(sent, "offset", 0)?,
    };
    let mut call = Call::from(Action::List(page));
    if limit > max_page {
        call.warnings.push(format!("limit is {max_page} at most"));
    }
    Ok(call)
}

fn selection(model: &Model, sent: &Parameters) -> Read<Selection> {
    let ttl = number(sent, "cache_ttl", 0)?;
    let key = match sent.get("cache_key") {
        None | Some(Value::Null) => None,
        Some(Value::String(key)) if key.len() <= 200 => Some(key.clone()),
        Some(_) => return refuse(PARAMETER, "cache_key", "must be a text of 200 bytes at most"),
    };
    Ok(Selection {
        conditions: filter::parse(model, &object(sent, "filter", FILTER)?)?,
        include_deleted: flag(sent, "include_deleted", false)?,
        cache: CacheWish {
            enabled: flag(sent, "enable_cache", true)?,
            ttl_s: u64::try_from(ttl).ok().filter(|ttl| *ttl > 0),
            key,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> Model {
        let fields = json!({ "title": "str", "stock": "int" });
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    fn parse(operation: Operation, sent: Value) -> Result<Call, &'static str> {
        Action::of_one(operation, &model(), sent.as_object().unwrap(), 100).map_err(|faults| faults[0].code)
    }

    #[test]
    fn each_node_has_its_code_for_a_missing_id() {
        for (operation, sent, code) in [
            (Operation::Read, json!({}), "DF-702"),
            (
                Operation::Read,
                json!({ "conditions": { "title": "a" } }),
                "DF-702",
            ),
            (Operation::Read, json!({ "id": "1 or 1=1" }), "DF-101"),
            (Operation::Read, json!({ "id": 1, "record_id": 2 }), "DF-702"),
            (Operation::Read, json!({ "id": 1, "database_url": "x" }), "DF-101"),
            (Operation::Update, json!({ "fields": { "stock": 1 } }), "DF-704"),
            (
                Operation::Update,
                json!({ "filter": { "id": { "$gt": 0 } }, "fields": { "stock": 1 } }),
                "DF-704",
            ),
            (
                Operation::Update,
                json!({ "id": 1, "stock": 1, "database_url": "x" }),
                "DF-101",
            ),
            (Operation::Delete, json!({}), "DF-705"),
            (
                Operation::Delete,
                json!({ "filter": { "nope": 1, "id": 1 } }),
                "DF-701",
            ),
        ] {
            assert_eq!(parse(operation, sent.clone()), Err(code), "{operation:?} {sent}");
        }
    }

    #[test]
    fn an_update_has_old_and_flat_forms_that_mean_the_same() {
        let plain = json!({ "filter": { "id": 1 }, "fields": { "stock": 2 } });
        let Call { action, warnings } = parse(Operation::Update, plain).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        for (sent, told) in [
            (json!({ "conditions": { "id": 1 }, "updates": { "stock": 2 } }), 2),
            (json!({ "id": 1, "stock": 2 }), 0),
            (
                json!({ "record_id": 1, "fields": { "stock": 2, "updated_at": "2026-01-01" } }),
                1,
            ),
        ] {
            let call = parse(Operation::Update, sent).unwrap();
            assert_eq!((&call.action, call.warnings.len()), (&action, told));
        }
        let twice = json!({ "filter": { "id": 1 }, "conditions": { "id": 1 }, "fields": { "stock": 2 } });
        assert_eq!(parse(Operation::Update, twice), Err("DF-101"));
    }

    #[test]
    fn a_row_may_be_held_to_more_than_its_id() {
        let sent = json!({ "filter": { "id": 1, "stock": { "$gte": 5 } } });
        let Action::Delete(key) = parse(Operation::Delete, sent).unwrap().action else {
            panic!("a deletion");
        };
        assert_eq!((key.id.as_str(), key.also.len()), ("1", 1));
    }

    #[test]
    fn pages_are_bounded() {
        let call = parse(Operation::List, json!({ "limit": 5000, "include_deleted": true })).unwrap();
        let Action::List(page) = call.action else {
            panic!("a page");
        };
        assert_eq!((page.limit, page.offset, page.of.include_deleted), (100, 0, true));
        assert_eq!(call.warnings, ["limit is 100 at most"]);
        assert_eq!(parse(Operation::List, json!({ "limit": -1 })), Err("DF-101"));
        let counted = parse(Operation::List, json!({ "count_only": true })).unwrap();
        assert!(matches!(counted.action, Action::Count(_)));
    }

    #[test]
    fn what_is_append_only_is_not_changed() {
        let mut model = model();
        model.config.append_only = true;
        for operation in [Operation::Update, Operation::Delete, Operation::Upsert] {
            let faults = Action::of_one(operation, &model, &Parameters::new(), 100).unwrap_err();
            assert_eq!(faults[0].code, APPEND_ONLY);
        }
    }
}
