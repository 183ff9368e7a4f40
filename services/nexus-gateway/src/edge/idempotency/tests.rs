//! What is a call with a key, which calls are the same, and what is kept of their answers.

use super::*;

fn parts(method: &str, uri: &str, kind: &str) -> Parts {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", kind);
    request.body(()).unwrap().into_parts().0
}

#[test]
fn anything_that_differs_makes_another_call() {
    let same = || fingerprint(&parts("POST", "/workflows/a?x=1", "application/json"), b"{}");
    assert_eq!(same(), same());
    let others = [
        fingerprint(&parts("PATCH", "/workflows/a?x=1", "application/json"), b"{}"),
        fingerprint(&parts("POST", "/workflows/b?x=1", "application/json"), b"{}"),
        fingerprint(&parts("POST", "/workflows/a?x=2", "application/json"), b"{}"),
        fingerprint(&parts("POST", "/workflows/a?x=1", "text/plain"), b"{}"),
        fingerprint(&parts("POST", "/workflows/a?x=1", "application/json"), b"{ }"),
    ];
    assert!(others.iter().all(|other| *other != same()));
}

#[test]
fn keys_count_where_something_is_made() {
    let asked = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header(KEY, "k");
        key(&request.body(Body::empty()).unwrap()).is_some()
    };
    assert!(asked("POST", "/workflows/a/execute") && asked("PATCH", "/api/dataflow/data/M/1"));
    assert!(asked("POST", "/workflows"));
    for (method, path) in [("GET", "/workflows"), ("POST", "/auth/login"), ("POST", "/mcp")] {
        assert!(!asked(method, path), "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_too_large_to_keep_is_given_whole() {
    let pieces = (0..3).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7; 600_000])));
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let Gathered::More(body) = gather(body, Duration::from_secs(60)).await else {
        panic!("it was kept");
    };
    assert_eq!(
        axum::body::to_bytes(body, usize::MAX).await.unwrap().len(),
        1_800_000
    );
}

#[tokio::test]
async fn what_is_not_there_in_time_is_given_as_it_comes() {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("one"))]);
    let body = Body::from_stream(first.chain(futures_util::stream::pending()));
    let Gathered::Late(body) = gather(body, Duration::from_millis(1)).await else {
        panic!("it was waited for");
    };
    assert_eq!(body.into_data_stream().next().await.unwrap().unwrap(), "one");
}

#[test]
fn only_a_call_that_may_have_been_made_stays_claimed() {
    let second = Duration::from_secs(1);
    let times = Times {
        gather: second,
        upstream: 25 * second,
        claim: second,
    };
    let open = |status, took| times.leave_open(StatusCode::from_u16(status).unwrap(), took);
    assert!(open(502, second) && open(504, second) && open(503, 25 * second));
    assert!(!open(503, 24 * second) && !open(500, 30 * second) && !open(201, 30 * second));
}
