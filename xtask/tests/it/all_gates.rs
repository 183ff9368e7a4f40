//! Every gate against what it must catch (`selftest`): it holds as it is, and fails for each gate that is blinded. The runner
//! goes by the alphabet: what takes longest begins first.

use std::path::Path;
use std::process::{Command, Output};

use crate::checkout::repository;

fn selftest(arguments: &[&str], cache: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("selftest").args(arguments).current_dir(repository());
    command.env("HORME_CACHE_DIR", cache).env_remove("HORME_VULN_DB");
    command.output().unwrap()
}

#[test]
fn every_gate_catches_what_it_must() {
    let cache = tempfile::tempdir().unwrap();
    let ended = selftest(&[], cache.path());
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(said.contains(" 0 did not"), "{said}");
}

#[test]
fn a_gate_that_waves_everything_through_is_noticed() {
    let cache = tempfile::tempdir().unwrap();
    for gate in ["lint", "scan", "budget", "boot", "network", "faults"] {
        let ended = selftest(&["--only", gate, "--blind", gate], cache.path());
        let said = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(1), "{gate}: {said}");
        assert!(said.contains("FAILED"), "{gate}: {said}");
        assert!(
            !said.contains(" 0 held"),
            "{gate}, and a good fixture still passes: {said}"
        );
    }
}
