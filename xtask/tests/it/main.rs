//! The pipeline from outside: the built `xtask` in small checkouts of its own, on the real engine. Each gate
//! has a fixture here that must fail it, for the reason that is meant.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts the pipeline, and looks at the engine, from outside"
)]

mod all_gates;
mod arguments;
mod bench;
mod bolt;
mod boot;
mod bundle;
mod checkout;
mod copy;
mod dependencies;
mod engine;
mod faults;
mod fingerprint;
mod foreign;
mod gates;
mod in_image;
mod interruption;
mod killed;
mod machines;
mod malformed;
mod network;
mod page;
mod proof;
mod real_registry;
mod registry;
mod relay;
mod release;
mod release_again;
mod release_killed;
mod release_own;
mod release_real;
mod release_refused;
mod release_undone;
mod releasing;
mod reports;
mod reproduce;
mod rescan;
mod reuse;
mod scaffold;
mod scan;
mod size;
mod stub;
mod surroundings;
mod terminal;
mod trend;
mod verify;
mod verify_hostile;
