//! What a change may cost, and why: it depends on the rows that are there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::field::Kind;
use super::migration::Change;
use super::model::Model;

/// From harmless to not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Risk {
    /// Nothing is lost, nobody waits long, no call that worked is refused.
    Safe,
    /// The table cannot be used while it lasts.
    Blocking,
    /// Calls that worked will be refused, or answered otherwise.
    Breaking,
    /// Values or rows are gone, also after a rollback.
    Lossy,
}

/// What the table holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) any: bool,
    /// So many that a lock on the table would be felt.
    pub(crate) many: bool,
    /// Fields to be required in which some row has null.
    pub(crate) with_nulls: BTreeSet<String>,
}

/// A change's risk, and the reason in public words.
///
/// # Errors
/// The rows that are there do not allow it; with the remedy.
pub(crate) fn judge(change: &Change, after: &Model, rows: &Rows) -> Result<(Risk, String), String> {
    match (with_rows(change, after, rows), rows.any) {
        (judged, true) => judged,
        // Nothing can be lost and nobody waits, but callers still have to follow.
        (Ok((Risk::Lossy, _)) | Err(_), false) => Ok((
            Risk::Breaking,
            "the table is empty, but callers see another model".to_owned(),
        )),
        (Ok((Risk::Blocking, _)), false) => Ok((Risk::Safe, "the table is empty".to_owned())),
        (judged, false) => judged,
    }
}

fn with_rows(change: &Change, after: &Model, rows: &Rows) -> Result<(Risk, String), String> {
    let (risk, reason) = match change {
        Change::CreateTable => (Risk::Safe, "a new table"),
        Change::DropTable => (Risk::Lossy, "all rows are lost"),
        Change::RemakeTable => return Err(TENANTS.to_owned()),
        Change::AddField(name) => return addition(after, name),
        Change::DropField(_) => (
            Risk::Lossy,
            "its values are lost, and a rollback does not bring them back",
        ),
        Change::Retype(_, from, to) => retyping(*from, *to, rows),
        Change::SetDefault(_) => (Risk::Safe, "existing rows stay as they are"),
        Change::Require(name) => return requirement(after, name, rows),
        Change::AllowNull(_) => (Risk::Safe, "more values are accepted than before"),
        Change::AddUnique(_) => (
            Risk::Breaking,
            "it fails where two rows have the same value, and refuses such rows from then on",
        ),
        Change::DropUnique(_) => (Risk::Breaking, "rows may have the same value from then on"),
        Change::AddIndex(_) if rows.many => (Risk::Safe, "it is built while the table is used"),
        Change::AddIndex(_) => (Risk::Safe, "the table is small"),
        Change::DropIndex(_) => (Risk::Safe, "some queries become slower"),
        Change::AddReference(_) => (
            Risk::Breaking,
            "it fails where a row refers to none, and refuses such rows from then on",
        ),
        Change::DropReference(_) => (Risk::Breaking, "rows may refer to none from then on"),
        Change::AddSoftDelete => (Risk::Safe, "rows that are deleted stay from then on, marked"),
        Change::DropSoftDelete => (Risk::Lossy, "rows that are marked as deleted are removed"),
        Change::Privileges if after.config.append_only => (
            Risk::Breaking,
            "changing and deleting rows is refused from then on",
        ),
        Change::Privileges => (Risk::Safe, "rows may be changed and deleted from then on"),
        Change::TightenRules(_) => (
            Risk::Breaking,
            "values that were accepted are refused from then on; existing rows stay as they are",
        ),
        Change::LoosenRules(_) => (Risk::Safe, "more values are accepted than before"),
        Change::Retention if after.config.retention.is_some() => {
            (Risk::Lossy, "rows leave the table when they are old enough")
        }
        Change::Retention => (Risk::Safe, "rows are kept"),
    };
    Ok((risk, reason.to_owned()))
}

const TENANTS: &str = "its rows belong to nobody, or to tenants: only an empty table can change that; register another \
                       model, and copy its rows tenant by tenant";

fn addition(after: &Model, name: &str) -> Result<(Risk, String), String> {
    match after.fields.get(name) {
        Some(field) if field.required && field.default.is_none() => Err(format!(
            "{name} is required and has no default, and there are rows without it: give it a default, or add it as \
             not required, fill it, and require it then"
        )),
        Some(field) if field.unique && field.default.is_some() => Err(format!(
            "{name} is unique and has a default, which all existing rows would get: add it without one of them"
        )),
        Some(field) if field.default.is_some() => {
            Ok((Risk::Safe, "existing rows get the default".to_owned()))
        }
        _ => Ok((Risk::Safe, "existing rows have null".to_owned())),
    }
}

fn requirement(after: &Model, name: &str, rows: &Rows) -> Result<(Risk, String), String> {
    let has_default = after
        .fields
        .get(name)
        .is_some_and(|field| field.default.is_some());
    let reason = match (rows.with_nulls.contains(name), has_default) {
        (true, false) => {
            return Err(format!(
                "{name} has no default, and there are rows in which it is null: give it a default, or fill it first"
            ));
        }
        (true, true) => {
            "nulls become the default, also after a rollback; calls that send null are refused from then on"
        }
        (false, _) => "calls that leave it out or send null are refused from then on",
    };
    Ok((Risk::Breaking, reason.to_owned()))
}

fn retyping(from: Kind, to: Kind, rows: &Rows) -> (Risk, &'static str) {
    match (from, to) {
        (Kind::Int, Kind::Float) | (Kind::Uuid, Kind::Str) if rows.many => (
            Risk::Blocking,
            "every value fits, but the table is rewritten, and nobody can use it meanwhile",
        ),
        (Kind::Int, Kind::Float) | (Kind::Uuid, Kind::Str) => {
            (Risk::Safe, "every value fits, and the table is small")
        }
        (from, Kind::Json) if from.is_json() => (Risk::Safe, "the column stays as it is"),
        (_, Kind::Str) | (Kind::Int, Kind::Decimal) | (Kind::Datetime, Kind::Timestamp) => (
            Risk::Breaking,
            "no value is lost, but callers get values of another form; nobody can use the table meanwhile",
        ),
        _ => (
            Risk::Lossy,
            "values may be rounded; it fails where one does not fit; nobody can use the table meanwhile",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> Model {
        let fields = json!({
            "must": { "type": "str", "required": true },
            "filled": { "type": "int", "required": true, "default": 1 },
        });
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    fn some() -> Rows {
        Rows {
            any: true,
            ..Rows::default()
        }
    }

    #[test]
    fn an_empty_table_takes_every_change_but_callers_are_not_forgotten() {
        let name = || "must".to_owned();
        for change in [
            Change::RemakeTable,
            Change::DropTable,
            Change::AddField(name()),
            Change::DropField(name()),
        ] {
            let judged = judge(&change, &model(), &Rows::default()).unwrap();
            assert_eq!(judged.0, Risk::Breaking, "{change:?}");
        }
        let created = judge(&Change::CreateTable, &model(), &Rows::default());
        assert_eq!(created.unwrap().0, Risk::Safe);
    }

    #[test]
    fn a_required_field_needs_a_default_where_there_are_rows() {
        let refused = judge(&Change::AddField("must".to_owned()), &model(), &some()).unwrap_err();
        assert!(
            refused.contains("give it a default"),
            "the remedy is named: {refused}"
        );
        let filled = judge(&Change::AddField("filled".to_owned()), &model(), &some()).unwrap();
        assert_eq!(filled.0, Risk::Safe);
        let nulls = Rows {
            with_nulls: ["must".to_owned()].into(),
            ..some()
        };
        assert!(judge(&Change::Require("must".to_owned()), &model(), &nulls).is_err());
        let without = judge(&Change::Require("must".to_owned()), &model(), &some()).unwrap();
        assert_eq!(without.0, Risk::Breaking);
    }

    #[test]
    fn the_worst_step_is_the_risk_of_all() {
        assert!(
            Risk::Safe < Risk::Blocking && Risk::Blocking < Risk::Breaking && Risk::Breaking < Risk::Lossy
        );
        let many = Rows { many: true, ..some() };
        let widen = Change::Retype("n".to_owned(), Kind::Int, Kind::Float);
        assert_eq!(judge(&widen, &model(), &many).unwrap().0, Risk::Blocking);
        assert_eq!(judge(&widen, &model(), &some()).unwrap().0, Risk::Safe);
    }
}
