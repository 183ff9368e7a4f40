//! Filters as PostgreSQL answers them, against an evaluator in memory that knows nothing of SQL.
//!
//! Texts are ordered by the database's collation, so that the property orders words of one length from a to c only;
//! whether texts are equal is asked of all of Unicode. Nulls fit no comparison, as in SQL.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use testkit::{Postgres, Service};
use tokio::runtime::Handle;

use crate::ready;

/// Pools of values, the same ones for rows and for filters: a comparison must be able to be equal.
const FIELDS: [(&str, &str, bool); 11] = [
    ("i", "int", true),
    ("f", "float", true),
    ("x", "decimal", true),
    ("w", "str", true),
    ("s", "str", false),
    ("b", "bool", false),
    ("d", "datetime", true),
    ("t", "timestamp", true),
    ("u", "uuid", true),
    ("y", "bytes", true),
    ("j", "json", false),
];

/// A value as the service takes it, and what it means.
#[derive(Debug, Clone)]
struct Known {
    sent: Value,
    means: Means,
}

#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Means {
    Number(f64),
    Text(String),
    Truth(bool),
    Bytes(Vec<u8>),
    Json(Value2),
}

/// JSON is equal or not; it has no order here.
#[derive(Debug, Clone, PartialEq)]
struct Value2(Value);

impl PartialOrd for Value2 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

fn known(sent: Value, means: Means) -> Known {
    Known { sent, means }
}

fn value_of(kind: &'static str, name: &'static str) -> BoxedStrategy<Known> {
    match (kind, name) {
        ("int", _) => prop_oneof![any::<i32>(), -2..3_i32]
            .prop_map(|n| known(json!(n), Means::Number(f64::from(n))))
            .boxed(),
        ("float", _) => prop_oneof![
            any::<f64>().prop_filter("finite", |n| n.is_finite()),
            Just(0.0),
            Just(-0.0),
            Just(0.1)
        ]
        .prop_map(|n| known(json!(n), Means::Number(n)))
        .boxed(),
        ("decimal", _) => prop::sample::select(vec![
            ("1.10", 1.1),
            ("1.1", 1.1),
            ("-3", -3.0),
            ("1e2", 100.0),
            ("100.000", 100.0),
            ("0.001", 0.001),
        ])
        .prop_map(|(text, n)| known(json!(text), Means::Number(n)))
        .boxed(),
        ("str", "w") => "[abc]{3}"
            .prop_map(|text| known(json!(text), Means::Text(text)))
            .boxed(),
        ("str", _) => prop_oneof!["[^\\x00]{0,3}", "'|\"|--|a|A|\u{e9}|e\u{301}| "]
            .prop_map(|text: String| known(json!(text), Means::Text(text)))
            .boxed(),
        ("bool", _) => any::<bool>()
            .prop_map(|truth| known(json!(truth), Means::Truth(truth)))
            .boxed(),
        ("datetime" | "timestamp", _) => (0..3_u8, 0..2_u8)
            .prop_map(|(hour, zone)| {
                // The same moments, said in two ways.
                let text = match zone {
                    0 => format!("2026-01-31T1{hour}:00:00"),
                    _ => format!("2026-01-31T1{}:00:00+02:00", hour + 2),
                };
                known(json!(text), Means::Number(f64::from(hour)))
            })
            .boxed(),
        ("uuid", _) => (0..3_u8, any::<bool>())
            .prop_map(|(n, upper)| {
                let text = format!("{n}f9619ff-8b86-d011-b42d-00c04fc964ff");
                let sent = if upper { text.to_uppercase() } else { text.clone() };
                known(json!(sent), Means::Text(text))
            })
            .boxed(),
        ("bytes", _) => prop::sample::select(vec![
            ("", vec![]),
            ("AA==", vec![0]),
            ("AAE=", vec![0, 1]),
            ("/w==", vec![255]),
            ("aGk=", vec![104, 105]),
        ])
        .prop_map(|(text, bytes)| known(json!(text), Means::Bytes(bytes)))
        .boxed(),
        _ => prop::sample::select(vec![
            json!(1),
            json!("1"),
            json!([1, null]),
            json!({ "a": { "b": 1 } }),
            json!({}),
            json!(true),
        ])
        .prop_map(|value| known(value.clone(), Means::Json(Value2(value))))
        .boxed(),
    }
}

/// What a condition asks, in the test's own words.
#[derive(Debug, Clone)]
enum Ask {
    Compare(&'static str, Known),
    Among(&'static str, Vec<Known>),
    Present(&'static str, bool),
    Like(String),
    Regex(&'static str),
    Null(&'static str),
}

impl Ask {
    fn sent(&self) -> Value {
        match self {
            Ask::Compare(operator, known) => json!({ *operator: known.sent }),
            Ask::Among(operator, known) => {
                let sent: Vec<_> = known.iter().map(|known| &known.sent).collect();
                json!({ *operator: sent })
            }
            Ask::Present(operator, wanted) => json!({ *operator: wanted }),
            Ask::Like(pattern) => json!({ "$like": pattern }),
            Ask::Regex(pattern) => json!({ "$regex": pattern }),
            Ask::Null(operator) => json!({ *operator: null }),
        }
    }

    fn holds(&self, value: Option<&Means>) -> bool {
        let text = |value: &Means| match value {
            Means::Text(text) => text.clone(),
            _ => String::new(),
        };
        match self {
            Ask::Null("$eq") => value.is_none(),
            Ask::Null(_) => value.is_some(),
            Ask::Present("$exists", wanted) => value.is_some() == *wanted,
            Ask::Present(_, wanted) => value.is_none() == *wanted,
            // Of an empty list nothing is one, and everything is none, nulls too.
            Ask::Among(operator, known) if known.is_empty() => *operator == "$nin",
            Ask::Compare(operator, known) => {
                value.is_some_and(|value| compares(operator, value, &known.means))
            }
            Ask::Among(operator, known) => value
                .is_some_and(|value| known.iter().any(|known| known.means == *value) == (*operator == "$in")),
            Ask::Like(pattern) => value.is_some_and(|value| like(pattern.as_bytes(), text(value).as_bytes())),
            Ask::Regex(pattern) => value.is_some_and(|value| {
                let text = text(value);
                match *pattern {
                    "^a" => text.starts_with('a'),
                    "c$" => text.ends_with('c'),
                    _ => text.contains("ab") || text.contains("cb"),
                }
            }),
        }
    }
}

fn compares(operator: &str, value: &Means, operand: &Means) -> bool {
    let order = value.partial_cmp(operand);
    match operator {
        "$eq" => value == operand,
        "$ne" => value != operand,
        "$gt" => order == Some(Ordering::Greater),
        "$gte" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        "$lt" => order == Some(Ordering::Less),
        _ => matches!(order, Some(Ordering::Less | Ordering::Equal)),
    }
}

/// `%` is any text, `_` any one character.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, left) => left.is_none(),
        (Some((b'%', rest)), left) => like(rest, text) || left.is_some_and(|(_, text)| like(pattern, text)),
        (Some((b'_', rest)), Some((_, text))) => like(rest, text),
        (Some((letter, rest)), Some((first, text))) => letter == first && like(rest, text),
        (Some(_), None) => false,
    }
}

fn asked(kind: &'static str, name: &'static str, ordered: bool) -> BoxedStrategy<Ask> {
    let operators: &[&str] = if ordered {
        &["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]
    } else {
        &["$eq", "$ne"]
    };
    let compare = (prop::sample::select(operators), value_of(kind, name))
        .prop_map(|(operator, known)| Ask::Compare(operator, known));
    let among = (
        prop::sample::select(vec!["$in", "$nin"]),
        prop::collection::vec(value_of(kind, name), 0..4),
    )
        .prop_map(|(operator, known)| Ask::Among(operator, known));
    let present = (prop::sample::select(vec!["$exists", "$null"]), any::<bool>())
        .prop_map(|(operator, wanted)| Ask::Present(operator, wanted));
    let null = prop::sample::select(vec!["$eq", "$ne"]).prop_map(Ask::Null);
    if name == "w" {
        let like = "[abc%_]{0,4}".prop_map(Ask::Like);
        let regex = prop::sample::select(vec!["^a", "c$", "[ac]b"]).prop_map(Ask::Regex);
        return prop_oneof![3 => compare, 2 => among, 1 => present, 1 => null, 2 => like, 2 => regex].boxed();
    }
    prop_oneof![4 => compare, 2 => among, 1 => present, 1 => null].boxed()
}

type Row = Vec<Option<Known>>;

/// Which of four models, some rows, and conditions, each on a field by its place.
fn case() -> impl Strategy<Value = (usize, Vec<Row>, Vec<(usize, Ask)>)> {
    let cells: Vec<_> = FIELDS
        .iter()
        .map(|(name, kind, _)| prop::option::weighted(0.8, value_of(kind, name)))
        .collect();
    let conditions: Vec<_> = FIELDS
        .iter()
        .enumerate()
        .map(|(place, (name, kind, ordered))| {
            asked(kind, name, *ordered)
                .prop_map(move |ask| (place, ask))
                .boxed()
        })
        .collect();
    let conditions = prop::collection::vec(proptest::strategy::Union::new(conditions), 1..4);
    (0..MODELS.len(), prop::collection::vec(cells, 1..8), conditions)
}

/// Which fields each model has: all, and three selections.
const MODELS: [u32; 4] = [0x7ff, 0b101_0101_0101, 0b010_1010_1010, 0b110_0110_0110];

fn has(model: usize, place: usize) -> bool {
    MODELS[model] >> place & 1 == 1
}

/// The rows' numbers that the service finds.
async fn found(
    service: &Service,
    model: usize,
    rows: &[Row],
    filter: &Map<String, Value>,
    case: i64,
) -> Vec<u64> {
    let data: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| {
            let mut fields = Map::from_iter([("case".to_owned(), json!(case)), ("n".to_owned(), json!(n))]);
            let known = row.iter().enumerate().filter(|(place, _)| has(model, *place));
            fields.extend(known.map(|(place, known)| {
                (
                    FIELDS[place].0.to_owned(),
                    known.as_ref().map_or(Value::Null, |known| known.sent.clone()),
                )
            }));
            Value::Object(fields)
        })
        .collect();
    let made = service
        .post(&format!("/data/Row{model}/bulk/create"), &json!({ "data": data }))
        .await;
    assert_eq!(made.body["inserted"], rows.len(), "{made:?}");
    let mut filter = filter.clone();
    filter.insert("case".to_owned(), json!(case));
    let sent = json!({ "filter": filter, "limit": 100, "order_by": ["n"], "enable_cache": false });
    let page = service.post(&format!("/data/Row{model}/query"), &sent).await;
    assert_eq!(page.status, 200, "{sent}: {page:?}");
    page.body["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["n"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_answers_as_the_evaluator_does() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    for model in 0..MODELS.len() {
        let mut fields = Map::from_iter([
            ("case".to_owned(), json!({ "type": "int", "index": true })),
            ("n".to_owned(), json!("int")),
        ]);
        let own = FIELDS.iter().enumerate().filter(|(place, _)| has(model, *place));
        fields.extend(own.map(|(_, (name, kind, _))| ((*name).to_owned(), json!(kind))));
        let made = service
            .post(
                "/models",
                &json!({ "name": format!("Row{model}"), "fields": fields }),
            )
            .await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let (service, cases, kept) = (&service, AtomicI64::new(0), AtomicI64::new(0));
    let config = Config {
        cases: 256,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let handle = Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&case(), |(model, rows, conditions)| {
            let conditions: Vec<_> = conditions
                .into_iter()
                .filter(|(place, _)| has(model, *place))
                .collect();
            // One field's operators stand in one object; the same operator twice cannot be said.
            let mut filter: Map<String, Value> = Map::new();
            let mut asked = Vec::new();
            for (place, ask) in conditions {
                let sent = filter
                    .entry(FIELDS[place].0)
                    .or_insert_with(|| json!({}))
                    .as_object_mut()
                    .unwrap();
                let operator = ask.sent().as_object().unwrap().clone();
                if operator.keys().all(|operator| !sent.contains_key(operator)) {
                    sent.extend(operator);
                    asked.push((place, ask));
                }
            }
            let holds = |row: &Row| {
                asked
                    .iter()
                    .all(|(place, ask)| ask.holds(row[*place].as_ref().map(|known| &known.means)))
            };
            let wanted: Vec<u64> = (0..)
                .zip(&rows)
                .filter(|(_, row)| holds(row))
                .map(|(n, _)| n)
                .collect();
            let case = cases.fetch_add(1, Relaxed);
            let got = handle.block_on(found(service, model, &rows, &filter, case));
            kept.fetch_add(
                i64::from(!wanted.is_empty() && wanted.len() < rows.len()),
                Relaxed,
            );
            prop_assert_eq!(got, wanted, "{}", Value::Object(filter));
            Ok(())
        })
    });
    assert_eq!(outcome.map_err(|error| error.to_string()), Ok(()));
    let telling = kept.load(Relaxed);
    assert!(telling > 40, "only {telling} cases kept some rows and not others");
}
