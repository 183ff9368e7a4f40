//! Where the time of the run went.

use maud::Markup;

use crate::report::Report;

pub(super) fn section(_report: &Report) -> Markup {
    Markup::default()
}
