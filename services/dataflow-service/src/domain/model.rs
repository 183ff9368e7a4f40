//! A model: its name, its fields, its table. Built from a definition that is checked as a whole.

use std::collections::BTreeMap;

use contract::dataflow::Definition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fault::{FIELD_NAME, FIELD_STAMP, Fault, MODEL_INVALID};
use super::field::{Field, Kind, OnDelete};
use super::naming::{fits, is_field_name, is_model_name, table_of};

/// Set by the service, never by a caller.
pub(crate) const STAMPS: [&str; 2] = ["created_at", "updated_at"];
/// The tenant of a multi-tenant model's rows: set by the service, and not answered.
pub(crate) const TENANT: &str = "tenant_id";
/// When a row of a model with soft deletion was deleted.
pub(crate) const DELETED: &str = "deleted_at";
/// What a node adds to a row in its result.
const NODE_WORDS: [&str; 2] = ["found", "updated"];
/// PostgreSQL takes some 1600 columns; a model that wide is a mistake.
const MOST_FIELDS: usize = 200;

/// A registered model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// Without `created_at` and `updated_at`, which every table has; with `id` always.
    pub(crate) fields: BTreeMap<String, Field>,
    #[serde(default)]
    pub(crate) config: ModelConfig,
}

/// What holds for a model as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ModelConfig {
    /// Deleting stamps `deleted_at`; such rows are read only where asked for.
    pub(crate) soft_delete: bool,
    /// Rows belong to tenants: a column `tenant_id`, set by the service, and a policy of PostgreSQL.
    pub(crate) multi_tenant: bool,
    /// Rows are never changed or deleted.
    pub(crate) append_only: bool,
    /// Where the table is not to be named after the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<Retention>,
}

/// How long rows are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) policy: RetentionPolicy,
    pub(crate) after_days: u32,
    /// The `datetime` or `timestamp` by which a row's age is told.
    #[serde(default = "created_at")]
    pub(crate) cutoff_field: String,
}

fn created_at() -> String {
    STAMPS[0].to_owned()
}

/// What becomes of a row that is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RetentionPolicy {
    Delete,
    /// It moves to the table `<table>_archive`.
    Archive,
}

impl Model {
    /// The model that `{name, fields: {field: type | {type, ...}}, config}` defines. Whether what it refers to exists
    /// is asked elsewhere (`validation`).
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn from_definition(definition: &Definition) -> Result<Self, Vec<Fault>> {
        let Definition { name, fields, .. } = definition;
        let mut faults = Vec::new();
        let mut refuse = |field: &str, message: String| {
            faults.push(Fault::about(MODEL_INVALID, field, message));
        };
        if !is_model_name(name) {
            refuse(
                "name",
                "name must be a letter, then letters, digits or _, 40 at most".to_owned(),
            );
        }
        if fields.is_empty() || fields.len() > MOST_FIELDS {
            refuse(
                "fields",
                format!("fields must hold from 1 to {MOST_FIELDS} fields"),
            );
        }
        let config = ModelConfig::of(&definition.config).unwrap_or_else(|why| {
            refuse("config", format!("config: {why}"));
            ModelConfig::default()
        });
        let mut model = Model {
            name: name.clone(),
            fields: BTreeMap::from([("id".to_owned(), Field::of(Kind::Int))]),
            config,
        };
        for (key, text) in fields {
            match model.field_of(key, text) {
                Ok(field) => {
                    model.fields.insert(key.clone(), field);
                }
                Err(fault) => faults.push(fault),
            }
        }
        faults.extend(model.cutoff_fault());
        if faults.is_empty() { Ok(model) } else { Err(faults) }
    }

    /// As `from_definition`, without a config.
    #[cfg(test)]
    pub(crate) fn define(name: &str, fields: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
        Model::from_definition(&Definition {
            name: name.to_owned(),
            fields: fields.clone(),
            config: Map::new(),
        })
    }

    fn field_of(&self, key: &str, text: &Value) -> Result<Field, Fault> {
        let refuse = |code, why: &str| Err(Fault::about(code, key, format!("field {key}: {why}")));
        if !is_field_name(key) {
            return refuse(
                FIELD_NAME,
                "a name is a lower-case letter, then lower-case letters, digits or _, 40 at most",
            );
        }
        let config = &self.config;
        if STAMPS.contains(&key) {
            return refuse(FIELD_STAMP, "every model has it already");
        }
        if (config.multi_tenant && key == TENANT) || (config.soft_delete && key == DELETED) {
            return refuse(FIELD_STAMP, "the service sets it for a model of this config");
        }
        if NODE_WORDS.contains(&key) {
            return refuse(MODEL_INVALID, "the name is taken: nodes add it to their result");
        }
        let long = match text {
            Value::String(_) => serde_json::json!({ "type": text }),
            other => other.clone(),
        };
        let field: Field = match serde_json::from_value(long) {
            Ok(field) => field,
            Err(error) => return refuse(MODEL_INVALID, &error.to_string()),
        };
        if key == "id" && !matches!(field.kind, Kind::Int | Kind::Str | Kind::Uuid) {
            return refuse(MODEL_INVALID, "an id is an int, a str or a uuid");
        }
        if (field.unique || field.index || field.references.is_some()) && !fits(key, &self.table()) {
            return refuse(MODEL_INVALID, "its name is too long for a constraint or an index");
        }
        if config.append_only && matches!(field.on_delete, Some(OnDelete::Cascade | OnDelete::SetNull)) {
            return refuse(
                MODEL_INVALID,
                "on_delete must be restrict: rows of an append_only model are never changed or deleted",
            );
        }
        match field.check() {
            Ok(()) => Ok(field),
            Err(why) => refuse(MODEL_INVALID, &why),
        }
    }

    /// Retention needs a date to go by.
    fn cutoff_fault(&self) -> Option<Fault> {
        let retention = self.config.retention.as_ref()?;
        let kind = self.kind_of(&retention.cutoff_field);
        let message = if retention.after_days == 0 {
            "config: retention keeps rows for at least 1 day".to_owned()
        } else if !matches!(kind, Some(Kind::Datetime | Kind::Timestamp)) {
            format!(
                "config: retention's cutoff_field must be a datetime or timestamp of {}",
                self.name
            )
        } else {
            return None;
        };
        Some(Fault::about(MODEL_INVALID, "config", message))
    }

    /// The table that holds its rows.
    pub(crate) fn table(&self) -> String {
        self.config
            .table_name
            .clone()
            .unwrap_or_else(|| table_of(&self.name))
    }

    /// The type of a column that callers may name, the service's own stamps included.
    pub(crate) fn kind_of(&self, column: &str) -> Option<Kind> {
        if STAMPS.contains(&column) || (self.config.soft_delete && column == DELETED) {
            return Some(Kind::Datetime);
        }
        self.fields.get(column).map(|field| field.kind)
    }

    /// The columns of an answer with their types: the fields, then what the service sets. Not the tenant.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, Kind)> {
        let own = [DELETED].into_iter().filter(|_| self.config.soft_delete);
        let fields = self
            .fields
            .iter()
            .map(|(name, field)| (name.as_str(), field.kind));
        fields.chain(own.chain(STAMPS).map(|name| (name, Kind::Datetime)))
    }

    /// Whether a field alone tells one row from all others of its tenant.
    pub(crate) fn is_unique(&self, column: &str) -> bool {
        column == "id" || self.fields.get(column).is_some_and(|field| field.unique)
    }

    /// The id's type.
    pub(crate) fn id_kind(&self) -> Kind {
        self.kind_of("id").unwrap_or(Kind::Int)
    }

    /// Whether ids are made up where none is sent: by the table, or for a `uuid` by the service.
    pub(crate) fn makes_ids(&self) -> bool {
        matches!(self.id_kind(), Kind::Int | Kind::Uuid)
    }

    /// An id from a path, as a value of the id's type; text that is none stays text, and is refused later.
    pub(crate) fn id_from_path(&self, text: &str) -> Value {
        match (self.id_kind(), text.parse::<i64>()) {
            (Kind::Int, Ok(number)) => Value::from(number),
            _ => Value::from(text),
        }
    }
}

impl ModelConfig {
    /// # Errors
    /// What is wrong with it.
    fn of(sent: &Map<String, Value>) -> Result<Self, String> {
        let config: ModelConfig =
            serde_json::from_value(Value::Object(sent.clone())).map_err(|error| error.to_string())?;
        match &config.table_name {
            Some(name) if !is_field_name(name) => Err(
                "table_name is a lower-case letter, then lower-case letters, digits or _, 40 at most"
                    .to_owned(),
            ),
            _ => Ok(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn define(name: &str, fields: Value) -> Result<Model, Vec<String>> {
        Model::define(name, fields.as_object().unwrap())
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn an_id_is_added_and_short_types_are_taken() {
        let model = define("Product", json!({ "title": "str", "price": { "type": "float" } })).unwrap();
        assert_eq!(model.fields.keys().collect::<Vec<_>>(), ["id", "price", "title"]);
        assert!(model.makes_ids());
        assert_eq!(model.id_from_path("7"), json!(7));
        assert_eq!(model.id_from_path("x"), json!("x"));
    }

    fn with_config(fields: Value, config: Value) -> Result<Model, Vec<Fault>> {
        Model::from_definition(
            &serde_json::from_value(json!({ "name": "Note", "fields": fields, "config": config })).unwrap(),
        )
    }

    #[test]
    fn a_config_brings_columns_that_no_field_may_have() {
        let config = json!({ "soft_delete": true, "multi_tenant": true, "table_name": "memos" });
        let model = with_config(json!({ "id": "uuid", "text": "str" }), config.clone()).unwrap();
        let columns: Vec<_> = model.columns().map(|(name, _)| name).collect();
        assert_eq!(columns, ["id", "text", "deleted_at", "created_at", "updated_at"]);
        assert_eq!(
            (model.table().as_str(), model.kind_of("tenant_id")),
            ("memos", None)
        );
        for taken in ["tenant_id", "deleted_at"] {
            let faults = with_config(json!({ taken: "str" }), config.clone()).unwrap_err();
            assert_eq!(faults[0].code, "VAL-005");
            assert!(with_config(json!({ taken: "str" }), json!({})).is_ok());
        }
    }

    #[test]
    fn a_config_that_makes_no_sense_is_refused() {
        let keep = |cutoff: &str, days: u32| json!({ "retention": { "policy": "delete", "after_days": days, "cutoff_field": cutoff } });
        for wrong in [
            json!({ "soft_deleted": true }),
            json!({ "table_name": "a; drop" }),
            keep("text", 3),
            keep("nope", 3),
            keep("created_at", 0),
        ] {
            assert!(
                with_config(json!({ "text": "str" }), wrong.clone()).is_err(),
                "{wrong}"
            );
        }
        assert!(with_config(json!({ "seen": "timestamp" }), keep("seen", 1)).is_ok());
        let fields =
            |follows: &str| json!({ "by": { "type": "int", "references": "User", "on_delete": follows } });
        for follows in ["cascade", "set_null"] {
            assert!(with_config(fields(follows), json!({ "append_only": true })).is_err());
            assert!(with_config(fields(follows), json!({})).is_ok());
        }
        assert!(with_config(fields("restrict"), json!({ "append_only": true })).is_ok());
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let fields = json!({
            "Bad": "str", "created_at": "datetime", "kind": "text",
            "size": { "type": "int", "patern": "x" }, "id": "bool",
        });
        let faults = define("drop table", fields).unwrap_err();
        assert_eq!(faults.len(), 6, "{faults:#?}");
        assert!(faults.iter().any(|fault| fault.contains("unknown type")));
        assert!(
            faults
                .iter()
                .any(|fault| fault.contains("unknown field `patern`"))
        );
    }
}
