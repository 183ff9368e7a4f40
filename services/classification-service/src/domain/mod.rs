//! What classifying means: codes and their hierarchy, text to character n-grams, nearest neighbours, and
//! the decision how deep an answer may go. Pure and deterministic: no clock, no network, no randomness.

pub mod classify;
pub mod code;
pub mod codeset;
pub mod index;
pub mod text;

pub use classify::{Classifier, Decision, Neighbourhood};
pub use code::{Code, Level};
pub use codeset::CodeSet;
