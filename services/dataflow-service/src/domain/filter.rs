//! Filters: DataFlow's twelve operators, all conditions joined by AND. Anything else is DF-701.

use serde_json::{Map, Value};

use super::fault::{FILTER, Fault};
use super::field::Kind;
use super::model::Model;

/// What a condition asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    /// `column <operator> value`; the operator is one of SQL's own, never a caller's text.
    Compare(&'static str, String),
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    IsNull,
    IsNotNull,
}

/// One condition of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) column: String,
    pub(crate) kind: Kind,
    pub(crate) test: Test,
}

/// `{field: value}` or `{field: {"$operator": value, ...}}`.
pub(crate) fn parse(model: &Model, filter: &Map<String, Value>) -> Result<Vec<Condition>, Vec<Fault>> {
    let (mut conditions, mut faults) = (Vec::new(), Vec::new());
    for (column, wanted) in filter {
        let Some(kind) = model.kind_of(column) else {
            let message = format!("{} has no field {column}", model.name);
            faults.push(Fault::about(FILTER, column, message));
            continue;
        };
        for (operator, operand) in operators(kind, wanted) {
            match test_of(kind, &operator, operand) {
                Ok(test) => conditions.push(Condition {
                    column: column.clone(),
                    kind,
                    test,
                }),
                Err(why) => faults.push(Fault::about(FILTER, column, format!("{column}: {why}"))),
            }
        }
    }
    if faults.is_empty() {
        Ok(conditions)
    } else {
        Err(faults)
    }
}

/// An object is a set of operators where a key begins with `$`, or where the field could not hold an object.
fn operators(kind: Kind, wanted: &Value) -> Vec<(String, &Value)> {
    match wanted {
        Value::Object(object)
            if !matches!(kind, Kind::Dict | Kind::Json) || object.keys().any(|key| key.starts_with('$')) =>
        {
            object.iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        value => vec![("$eq".to_owned(), value)],
    }
}

fn test_of(kind: Kind, operator: &str, operand: &Value) -> Result<Test, String> {
    let compare = |sql| match kind.text_of(operand) {
        Ok(value) => Ok(Test::Compare(sql, value)),
        Err(why) => Err(format!("the value of {operator} {why}")),
    };
    let ordered = |sql| match kind.has_order() {
        true => compare(sql),
        false => Err(format!("{operator} does not fit its type")),
    };
    let textual = |sql| match kind {
        Kind::Str => compare(sql),
        _ => Err(format!("{operator} is for str only")),
    };
    match operator {
        "$eq" if operand.is_null() => Ok(Test::IsNull),
        "$ne" if operand.is_null() => Ok(Test::IsNotNull),
        "$eq" => compare("="),
        "$ne" => compare("<>"),
        "$gt" => ordered(">"),
        "$gte" => ordered(">="),
        "$lt" => ordered("<"),
        "$lte" => ordered("<="),
        "$like" if operand.as_str().is_some_and(ends_escaping) => {
            Err("the pattern of $like ends with an escape that escapes nothing".to_owned())
        }
        "$like" => textual("LIKE"),
        "$regex" => textual("~"),
        "$in" => many(kind, operand).map(Test::OneOf),
        "$nin" => many(kind, operand).map(Test::NoneOf),
        "$exists" => presence(operand, Test::IsNotNull, Test::IsNull),
        "$null" => presence(operand, Test::IsNull, Test::IsNotNull),
        unknown => Err(format!(
            "unknown operator {unknown}; known are $eq $ne $gt $gte $lt $lte $in $nin $like $regex $exists $null"
        )),
    }
}

/// PostgreSQL finds this fault only where a row takes it to the pattern's end.
fn ends_escaping(pattern: &str) -> bool {
    let stem = pattern.trim_end_matches('\\');
    (pattern.len() - stem.len()) % 2 == 1
}

fn many(kind: Kind, operand: &Value) -> Result<Vec<String>, String> {
    let values = operand.as_array().ok_or("expected an array")?;
    values.iter().map(|value| kind.text_of(value)).collect()
}

fn presence(operand: &Value, when_true: Test, when_false: Test) -> Result<Test, String> {
    match operand {
        Value::Bool(true) => Ok(when_true),
        Value::Bool(false) => Ok(when_false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{Test, *};

    fn filter(filter: Value) -> Result<Vec<Test>, Vec<Fault>> {
        let fields = json!({ "title": "str", "stock": "int", "tags": "dict" });
        let model = Model::define("Product", fields.as_object().unwrap()).unwrap();
        parse(&model, filter.as_object().unwrap())
            .map(|conditions| conditions.into_iter().map(|condition| condition.test).collect())
    }

    #[test]
    fn the_operators_are_these_twelve() {
        let tests = filter(json!({
            "stock": { "$eq": 1, "$ne": 2, "$gt": 3, "$gte": 4, "$lt": 5, "$lte": 6, "$in": [7], "$nin": [8] },
            "title": { "$like": "a%", "$regex": "^a", "$exists": true, "$null": false },
        }));
        assert_eq!(tests.unwrap().len(), 12);
        assert_eq!(filter(json!({ "title": null })).unwrap(), [Test::IsNull]);
        assert_eq!(
            filter(json!({ "tags": { "a": 1 } })).unwrap(),
            [Test::Compare("=", "{\"a\":1}".to_owned())]
        );
    }

    #[test]
    fn all_else_is_df_701() {
        for wrong in [
            json!({ "nope": 1 }),
            json!({ "stock": { "$where": 1 } }),
            json!({ "stock": { "gt": 1 } }),
            json!({ "stock": { "$like": "1%" } }),
            json!({ "title": { "$like": "50\\" } }),
            json!({ "stock": "1; drop table products" }),
            json!({ "stock": { "$in": 1 } }),
        ] {
            assert_eq!(filter(wrong).unwrap_err()[0].code, "DF-701");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        let key = prop_oneof![
            any::<String>(),
            prop::sample::select(vec![
                "title", "stock", "tags", "place", "$eq", "$in", "$like", "$exists", "$null"
            ])
            .prop_map(str::to_owned),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(key.clone(), inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_parsed_or_refused(
            sent in prop::collection::hash_map(
                prop::sample::select(vec!["id", "title", "stock", "tags", "place", "nope"]), any_json(), 0..4
            )
        ) {
            let sent: Map<String, Value> = sent.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            let fields = json!({ "title": "str", "stock": "int", "tags": "json", "place": "vector(2)" });
            let model = Model::define("Product", fields.as_object().unwrap()).unwrap();
            match parse(&model, &sent) {
                Ok(conditions) => prop_assert!(conditions.iter().all(|condition| sent.contains_key(&condition.column))),
                Err(faults) => prop_assert!(!faults.is_empty() && faults.iter().all(|fault| fault.code == "DF-701")),
            }
        }
    }
}
