//! The document and its page, against the running gateway.

use serde_json::Value;

use super::{NOWHERE, behind, gateway};

/// A path with something for each of its parameters.
fn filled(path: &str) -> String {
    let parts = path.split('/');
    let filled = parts.map(|part| if part.starts_with('{') { "x" } else { part });
    filled.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn all_that_is_documented_answers_and_the_page_tells_of_it() {
    let service = behind(gateway(), &format!("http://{NOWHERE}")).start().await;
    let document = service.get("/openapi.json").await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let page = service.request("GET", "/docs").send().await.unwrap();
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    let page = page.text().await.unwrap();
    assert!(!page.contains("<script"));
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
        for method in item.as_object().unwrap().keys() {
            let answer = service
                .request(&method.to_uppercase(), &filled(path))
                .send()
                .await
                .unwrap();
            let status = answer.status().as_u16();
            assert!(status != 404 && status != 405, "{method} {path}: {status}");
            asked += 1;
        }
    }
    assert!(asked > 15, "{asked}");
    // Every reference leads somewhere.
    for reference in references(&document) {
        let found = document.pointer(reference.trim_start_matches('#'));
        assert!(found.is_some(), "{reference}");
    }
}

fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str);
            own.into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
