//! What each member found that leads out of the stack: members that found the same share a row.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::scale::region;
use crate::verdict::{Check, Outcome, Record};

const COLUMNS: [&str; 2] = ["ways out", "host gateway"];

/// A member's checks, by column.
type Row<'a> = [Option<&'a Check>; 2];

/// The table; nothing where no member was asked.
pub(super) fn table(records: &[&Record]) -> Markup {
    let rows = grouped(by_member(records));
    if rows.is_empty() {
        return Markup::default();
    }
    html! {
        (region("Ways out", html! {
            table {
                caption { "Ways out" }
                thead {
                    tr {
                        th scope="col" { "from" }
                        @for column in COLUMNS { th scope="col" { (column) } }
                    }
                }
                tbody {
                    @for (members, checks) in &rows {
                        tr {
                            th scope="row" { (members.join(", ")) }
                            @for check in checks { (cell(*check)) }
                        }
                    }
                }
            }
        }))
    }
}

fn cell(check: Option<&Check>) -> Markup {
    let class = |outcome| match outcome {
        Outcome::Violated => Some("pic-wrong"),
        Outcome::Undecided => Some("pic-unsure"),
        Outcome::Passed | Outcome::Skipped => None,
    };
    html! {
        @match check {
            Some(check) => td class=[class(check.outcome)] { (check.outcome.word()) ": " (check.detail) },
            None => td { "not asked" },
        }
    }
}

/// The checks about ways out, by who looked. A store's are told with each service that needs it: the worst counts.
fn by_member<'a>(records: &[&'a Record]) -> BTreeMap<&'a str, Row<'a>> {
    let mut members: BTreeMap<&str, Row<'_>> = BTreeMap::new();
    for record in records {
        for check in &record.checks {
            let Some((member, column)) = place(&record.service, &check.name) else {
                continue;
            };
            let kept = &mut members.entry(member).or_default()[column];
            if kept.is_none_or(|kept| kept.outcome < check.outcome) {
                *kept = Some(check);
            }
        }
    }
    members
}

/// `ways out` is of the service itself, `ways out of redis` of a store.
fn place<'a>(service: &'a str, check: &'a str) -> Option<(&'a str, usize)> {
    COLUMNS.iter().enumerate().find_map(|(column, name)| {
        let suffix = check.strip_prefix(name)?;
        let member = if suffix.is_empty() {
            service
        } else {
            suffix.strip_prefix(" of ")?
        };
        Some((member, column))
    })
}

/// Members that found the same, together; the worst first.
fn grouped<'a>(members: BTreeMap<&'a str, Row<'a>>) -> Vec<(Vec<&'a str>, Row<'a>)> {
    let told = |row: &Row<'_>| row.map(|check| check.map(|check| (check.outcome, check.detail.clone())));
    let mut rows: Vec<(Vec<&str>, Row<'_>)> = Vec::new();
    for (member, row) in members {
        match rows.iter_mut().find(|(_, other)| told(other) == told(&row)) {
            Some((names, _)) => names.push(member),
            None => rows.push((vec![member], row)),
        }
    }
    let worst = |row: &Row<'_>| row.iter().flatten().map(|check| check.outcome).max();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(worst(row)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Gate;

    #[test]
    fn members_that_found_the_same_share_a_row_and_the_worst_comes_first() {
        let closed = |name: &str| Check::passed(name, "refused");
        let record = |service, checks| Record::from_checks(service, Gate::Network, checks, "");
        let records = [
            record(
                "a",
                vec![
                    closed("ways out"),
                    closed("host gateway"),
                    closed("ways out of redis"),
                ],
            ),
            record("b", vec![closed("ways out"), closed("host gateway")]),
            record(
                "c",
                vec![
                    closed("ready"),
                    Check::violated("ways out of redis", "open: a container", "close it"),
                ],
            ),
        ];
        let records: Vec<&Record> = records.iter().collect();
        let rows = grouped(by_member(&records));
        let told: Vec<_> = rows
            .iter()
            .map(|(members, row)| {
                (
                    members.join(" "),
                    row.map(|check| check.map(|check| check.outcome)),
                )
            })
            .collect();
        let (passed, violated) = (Some(Outcome::Passed), Some(Outcome::Violated));
        assert_eq!(
            told,
            [
                ("redis".to_owned(), [violated, None]),
                ("a b".to_owned(), [passed, passed]),
            ]
        );
        let page = table(&records).into_string();
        assert!(
            page.contains("<td class=\"pic-wrong\">violated: open: a container</td><td>not asked</td>"),
            "{page}"
        );
        assert_eq!(table(&[]).into_string(), "");
    }
}
