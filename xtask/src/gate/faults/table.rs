//! The table of faults: a row for each store and fault, for the terminal and for the report.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// What one fault of one store came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub store: String,
    pub fault: String,
    /// Until the last dependent said so; `None` where one did not, or where nothing was lost.
    pub noticed_ms: Option<u64>,
    pub sent: usize,
    pub slowest_ms: Option<u64>,
    pub hung: usize,
    pub wrong: usize,
    /// From the end of the fault until all were ready and requests succeeded; `None` where they did not.
    pub recovered_ms: Option<u64>,
    pub acknowledged: usize,
    pub lost: usize,
    /// Acknowledged, and not answered about afterwards.
    #[serde(default)]
    pub unasked: usize,
    /// Answers or connections that the relay touched, where there was one.
    pub touched: Option<u64>,
}

/// What each column holds; see [`Row::cells`].
pub const COLUMNS: [&str; 10] = [
    "store",
    "fault",
    "noticed after",
    "requests",
    "slowest answer",
    "hung",
    "wrong answers",
    "recovered after",
    "acknowledged",
    "lost",
];

/// All rows as Markdown.
pub fn render(rows: &[Row]) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        COLUMNS.join(" | "),
        " --- |".repeat(COLUMNS.len())
    );
    for row in rows {
        let _ = writeln!(text, "| {} |", row.cells().join(" | "));
    }
    text
}

impl Row {
    /// A word for each of [`COLUMNS`].
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        let slow = self.fault == "slowed";
        [
            self.store.clone(),
            self.fault.clone(),
            if slow {
                "-".to_owned()
            } else {
                seconds(self.noticed_ms, "never")
            },
            self.sent.to_string(),
            seconds(self.slowest_ms.filter(|_| self.sent > 0), "-"),
            self.hung.to_string(),
            self.wrong.to_string(),
            seconds(self.recovered_ms, "never"),
            self.acknowledged.to_string(),
            match self.unasked {
                0 => self.lost.to_string(),
                unasked => format!("{} ({unasked} unknown)", self.lost),
            },
        ]
    }

    /// One row in words, as it comes.
    pub fn line(&self) -> String {
        let [
            store,
            fault,
            noticed,
            sent,
            slowest,
            hung,
            wrong,
            recovered,
            acknowledged,
            lost,
        ] = self.cells();
        format!(
            "{store} {fault}: noticed {noticed}, {sent} requests, slowest {slowest}, {hung} hung, {wrong} wrong, \
             recovered {recovered}, {acknowledged} acknowledged, {lost} lost"
        )
    }
}

fn seconds(ms: Option<u64>, none: &str) -> String {
    ms.map_or(none.to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_reads_never_and_a_slow_store_is_not_lost() {
        let row = Row {
            store: "postgres".into(),
            fault: "frozen".into(),
            noticed_ms: Some(3_210),
            sent: 90,
            slowest_ms: Some(25_020),
            hung: 0,
            wrong: 0,
            recovered_ms: None,
            acknowledged: 12,
            lost: 1,
            unasked: 0,
            touched: None,
        };
        let slowed = Row {
            fault: "slowed".into(),
            noticed_ms: None,
            unasked: 4,
            ..row.clone()
        };
        insta::assert_snapshot!(render(&[row, slowed]), @r"
        | store | fault | noticed after | requests | slowest answer | hung | wrong answers | recovered after | acknowledged | lost |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | postgres | frozen | 3.2 s | 90 | 25.0 s | 0 | 0 | never | 12 | 1 |
        | postgres | slowed | - | 90 | 25.0 s | 0 | 0 | never | 12 | 1 (4 unknown) |
        ");
    }
}
