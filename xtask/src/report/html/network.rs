//! Who reaches whom, as a picture.

use maud::Markup;

use crate::report::Report;

pub(super) fn section(_report: &Report) -> Markup {
    Markup::default()
}
