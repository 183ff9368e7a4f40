//! What a definition should better say, by DataFlow's codes; and whether what it refers to exists.
//! VAL-005 and VAL-008 are no advice: such a field cannot be had, so that `Model::from_definition` refuses it.
//! VAL-004 (a key of several fields) cannot be written down here.

use std::collections::BTreeMap;

use contract::dataflow::Definition;

use super::fault::{Fault, MODEL_INVALID};
use super::field::{Field, Kind};
use super::model::Model;

const NO_KEY: &str = "VAL-002";
const OTHER_KEY: &str = "VAL-003";
const NO_ZONE: &str = "VAL-006";
const NO_LENGTH: &str = "VAL-007";
const RESERVED: &str = "VAL-009";
const NO_ON_DELETE: &str = "VAL-010";
const NO_INDEX: &str = "VAL-011";
/// Words that PostgreSQL reserves (documentation, appendix C). They work here, quoted; by hand they are a nuisance.
const WORDS: [&str; 32] = [
    "all", "analyse", "and", "any", "array", "as", "asc", "case", "check", "column", "default", "desc",
    "distinct", "do", "else", "end", "for", "from", "grant", "group", "having", "in", "limit", "not", "null",
    "offset", "order", "select", "table", "to", "user", "where",
];

/// What should be otherwise, though it works.
pub(crate) fn warnings(definition: &Definition, model: &Model) -> Vec<Fault> {
    let mut warnings = Vec::new();
    if !definition.fields.contains_key("id") {
        let message = "id is not defined: an int was added";
        warnings.push(Fault::about(NO_KEY, "id", message));
    }
    for (name, field) in &model.fields {
        let own = advice(model, name, field);
        warnings.extend(
            own.into_iter()
                .map(|(code, what)| Fault::about(code, name, format!("{name} {what}"))),
        );
    }
    warnings
}

fn advice(model: &Model, name: &str, field: &Field) -> Vec<(&'static str, &'static str)> {
    let telling = field.unique || field.index;
    let looks_like_a_key = name == "pk" || name == format!("{}_id", model.name.to_lowercase());
    let rules = [
        (
            looks_like_a_key && field.unique && field.required,
            OTHER_KEY,
            "looks like the key: a row's key is id",
        ),
        (
            field.kind == Kind::Datetime,
            NO_ZONE,
            "has no time zone and is taken for UTC: timestamp keeps the moment",
        ),
        (
            field.kind == Kind::Str && telling && field.max.is_none() && field.allowed.is_empty(),
            NO_LENGTH,
            "is indexed and has no max: an index takes some 2700 bytes at most",
        ),
        (WORDS.contains(&name), RESERVED, "is a reserved word of SQL"),
        (
            field.references.is_some() && field.on_delete.is_none(),
            NO_ON_DELETE,
            "has references and no on_delete: it is restrict",
        ),
        (
            field.references.is_some() && !telling && name != "id",
            NO_INDEX,
            "has references and no index: each deletion of what it refers to reads the whole table",
        ),
    ];
    let broken = rules.into_iter().filter(|(broken, ..)| *broken);
    broken.map(|(_, code, what)| (code, what)).collect()
}

/// Why a reference cannot be had. `known` holds the models that are referred to, where they exist.
pub(crate) fn references(model: &Model, known: &BTreeMap<String, Model>) -> Vec<Fault> {
    let referring = model
        .fields
        .iter()
        .filter_map(|(name, field)| Some((name, field, field.references.as_ref()?)));
    referring
        .filter_map(|(name, field, reference)| {
            let to = if reference.model == model.name {
                Some(model)
            } else {
                known.get(&reference.model)
            };
            let refuse =
                |why: String| Some(Fault::about(MODEL_INVALID, name, format!("field {name}: {why}")));
            let Some(to) = to else {
                return refuse(format!("no model is named {}", reference.model));
            };
            let at = format!("{}.{}", to.name, reference.field);
            match to.fields.get(&reference.field) {
                None => refuse(format!("{at} does not exist")),
                Some(_) if !to.is_unique(&reference.field) => refuse(format!("{at} is not unique")),
                Some(at_field) if at_field.kind != field.kind => {
                    refuse(format!("{at} is of another type, {}", at_field.kind))
                }
                Some(_) if to.config.multi_tenant && !model.config.multi_tenant => refuse(format!(
                    "{} belongs to tenants, and {} does not",
                    to.name, model.name
                )),
                Some(_) => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn definition(value: Value) -> (Definition, Model) {
        let definition: Definition = serde_json::from_value(value).unwrap();
        let model = Model::from_definition(&definition).unwrap();
        (definition, model)
    }

    #[test]
    fn advice_has_codes() {
        let (sent, model) = definition(json!({ "name": "Note", "fields": {
            "note_id": { "type": "int", "unique": true, "required": true },
            "at": "datetime",
            "code": { "type": "str", "index": true },
            "order": "int",
            "author": { "type": "int", "references": "User" },
        } }));
        let codes: Vec<_> = warnings(&sent, &model)
            .into_iter()
            .map(|fault| fault.code)
            .collect();
        assert_eq!(
            codes,
            [
                "VAL-002", "VAL-006", "VAL-010", "VAL-011", "VAL-007", "VAL-003", "VAL-009"
            ]
        );
        let (sent, model) = definition(json!({ "name": "Note", "fields": {
            "id": "uuid", "at": "timestamp", "code": { "type": "str", "unique": true, "max": 20 },
            "author": { "type": "int", "references": "User", "on_delete": "cascade", "index": true },
        } }));
        assert_eq!(warnings(&sent, &model), []);
    }

    #[test]
    fn a_reference_needs_a_unique_field_of_its_type() {
        let (_, user) = definition(
            json!({ "name": "User", "config": { "multi_tenant": true }, "fields": {
            "email": { "type": "str", "unique": true }, "age": "int",
        } }),
        );
        let known = BTreeMap::from([("User".to_owned(), user)]);
        for (field, to, sound) in [
            ("int", "User", true),
            ("str", "User.email", true),
            ("int", "Note", true),
            ("str", "User", false),
            ("int", "User.age", false),
            ("int", "User.nope", false),
            ("int", "Nobody", false),
        ] {
            let fields = json!({ "by": { "type": field, "references": to } });
            let config = json!({ "multi_tenant": true });
            let (_, note) = definition(json!({ "name": "Note", "fields": fields, "config": config }));
            assert_eq!(references(&note, &known).is_empty(), sound, "{field} to {to}");
        }
        let (_, note) = definition(
            json!({ "name": "Note", "fields": { "by": { "type": "int", "references": "User" } } }),
        );
        assert_eq!(
            references(&note, &known).len(),
            1,
            "a row of nobody refers to no tenant's"
        );
    }
}
