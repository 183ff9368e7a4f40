//! A model: its name, its fields, its table. Built from a definition that is checked as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fault::{Fault, MODEL_INVALID};
use super::field::{Field, Kind};
use super::naming::{fits, is_field_name, is_model_name, table_of};

/// Set by the service, never by a caller.
pub(crate) const STAMPS: [&str; 2] = ["created_at", "updated_at"];
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
}

impl Model {
    /// The model that `{name, fields: {field: type | {type, ...}}}` defines.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn define(name: &str, fields: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
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
        let mut kept = BTreeMap::new();
        for (key, text) in fields {
            match field_of(key, text) {
                Ok(field) if (field.unique || field.index) && !fits(key, &table_of(name)) => {
                    refuse(
                        key,
                        format!("field {key}: its name is too long for an index of {name}"),
                    );
                }
                Ok(field) => {
                    kept.insert(key.clone(), field);
                }
                Err(why) => refuse(key, format!("field {key}: {why}")),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        kept.entry("id".to_owned())
            .or_insert_with(|| Field::of(Kind::Int));
        Ok(Model {
            name: name.to_owned(),
            fields: kept,
        })
    }

    /// The table that holds its rows.
    pub(crate) fn table(&self) -> String {
        table_of(&self.name)
    }

    /// The type of a column, the service's own stamps included.
    pub(crate) fn kind_of(&self, column: &str) -> Option<Kind> {
        if STAMPS.contains(&column) {
            return Some(Kind::Datetime);
        }
        self.fields.get(column).map(|field| field.kind)
    }

    /// The id's type.
    pub(crate) fn id_kind(&self) -> Kind {
        self.kind_of("id").unwrap_or(Kind::Int)
    }

    /// Whether the table makes ids up by itself.
    pub(crate) fn makes_ids(&self) -> bool {
        self.id_kind() == Kind::Int
    }

    /// An id from a path, as a value of the id's type; text that is none stays text, and is refused later.
    pub(crate) fn id_from_path(&self, text: &str) -> Value {
        match (self.id_kind(), text.parse::<i64>()) {
            (Kind::Int, Ok(number)) => Value::from(number),
            _ => Value::from(text),
        }
    }
}

fn field_of(key: &str, text: &Value) -> Result<Field, String> {
    if !is_field_name(key) {
        return Err(
            "a name is a lower-case letter, then lower-case letters, digits or _, 40 at most".to_owned(),
        );
    }
    if STAMPS.contains(&key) {
        return Err("every model has it already".to_owned());
    }
    if NODE_WORDS.contains(&key) {
        return Err("the name is taken: nodes add it to their result".to_owned());
    }
    let long = match text {
        Value::String(_) => serde_json::json!({ "type": text }),
        other => other.clone(),
    };
    let field: Field = serde_json::from_value(long).map_err(|error| error.to_string())?;
    if key == "id" && !matches!(field.kind, Kind::Int | Kind::Str) {
        return Err("an id is an int or a str".to_owned());
    }
    field.check()?;
    Ok(field)
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

    #[test]
    fn every_fault_is_told_at_once() {
        let fields = json!({
            "Bad": "str", "created_at": "datetime", "kind": "text",
            "size": { "type": "int", "patern": "x" }, "id": "bool",
        });
        let faults = define("drop table", fields).unwrap_err();
        assert_eq!(faults.len(), 6, "{faults:#?}");
        assert!(
            faults
                .iter()
                .any(|fault| fault.contains("unknown variant `text`"))
        );
        assert!(
            faults
                .iter()
                .any(|fault| fault.contains("unknown field `patern`"))
        );
    }
}
