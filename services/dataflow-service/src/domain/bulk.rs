//! Bulk nodes: what they are called for. Their parameters are read by `bulk_parameters`, and every item is checked
//! before any SQL (`items`).

use serde_json::Value;

use super::bulk_parameters::{
    CONFLICTS, ON_ERRORS, batch_size, confirmed, conflict_on, filter_of, items, known, word,
};
use super::fault::{APPEND_ONLY, Fault, PARAMETER};
use super::filter::Condition;
use super::items::{Group, ItemFault, grouped};
use super::model::Model;
use super::parameters::{Parameters, flag, object};
use super::row::{self, Assignment};

/// The bulk operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BulkOperation {
    Create,
    Update,
    Delete,
    Upsert,
}

impl BulkOperation {
    /// As results and events name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            BulkOperation::Create => "bulk_create",
            BulkOperation::Update => "bulk_update",
            BulkOperation::Delete => "bulk_delete",
            BulkOperation::Upsert => "bulk_upsert",
        }
    }
}

/// What becomes of an item whose key a row has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    Skip,
    Update,
    Error,
}

/// What becomes of the other items where one cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnError {
    /// Nothing is written.
    Abort,
    /// They are written, and the failed ones are named.
    Continue,
}

/// Which rows are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Those that items name; with the columns that are set.
    Items(Vec<Group>),
    /// Those that a filter finds, and what is set in all of them.
    Filter(Vec<Condition>, Vec<Assignment>),
}

/// A bulk call with every name and value checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bulk {
    pub(crate) operation: BulkOperation,
    pub(crate) target: Target,
    /// Items sent; 0 where a filter says what is meant.
    pub(crate) sent: usize,
    pub(crate) batch_size: usize,
    pub(crate) conflict: Conflict,
    /// The columns by which a conflict is told; empty: any unique one.
    pub(crate) conflict_on: Vec<String>,
    pub(crate) return_ids: bool,
    pub(crate) on_error: OnError,
    /// Items that were refused already, where the others go on.
    pub(crate) faults: Vec<ItemFault>,
}

/// Why a bulk call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Call(Vec<Fault>),
    Items(Vec<ItemFault>),
}

impl From<Vec<Fault>> for Refusal {
    fn from(faults: Vec<Fault>) -> Self {
        Refusal::Call(faults)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Refusal::Call(vec![fault])
    }
}

impl Bulk {
    /// Checks a call's parameters.
    ///
    /// # Errors
    /// Everything that is wrong with the call, or else with its items.
    pub(crate) fn parse(
        operation: BulkOperation,
        model: &Model,
        mut sent: Parameters,
    ) -> Result<Self, Refusal> {
        known(operation, &sent)?;
        let items = items(&mut sent)?;
        let filter = filter_of(model, &sent)?;
        let conflict_on = conflict_on(model, &sent)?;
        let conflict = word(&sent, "conflict_resolution", &CONFLICTS, Conflict::Skip)?;
        guard(operation, conflict, model)?;
        let mut bulk = Bulk {
            operation,
            target: Target::Items(Vec::new()),
            sent: items.as_ref().map_or(0, Vec::len),
            batch_size: batch_size(&sent)?,
            conflict,
            conflict_on,
            return_ids: flag(&sent, "return_ids", false)?,
            on_error: word(&sent, "on_error", &ON_ERRORS, OnError::Abort)?,
            faults: Vec::new(),
        };
        match (items, filter) {
            (Some(items), None) => bulk.take(model, items)?,
            (None, Some(conditions)) => {
                confirmed(&conditions, &sent)?;
                let values = match operation {
                    BulkOperation::Update => row::for_update(model, &object(&sent, "fields", PARAMETER)?)?,
                    _ => Vec::new(),
                };
                bulk.target = Target::Filter(conditions, values);
            }
            (None, None) => return Err(Fault::about(PARAMETER, "data", "data is required").into()),
            (Some(_), Some(_)) => {
                let message = "data and filter exclude each other";
                return Err(Fault::about(PARAMETER, "filter", message).into());
            }
        }
        Ok(bulk)
    }

    fn take(&mut self, model: &Model, items: Vec<Value>) -> Result<(), Refusal> {
        let (groups, faults) = grouped(self.operation, model, &self.key(), items);
        if !faults.is_empty() && self.on_error == OnError::Abort {
            return Err(Refusal::Items(faults));
        }
        self.target = Target::Items(groups);
        self.faults = faults;
        Ok(())
    }

    /// The columns that no two items may share the values of; empty where that is left to the database.
    fn key(&self) -> Vec<String> {
        match (self.operation, self.conflict) {
            (BulkOperation::Update | BulkOperation::Delete, _) => vec!["id".to_owned()],
            (_, Conflict::Update) => self.conflict_on.clone(),
            _ => Vec::new(),
        }
    }
}

/// # Errors
/// Rows of an append-only model stay as they are, whichever operation would change them.
fn guard(operation: BulkOperation, conflict: Conflict, model: &Model) -> Result<(), Fault> {
    let changes = operation != BulkOperation::Create || conflict == Conflict::Update;
    if model.config.append_only && changes {
        let message = format!("rows of {} are never changed or deleted", model.name);
        return Err(Fault::new(APPEND_ONLY, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fault::{BULK_UNCONFIRMED, FILTER};
    use serde_json::json;

    fn model() -> Model {
        let fields =
            json!({ "sku": { "type": "str", "unique": true }, "stock": { "type": "int", "min": 0 } });
        Model::define("Part", fields.as_object().unwrap()).unwrap()
    }

    fn parse(operation: BulkOperation, sent: Value) -> Result<Bulk, Refusal> {
        Bulk::parse(operation, &model(), sent.as_object().unwrap().clone())
    }

    #[test]
    fn items_that_set_the_same_columns_go_together() {
        let data =
            json!([{ "sku": "a" }, { "sku": "b", "stock": 1 }, { "sku": "c" }, { "stock": 2, "sku": "d" }]);
        let bulk = parse(BulkOperation::Create, json!({ "data": data })).unwrap();
        let Target::Items(groups) = bulk.target else {
            panic!("items were sent")
        };
        let places = groups
            .iter()
            .map(|group| group.items.iter().map(|item| item.index).collect::<Vec<_>>());
        assert_eq!(places.collect::<Vec<_>>(), [vec![0, 2], vec![1, 3]]);
        let columns: Vec<&str> = groups[1]
            .columns
            .iter()
            .map(|(column, _)| column.as_str())
            .collect();
        assert_eq!(columns, ["sku", "stock"]);
        assert_eq!(
            groups[1].items[1].values,
            [Some("d".to_owned()), Some("2".to_owned())]
        );
    }

    #[test]
    fn a_default_that_was_not_sent_is_none_that_changes_a_row() {
        let fields =
            json!({ "sku": { "type": "str", "unique": true }, "stock": { "type": "int", "default": 0 } });
        let model = Model::define("Part", fields.as_object().unwrap()).unwrap();
        let defaulted = |conflict: &str| {
            let data = json!([{ "sku": "a" }, { "sku": "b", "stock": 0 }, { "sku": "c" }]);
            let sent = json!({ "data": data, "conflict_resolution": conflict, "conflict_on": ["sku"] });
            let sent = sent.as_object().unwrap().clone();
            let bulk = Bulk::parse(BulkOperation::Upsert, &model, sent).unwrap();
            let Target::Items(groups) = bulk.target else {
                panic!("items were sent")
            };
            let groups = groups.into_iter();
            groups
                .map(|group| (group.defaulted, group.items.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(defaulted("update"), [(vec!["stock".to_owned()], 2), (vec![], 1)]);
        assert_eq!(defaulted("skip"), [(vec![], 3)], "no row is changed");
    }

    #[test]
    fn two_items_about_one_row_are_refused_where_one_would_win() {
        let twice = json!([{ "id": 1, "sku": "a" }, { "id": 2, "sku": "a" }, { "id": 1, "sku": "b" }]);
        let indexes = |refused: Result<Bulk, Refusal>| match refused {
            Err(Refusal::Items(items)) => items.iter().map(|item| item.index).collect(),
            _ => Vec::new(),
        };
        assert_eq!(
            indexes(parse(BulkOperation::Update, json!({ "data": twice }))),
            [2]
        );
        let by_sku = json!({ "data": twice, "conflict_resolution": "update", "conflict_on": ["sku"] });
        assert_eq!(indexes(parse(BulkOperation::Upsert, by_sku)), [1]);
        assert!(
            parse(BulkOperation::Upsert, json!({ "data": twice })).is_ok(),
            "the first stays"
        );
    }

    #[test]
    fn an_empty_filter_is_every_row_and_must_be_confirmed() {
        let code = |sent: Value| match parse(BulkOperation::Delete, sent) {
            Err(Refusal::Call(faults)) => faults[0].code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(json!({ "filter": {} })), BULK_UNCONFIRMED);
        assert_eq!(
            code(json!({ "filter": {}, "safe_mode": false })),
            BULK_UNCONFIRMED
        );
        assert_eq!(
            code(json!({ "filter": { "nope": 1 }, "confirmed": true })),
            FILTER
        );
        assert!(parse(BulkOperation::Delete, json!({ "filter": {}, "confirmed": true })).is_ok());
    }

    #[test]
    fn rows_that_never_change_can_only_be_made() {
        let mut model = model();
        model.config.append_only = true;
        let sent = json!({ "data": [] }).as_object().unwrap().clone();
        for operation in [
            BulkOperation::Update,
            BulkOperation::Delete,
            BulkOperation::Upsert,
        ] {
            let refused = Bulk::parse(operation, &model, sent.clone());
            assert!(matches!(refused, Err(Refusal::Call(faults)) if faults[0].code == APPEND_ONLY));
        }
        let mut changing = sent.clone();
        changing.insert("conflict_resolution".to_owned(), json!("update"));
        let refused = Bulk::parse(BulkOperation::Create, &model, changing);
        assert!(matches!(refused, Err(Refusal::Call(faults)) if faults[0].code == APPEND_ONLY));
        assert!(Bulk::parse(BulkOperation::Create, &model, sent).is_ok());
    }
}
