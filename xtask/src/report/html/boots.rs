//! Boot times and memory, with the runs before behind them.

use maud::Markup;

use crate::history::Entry;
use crate::report::Report;

pub(super) fn section(_report: &Report, _history: &[Entry]) -> Markup {
    Markup::default()
}
