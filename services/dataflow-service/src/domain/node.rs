//! A model's nodes: their names, and what each one's parameters mean. A call becomes an `Action`.

use serde_json::{Map, Value};

use super::fault::{DELETE_WITHOUT_ID, FILTER, Fault, PARAMETER, READ_WITHOUT_ID, UPDATE_WITHOUT_ID};
use super::filter::{self, Condition};
use super::model::Model;
use super::row::{self, Assignment};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Read,
    Update,
    Delete,
    List,
    Count,
}

/// The operations that exist, by the word in a node's name.
pub(crate) const OPERATIONS: [(&str, Operation); 6] = [
    ("Create", Operation::Create),
    ("Read", Operation::Read),
    ("Update", Operation::Update),
    ("Delete", Operation::Delete),
    ("List", Operation::List),
    ("Count", Operation::Count),
];

/// DataFlow's other five: refused by name, and not listed.
const NOT_YET: [&str; 5] = ["Upsert", "BulkCreate", "BulkUpdate", "BulkDelete", "BulkUpsert"];

/// `ProductCreateNode`.
pub(crate) fn names(model: &Model) -> Vec<String> {
    OPERATIONS
        .iter()
        .map(|(word, _)| format!("{}{word}Node", model.name))
        .collect()
}

/// The models and operations that a node's name may mean, the longest operation first; an operation of `None`
/// does not exist yet. `ABulkCreateNode` is `A`'s bulk creation or `ABulk`'s creation: the models decide.
pub(crate) fn meanings(name: &str) -> Vec<(&str, Option<Operation>)> {
    let Some(stem) = name.strip_suffix("Node") else {
        return Vec::new();
    };
    let not_yet = NOT_YET.iter().map(|word| (*word, None));
    let existing = OPERATIONS
        .iter()
        .map(|(word, operation)| (*word, Some(*operation)));
    not_yet
        .chain(existing)
        .filter_map(|(word, operation)| Some((stem.strip_suffix(word)?, operation)))
        .collect()
}

/// One page of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) conditions: Vec<Condition>,
    /// Columns, each with whether it descends.
    pub(crate) order: Vec<(String, bool)>,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

/// What is to be done, with every name and value checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Create(Vec<Assignment>),
    Read { id: String, raise: bool },
    Update { id: String, values: Vec<Assignment> },
    Delete { id: String },
    List(Page),
    Count(Vec<Condition>),
}

type Parameters = Map<String, Value>;

impl Action {
    /// Checks a call's parameters.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn parse(
        operation: Operation,
        model: &Model,
        sent: &Parameters,
        max_page: i64,
    ) -> Result<Self, Vec<Fault>> {
        match operation {
            Operation::Create => row::for_create(model, sent).map(Action::Create),
            Operation::Read => read(model, sent),
            Operation::Update => update(model, sent),
            Operation::Delete => delete(model, sent),
            Operation::List => list(model, sent, max_page),
            Operation::Count => {
                only(sent, &["filter"])?;
                filter::parse(model, &object(sent, "filter", FILTER)?).map(Action::Count)
            }
        }
    }
}

fn read(model: &Model, sent: &Parameters) -> Result<Action, Vec<Fault>> {
    only(sent, &["id", "record_id", "raise_on_not_found"])?;
    let id = id(model, sent, READ_WITHOUT_ID)?;
    let raise = flag(sent, "raise_on_not_found", true)?;
    Ok(Action::Read { id, raise })
}

fn update(model: &Model, sent: &Parameters) -> Result<Action, Vec<Fault>> {
    only(sent, &["filter", "fields"])?;
    let id = id(model, &only_id(sent, UPDATE_WITHOUT_ID)?, UPDATE_WITHOUT_ID)?;
    let values = row::for_update(model, &object(sent, "fields", PARAMETER)?)?;
    Ok(Action::Update { id, values })
}

fn delete(model: &Model, sent: &Parameters) -> Result<Action, Vec<Fault>> {
    only(sent, &["id", "record_id", "filter"])?;
    let id = if sent.contains_key("filter") {
        id(model, &only_id(sent, DELETE_WITHOUT_ID)?, DELETE_WITHOUT_ID)?
    } else {
        id(model, sent, DELETE_WITHOUT_ID)?
    };
    Ok(Action::Delete { id })
}

fn list(model: &Model, sent: &Parameters, max_page: i64) -> Result<Action, Vec<Fault>> {
    only(
        sent,
        &["filter", "limit", "offset", "order_by", "sort", "count_only"],
    )?;
    let conditions = filter::parse(model, &object(sent, "filter", FILTER)?)?;
    if flag(sent, "count_only", false)? {
        return Ok(Action::Count(conditions));
    }
    Ok(Action::List(Page {
        conditions,
        order: order(model, sent)?,
        limit: number(sent, "limit", 10)?.min(max_page),
        offset: number(sent, "offset", 0)?,
    }))
}

/// `order_by`: `["field", "-field"]` or `[{field: -1}]`; `sort`: `[{field, order}]`. Newest first otherwise.
fn order(model: &Model, sent: &Parameters) -> Result<Vec<(String, bool)>, Vec<Fault>> {
    let wrong = |parameter: &str| {
        let message = format!(
            "{parameter}: expected fields of {} and their direction",
            model.name
        );
        vec![Fault::about(PARAMETER, parameter, message)]
    };
    let mut order = Vec::new();
    for parameter in ["order_by", "sort"] {
        let Some(given) = sent.get(parameter) else {
            continue;
        };
        let entries = given.as_array().ok_or_else(|| wrong(parameter))?;
        for entry in entries {
            let (column, descends) = direction(entry).ok_or_else(|| wrong(parameter))?;
            model.kind_of(&column).ok_or_else(|| wrong(parameter))?;
            order.push((column, descends));
        }
    }
    if order.is_empty() {
        order.push(("id".to_owned(), true));
    }
    Ok(order)
}

fn direction(entry: &Value) -> Option<(String, bool)> {
    if let Some(text) = entry.as_str() {
        return Some(match text.strip_prefix('-') {
            Some(column) => (column.to_owned(), true),
            None => (text.to_owned(), false),
        });
    }
    let object = entry.as_object()?;
    if let (Some(column), Some(order)) = (object.get("field"), object.get("order")) {
        let descends = match order.as_str()? {
            "asc" => false,
            "desc" => true,
            _ => return None,
        };
        return Some((column.as_str()?.to_owned(), descends));
    }
    let (column, sign) = object.iter().next().filter(|_| object.len() == 1)?;
    match sign.as_i64()? {
        1 => Some((column.clone(), false)),
        -1 => Some((column.clone(), true)),
        _ => None,
    }
}

/// A filter that must be an id and nothing else: these nodes are about one row.
fn only_id(sent: &Parameters, code: &'static str) -> Result<Parameters, Vec<Fault>> {
    let filter = object(sent, "filter", code)?;
    if filter.keys().any(|key| key != "id") {
        let message = "filter takes an id and nothing else";
        return Err(vec![Fault::about(code, "filter", message)]);
    }
    Ok(filter)
}

fn id(model: &Model, sent: &Parameters, code: &'static str) -> Result<String, Vec<Fault>> {
    let given = sent.get("id").or_else(|| sent.get("record_id"));
    match given.filter(|value| !value.is_null()) {
        Some(value) => row::id_of(model, value).map_err(|fault| vec![fault]),
        None => Err(vec![Fault::about(code, "id", "an id is required")]),
    }
}

fn only(sent: &Parameters, known: &[&str]) -> Result<(), Vec<Fault>> {
    let faults: Vec<Fault> = sent
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| {
            let message = format!("unknown parameter {name}; known are {}", known.join(", "));
            Fault::about(PARAMETER, name, message)
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn object(sent: &Parameters, name: &str, code: &'static str) -> Result<Parameters, Vec<Fault>> {
    match sent.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(vec![Fault::about(
            code,
            name,
            format!("{name} must be an object"),
        )]),
    }
}

fn flag(sent: &Parameters, name: &str, default: bool) -> Result<bool, Vec<Fault>> {
    match sent.get(name) {
        None => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => {
            let message = format!("{name} must be true or false");
            Err(vec![Fault::about(PARAMETER, name, message)])
        }
    }
}

fn number(sent: &Parameters, name: &str, default: i64) -> Result<i64, Vec<Fault>> {
    match sent.get(name).map(Value::as_i64) {
        None => Ok(default),
        Some(Some(number)) if number >= 0 => Ok(number),
        Some(_) => {
            let message = format!("{name} must be a whole number from 0");
            Err(vec![Fault::about(PARAMETER, name, message)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> Model {
        let fields = json!({ "title": "str", "stock": "int" });
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    fn parse(operation: Operation, sent: Value) -> Result<Action, &'static str> {
        Action::parse(operation, &model(), sent.as_object().unwrap(), 100).map_err(|faults| faults[0].code)
    }

    #[test]
    fn a_name_may_mean_two_models() {
        assert_eq!(
            meanings("ProductCreateNode"),
            [("Product", Some(Operation::Create))]
        );
        assert_eq!(
            meanings("ABulkCreateNode"),
            [("A", None), ("ABulk", Some(Operation::Create))]
        );
        assert_eq!(meanings("Product"), []);
        assert_eq!(names(&model())[0], "ProductCreateNode");
    }

    #[test]
    fn each_node_has_its_code_for_a_missing_id() {
        assert_eq!(parse(Operation::Read, json!({})), Err("DF-702"));
        assert_eq!(
            parse(Operation::Update, json!({ "fields": { "stock": 1 } })),
            Err("DF-704")
        );
        assert_eq!(parse(Operation::Delete, json!({})), Err("DF-705"));
        assert_eq!(parse(Operation::Read, json!({ "id": "1 or 1=1" })), Err("DF-101"));
        assert_eq!(
            parse(Operation::Read, json!({ "id": 1, "database_url": "x" })),
            Err("DF-101")
        );
    }

    #[test]
    fn pages_are_bounded_and_ordered() {
        let action = parse(
            Operation::List,
            json!({ "limit": 5000, "order_by": ["-stock", { "title": 1 }], "sort": [{ "field": "id", "order": "asc" }] }),
        );
        let Ok(Action::List(page)) = action else {
            panic!("{action:?}")
        };
        let order: Vec<_> = page
            .order
            .iter()
            .map(|(column, descends)| (column.as_str(), *descends))
            .collect();
        assert_eq!(
            (page.limit, order),
            (100, vec![("stock", true), ("title", false), ("id", false)])
        );
        assert_eq!(
            parse(Operation::List, json!({ "order_by": ["id; drop"] })),
            Err("DF-101")
        );
        assert_eq!(
            parse(Operation::List, json!({ "count_only": true })),
            Ok(Action::Count(vec![]))
        );
    }
}
