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
