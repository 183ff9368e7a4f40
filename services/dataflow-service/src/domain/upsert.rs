//! `Upsert`: the row that `where` names is updated, or else created.

use serde_json::{Map, Value};

use super::fault::{
    Fault, UPSERT_CONFLICT, UPSERT_NO_VALUE, UPSERT_NOTHING, UPSERT_OPERATOR, UPSERT_WITHOUT_WHERE,
};
use super::field::Kind;
use super::model::Model;
use super::parameters::{Parameters, Read, object, only, refuse};
use super::row::{self, Assignment};

/// A row that is there afterwards, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upsert {
    /// The unique field by which a row is the same one.
    pub(crate) on: String,
    /// The values of a new row.
    pub(crate) create: Vec<Assignment>,
    /// What is set in a row that is there; it may be nothing.
    pub(crate) update: Vec<Assignment>,
    /// What else `where` says of a row that is there.
    pub(crate) also: Vec<Assignment>,
}

impl Upsert {
    /// `{where, update, create, conflict_on}`. A new row has the values of `where` and `create`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn parse(model: &Model, sent: &Parameters) -> Read<Self> {
        only(sent, &["where", "update", "create", "conflict_on"])?;
        let place = object(sent, "where", UPSERT_WITHOUT_WHERE)?;
        if place.is_empty() {
            return refuse(
                UPSERT_WITHOUT_WHERE,
                "where",
                "is required: the values that name the row",
            );
        }
        if !sent.contains_key("update") && !sent.contains_key("create") {
            let message = "update or create is required";
            return Err(vec![Fault::about(UPSERT_NOTHING, "update", message)]);
        }
        let on = conflict(model, sent, &place)?;
        let mut create = place.clone();
        create.extend(object(sent, "create", UPSERT_NOTHING)?);
        if let Some(differs) = place
            .iter()
            .find(|(name, value)| create.get(*name) != Some(value))
        {
            return refuse(
                UPSERT_NO_VALUE,
                differs.0,
                "has one value in where and another in create",
            );
        }
        if create.get(&on).is_none_or(Value::is_null) {
            return refuse(
                UPSERT_NO_VALUE,
                &on,
                "tells the row apart, and has no value in where or create",
            );
        }
        let create = row::for_create(model, &create)?;
        let also = create
            .iter()
            .filter(|value| place.contains_key(&value.column) && value.column != on)
            .cloned()
            .collect();
        Ok(Upsert {
            update: update(model, &object(sent, "update", UPSERT_NOTHING)?)?,
            on,
            create,
            also,
        })
    }
}

fn update(model: &Model, fields: &Map<String, Value>) -> Read<Vec<Assignment>> {
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    row::for_update(model, fields)
}

/// The one unique field of `conflict_on`, or of `where`.
fn conflict(model: &Model, sent: &Parameters, place: &Map<String, Value>) -> Read<String> {
    for (name, value) in place {
        let kind = model.kind_of(name);
        if value.is_null() || (value.is_object() && !matches!(kind, Some(Kind::Dict | Kind::Json))) {
            return refuse(
                UPSERT_OPERATOR,
                name,
                "must have a plain value in where, not an operator or null",
            );
        }
    }
    let named = match sent.get("conflict_on").filter(|named| !named.is_null()) {
        Some(named) => serde_json::from_value::<Vec<String>>(named.clone())
            .or_else(|_| refuse(UPSERT_CONFLICT, "conflict_on", "must be an array of fields"))?,
        None => Vec::new(),
    };
    let is_named = !named.is_empty();
    let candidates: Vec<&String> = if is_named {
        named.iter().collect()
    } else {
        place.keys().collect()
    };
    let mut unique = candidates.iter().filter(|name| model.is_unique(name));
    match (unique.next(), unique.next()) {
        (Some(only), None) if !is_named || candidates.len() == 1 => Ok((*only).clone()),
        _ => {
            let fields: Vec<_> = model.fields.keys().filter(|name| model.is_unique(name)).collect();
            let fields: Vec<&str> = fields.iter().map(|name| name.as_str()).collect();
            let message = format!(
                "conflict_on (or where) must name exactly one field that tells rows apart; {} has {}",
                model.name,
                fields.join(", ")
            );
            Err(vec![Fault::about(UPSERT_CONFLICT, "conflict_on", message)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(sent: Value) -> Result<Upsert, &'static str> {
        let fields = json!({ "sku": { "type": "str", "unique": true }, "shop": "str", "stock": "int" });
        let model = Model::define("Product", fields.as_object().unwrap()).unwrap();
        Upsert::parse(&model, sent.as_object().unwrap()).map_err(|faults| faults[0].code)
    }

    #[test]
    fn a_new_row_has_the_values_of_where_and_create() {
        let upsert = parse(json!({
            "where": { "sku": "a", "shop": "x" }, "update": { "stock": 1 }, "create": { "stock": 2 }
        }))
        .unwrap();
        let columns = |values: &[Assignment]| {
            values
                .iter()
                .map(|value| value.column.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(upsert.on, "sku");
        assert_eq!(columns(&upsert.create), ["shop", "sku", "stock"]);
        assert_eq!(
            (columns(&upsert.update), columns(&upsert.also)),
            (vec!["stock".into()], vec!["shop".into()])
        );
    }

    #[test]
    fn each_refusal_has_its_code() {
        for (sent, code) in [
            (json!({ "update": { "stock": 1 } }), "DF-706"),
            (json!({ "where": { "sku": "a" } }), "DF-708"),
            (json!({ "where": { "shop": "x" }, "update": {} }), "DF-707"),
            (
                json!({ "where": { "sku": "a", "id": 1 }, "update": {} }),
                "DF-707",
            ),
            (
                json!({ "where": { "shop": "a" }, "update": {}, "conflict_on": ["shop", "sku"] }),
                "DF-707",
            ),
            (
                json!({ "where": { "sku": { "$gt": "a" } }, "update": {} }),
                "DF-709",
            ),
            (
                json!({ "where": { "shop": "a" }, "update": {}, "conflict_on": ["sku"] }),
                "DF-710",
            ),
            (
                json!({ "where": { "sku": "a" }, "create": { "sku": "b" } }),
                "DF-710",
            ),
            (
                json!({ "where": { "sku": "a" }, "create": { "stock": "b" } }),
                "DF-101",
            ),
            (
                json!({ "where": { "sku": "a" }, "update": { "id": 2 } }),
                "DF-101",
            ),
        ] {
            assert_eq!(parse(sent.clone()).map(|_| ()), Err(code), "{sent}");
        }
    }
}
