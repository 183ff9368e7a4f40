//! A row's values as a caller sends them, checked against the model.

use serde_json::{Map, Value};

use super::fault::{Fault, PARAMETER};
use super::field::Kind;
use super::model::{Model, STAMPS};

/// One column's value: text that PostgreSQL casts to the column's type, `None` for null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) column: String,
    pub(crate) kind: Kind,
    pub(crate) value: Option<String>,
}

/// The values of a new row: what was sent, and the defaults of what was not.
pub(crate) fn for_create(model: &Model, sent: &Map<String, Value>) -> Result<Vec<Assignment>, Vec<Fault>> {
    let mut faults = unknown_fields(model, sent);
    let mut values = Vec::new();
    for (name, field) in &model.fields {
        let sent = sent.get(name).filter(|value| !(name == "id" && value.is_null()));
        match sent.or(field.default.as_ref()) {
            Some(value) => match field.accept(value) {
                Ok(value) => values.push(Assignment {
                    column: name.clone(),
                    kind: field.kind,
                    value,
                }),
                Err(why) => faults.push(Fault::about(PARAMETER, name, format!("{name} {why}"))),
            },
            None if name == "id" && field.kind == Kind::Uuid => values.push(Assignment {
                column: name.clone(),
                kind: field.kind,
                value: Some(uuid::Uuid::new_v4().to_string()),
            }),
            None if (field.required && name != "id") || (name == "id" && !model.makes_ids()) => {
                faults.push(Fault::about(PARAMETER, name, format!("{name} is required")));
            }
            None => {}
        }
    }
    if faults.is_empty() {
        Ok(values)
    } else {
        Err(faults)
    }
}

/// The values that an update sets. The stamps are dropped, since callers send back what they have read.
pub(crate) fn for_update(model: &Model, sent: &Map<String, Value>) -> Result<Vec<Assignment>, Vec<Fault>> {
    let sent: Map<_, _> = sent
        .iter()
        .filter(|(name, _)| !STAMPS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut faults = unknown_fields(model, &sent);
    if sent.contains_key("id") {
        faults.push(Fault::about(PARAMETER, "id", "an id does not change"));
    }
    let mut values = Vec::new();
    for (name, field) in &model.fields {
        let Some(value) = sent.get(name) else { continue };
        match field.accept(value) {
            Ok(value) => values.push(Assignment {
                column: name.clone(),
                kind: field.kind,
                value,
            }),
            Err(why) => faults.push(Fault::about(PARAMETER, name, format!("{name} {why}"))),
        }
    }
    if values.is_empty() && faults.is_empty() {
        faults.push(Fault::about(PARAMETER, "fields", "there is nothing to set"));
    }
    if faults.is_empty() {
        Ok(values)
    } else {
        Err(faults)
    }
}

/// An id as text, checked against the id's type.
pub(crate) fn id_of(model: &Model, value: &Value) -> Result<String, Fault> {
    model
        .id_kind()
        .text_of(value)
        .map_err(|why| Fault::about(PARAMETER, "id", format!("id {why}")))
}

fn unknown_fields(model: &Model, sent: &Map<String, Value>) -> Vec<Fault> {
    let known: Vec<&str> = model.fields.keys().map(String::as_str).collect();
    sent.keys()
        .filter(|name| !model.fields.contains_key(*name))
        .map(|name| {
            let message = if STAMPS.contains(&name.as_str()) {
                format!("{name} is set by the service")
            } else {
                format!(
                    "{} has no field {name}; its fields are {}",
                    model.name,
                    known.join(", ")
                )
            };
            Fault::about(PARAMETER, name, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> Model {
        let fields = json!({
            "title": { "type": "str", "required": true },
            "stock": { "type": "int", "default": 0, "min": 0 },
            "note": "str",
        });
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    fn create(sent: Value) -> Result<Vec<(String, Option<String>)>, Vec<String>> {
        for_create(&model(), sent.as_object().unwrap())
            .map(|values| {
                values
                    .into_iter()
                    .map(|value| (value.column, value.value))
                    .collect()
            })
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn defaults_fill_what_was_not_sent() {
        let row = create(json!({ "title": "Hammer" })).unwrap();
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(
            row,
            [
                ("stock".to_owned(), text("0")),
                ("title".to_owned(), text("Hammer"))
            ]
        );
    }

    #[test]
    fn every_fault_of_a_row_is_told() {
        let faults = create(json!({ "stock": -1, "data": {}, "created_at": "2026-01-01" })).unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn an_update_drops_stamps_and_keeps_the_id() {
        let sent = json!({ "note": null, "updated_at": "2026-01-01" });
        let values = for_update(&model(), sent.as_object().unwrap()).unwrap();
        assert_eq!((values.len(), &values[0].value), (1, &None));
        for wrong in [
            json!({ "id": 2, "note": "x" }),
            json!({}),
            json!({ "title": null }),
        ] {
            assert!(
                for_update(&model(), wrong.as_object().unwrap()).is_err(),
                "{wrong}"
            );
        }
    }
}
