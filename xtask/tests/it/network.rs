//! The network gate: declared edges, undeclared ones, and the reverse direction.

use crate::checkout::{Checkout, Fixture};

fn pair(prefix: &str, own_address: bool) -> Vec<Fixture> {
    let (caller, callee) = (format!("{prefix}-caller"), format!("{prefix}-callee"));
    vec![
        Fixture {
            calls: vec![callee.clone()],
            own_address,
            ..Fixture::new(&caller)
        },
        Fixture::new(&callee),
    ]
}

#[test]
fn a_declared_edge_is_open_and_the_reverse_is_refused() {
    let checkout = Checkout::new(pair("net", true));
    let ended = checkout.gate("network");
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let checks = checkout.checks("net-caller", "network");
    assert!(
        checks.contains(&"reaches net-callee: passed".to_owned()),
        "{checks:?}"
    );
}

#[test]
fn a_service_that_listens_everywhere_opens_the_reverse_edge() {
    let checkout = Checkout::new(pair("rev", false));
    let ended = checkout.gate("network");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let checks = checkout.checks("rev-callee", "network");
    assert!(
        checks.contains(&"undeclared edge rev-callee -> rev-caller: violated".to_owned()),
        "{checks:?}"
    );
}

#[test]
fn a_network_joined_in_compose_alone_is_an_undeclared_edge() {
    let checkout = Checkout::new(pair("und", true));
    let compose = std::fs::read_to_string(checkout.path("compose/compose.yaml")).unwrap();
    let mut compose: serde_json::Value = serde_json::from_str(&compose).unwrap();
    compose["services"]["und-callee"]["networks"]["und-caller"] = serde_json::json!({});
    checkout.write("compose/compose.yaml", &compose.to_string());
    let ended = checkout.gate("network");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(
        ended.stdout.contains("undeclared edge und-callee -> und-caller"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_declared_edge_that_compose_keeps_closed_is_a_violation() {
    let checkout = Checkout::new(pair("shut", true));
    let compose = std::fs::read_to_string(checkout.path("compose/compose.yaml")).unwrap();
    let mut compose: serde_json::Value = serde_json::from_str(&compose).unwrap();
    compose["services"]["shut-caller"]["networks"]
        .as_object_mut()
        .unwrap()
        .remove("shut-callee");
    checkout.write("compose/compose.yaml", &compose.to_string());
    let ended = checkout.gate("network");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(
        ended.stdout.contains("declared edge shut-caller -> shut-callee"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_network_that_leads_outside_is_a_way_out() {
    let checkout = Checkout::new(pair("out", true));
    let compose = std::fs::read_to_string(checkout.path("compose/compose.yaml")).unwrap();
    let mut compose: serde_json::Value = serde_json::from_str(&compose).unwrap();
    compose["networks"]["out-callee"] = serde_json::json!({ "internal": false });
    checkout.write("compose/compose.yaml", &compose.to_string());
    let ended = checkout.gate("network");
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let checks = checkout.checks("out-callee", "network");
    assert!(checks.contains(&"ways out: violated".to_owned()), "{checks:?}");
    assert!(checks.contains(&"host gateway: passed".to_owned()), "{checks:?}");
}

#[test]
fn the_matrix_of_pairs_is_in_the_report_and_beside_it() {
    let checkout = Checkout::new(pair("mat", true));
    let ended = checkout.gate("network");
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let read = |file: &str| std::fs::read_to_string(checkout.path(file)).unwrap();
    let report = read("reports/latest/report.md");
    assert!(report.contains("| mat-caller | ● |   |"), "{report}");
    let picture = read("reports/latest/network.svg");
    assert!(
        picture.contains("<title>mat-callee to mat-caller: refused</title>"),
        "{picture}"
    );
    let checks = checkout.checks("mat-caller", "network");
    assert!(checks.contains(&"ways out: passed".to_owned()), "{checks:?}");
}
