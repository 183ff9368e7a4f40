//! The page, its files, and the headers that bind a browser.

use reqwest::header::HeaderMap;

use super::frontend;

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[tokio::test]
async fn the_page_loads_with_its_files_and_a_strict_policy() {
    let service = frontend().set("GATEWAY_URL", "http://127.0.0.1:9").start().await;
    let answer = service.request("GET", "/").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    let policy = text(&headers, "content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(text(&headers, "x-content-type-options"), "nosniff");
    assert_eq!(text(&headers, "x-frame-options"), "DENY");
    assert_eq!(text(&headers, "cache-control"), "no-store");

    let page = answer.text().await.unwrap();
    let files: Vec<&str> = page
        .split('"')
        .filter(|part| part.starts_with("/assets/"))
        .collect();
    assert_eq!(files.len(), 3, "{page}");
    for file in files {
        let answer = service.request("GET", file).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{file}");
        assert!(
            text(answer.headers(), "cache-control").contains("immutable"),
            "{file}"
        );
        assert_eq!(text(answer.headers(), "content-security-policy"), policy);
    }
}

#[tokio::test]
async fn nothing_but_its_own_files_is_served() {
    let service = frontend().set("GATEWAY_URL", "http://127.0.0.1:9").start().await;
    for path in [
        "/assets/app.js",
        "/assets/..%2fCargo.toml",
        "/assets/%2e%2e/etc/passwd",
        "/etc/passwd",
    ] {
        assert_eq!(service.get(path).await.status, 404, "{path}");
    }
}
