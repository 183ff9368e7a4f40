//! Vector search, with pgvector's index and its own order as the measure.

use serde_json::{Value, json};
use testkit::Postgres;

use crate::{ready, refusal};

/// Places spread over a sphere's octant, no two alike.
fn place(n: u32) -> [f64; 3] {
    let angle = f64::from(n) * 0.0077;
    [angle.cos(), angle.sin(), f64::from(n % 7) / 10.0]
}

fn cosine(a: [f64; 3], b: [f64; 3]) -> f64 {
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_rows_come_first() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let fields = json!({ "n": "int", "even": "bool", "place": { "type": "vector(3)", "index": true } });
    let made = service
        .post("/models", &json!({ "name": "Spot", "fields": fields }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let rows: Vec<Value> = (0..200)
        .map(|n| json!({ "n": n, "even": n % 50 == 0, "place": place(n) }))
        .collect();
    let made = service
        .post("/data/Spot/bulk/create", &json!({ "data": rows }))
        .await;
    assert_eq!(made.body["inserted"], 200, "{made:?}");
    assert_eq!(
        service.post("/data/Spot", &json!({ "n": 999 })).await.status,
        201,
        "a row without a place"
    );

    let at = place(70);
    let nearest = |only: fn(u32) -> bool| {
        let mut all: Vec<u32> = (0..200).filter(|n| only(*n)).collect();
        all.sort_by(|a, b| cosine(place(*a), at).total_cmp(&cosine(place(*b), at)));
        all
    };
    let numbers = |body: &Value| -> Vec<u32> {
        let records = body["records"].as_array().unwrap().iter();
        records
            .map(|row| u32::try_from(row["n"].as_u64().unwrap()).unwrap())
            .collect()
    };
    // More than the index keeps by itself; nearly equal distances may change places among 32 bits.
    let found = service
        .post(
            "/data/Spot/search",
            &json!({ "field": "place", "vector": at, "k": 120 }),
        )
        .await;
    let (got, wanted) = (numbers(&found.body), &nearest(|_| true)[..120]);
    assert_eq!((got.len(), got[0]), (120, 70), "{found:?}");
    let shared = got.iter().filter(|n| wanted.contains(n)).count();
    assert!(shared >= 115, "{shared} of 120 are the nearest");
    let distances: Vec<f64> = found.body["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["_distance"].as_f64().unwrap())
        .collect();
    assert!(
        distances[0].abs() < 1e-6 && distances.is_sorted_by(|a, b| *a <= *b + 1e-6),
        "{distances:?}"
    );

    // A filter takes nearly all away, and those that are left are found all the same.
    let search = json!({ "field": "place", "vector": at, "k": 3, "filter": { "even": true }, "include_distance": false });
    let found = service.post("/data/Spot/search", &search).await;
    assert_eq!(numbers(&found.body), nearest(|n| n % 50 == 0)[..3]);
    assert_eq!(found.body["records"][0].get("_distance"), None);
    for metric in ["l2", "ip"] {
        let search = json!({ "field": "place", "vector": at, "k": 1, "metric": metric });
        let found = service.post("/data/Spot/search", &search).await;
        let distance = found.body["records"][0]["_distance"].as_f64().unwrap();
        assert!(
            if metric == "l2" {
                distance.abs() < 1e-6
            } else {
                distance < -0.999
            },
            "{metric}: {found:?}"
        );
    }

    let short = service
        .post(
            "/data/Spot/search",
            &json!({ "field": "place", "vector": [1, 2] }),
        )
        .await;
    assert_eq!(
        (refusal(&short), &short.body["field"]),
        ((422, "DF-101"), &json!("place"))
    );
    let long = service
        .post("/data/Spot", &json!({ "place": [1, 2, 3, 4] }))
        .await;
    assert_eq!(
        (refusal(&long), &long.body["field"]),
        ((422, "DF-101"), &json!("place"))
    );
    let huge = service
        .post("/data/Spot", &json!({ "place": [1e39, 0, 0] }))
        .await;
    assert_eq!(huge.status, 422);
}
