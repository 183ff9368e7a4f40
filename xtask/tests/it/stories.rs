//! Stories: told through the edge, refused where they are malformed, exact where they fail.

use crate::faults::stack;

#[test]
fn a_malformed_story_is_wrong_usage_before_anything_is_built() {
    let checkout = stack("sty-bad", "good");
    let story = r#"[{"name":"a","method":"GET","path":"/","expect":{"status":200},"retries":3}]"#;
    checkout.write("services/sty-bad/stories/first.json", story);
    let ended = checkout.run(&["ci"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    let named = "services/sty-bad/stories/first.json: step 1: unknown field `retries`";
    assert!(ended.stderr.contains(named), "{}", ended.stderr);
}

#[test]
fn a_story_that_fails_names_story_step_expected_and_got() {
    let checkout = stack("sty-off", "good");
    let story = r#"[
        {"name": "write", "method": "GET", "path": "/write/7", "retry_until_s": 10,
         "expect": {"status": 201, "headers": {"content-type": "application/json"}, "contains": ["number"]}},
        {"name": "read", "method": "GET", "path": "/read/7", "expect": {"status": 200, "json": {"/number": 8}}}
    ]"#;
    checkout.write("services/sty-off/stories/first.json", story);
    let ended = checkout.gate("network");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let words = "story first: step 2 'read' (GET /read/7): expected 8 at /number, got 7";
    assert!(ended.stdout.contains(words), "{}", ended.said());
}
