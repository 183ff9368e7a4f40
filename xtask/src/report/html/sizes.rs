//! Where each image's bytes are, stacked by layer and crate, against budget and baseline.

use maud::Markup;

use crate::report::Report;

pub(super) fn section(_report: &Report) -> Markup {
    Markup::default()
}
