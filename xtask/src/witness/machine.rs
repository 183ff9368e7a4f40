//! How busy and how full the machine is that the gates run on.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

/// Load, memory and disk now; what this system does not tell is `null`.
pub fn machine(folder: &Path) -> Value {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = memory
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let names = ["MemTotal", "MemAvailable", "SwapTotal", "SwapFree"];
    let memory_kb: BTreeMap<_, _> = names.map(|name| (name, kilobytes(name))).into();
    let disk = rustix::fs::statvfs(folder).ok();
    json!({
        "at": jiff::Timestamp::now(),
        "processors": std::thread::available_parallelism().ok().map(usize::from),
        "load_1_5_15_min": std::fs::read_to_string("/proc/loadavg").ok().map(|text| text.trim().to_owned()),
        "memory_kb": memory_kb,
        "disk_of_reports": disk.map(|disk| json!({
            "free_bytes": disk.f_bavail * disk.f_frsize,
            "total_bytes": disk.f_blocks * disk.f_frsize,
            "free_files": disk.f_favail,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_how_full_it_is() {
        let machine = machine(&std::env::temp_dir());
        assert!(machine["memory_kb"]["MemTotal"].as_u64() > Some(0), "{machine}");
        assert!(
            machine["disk_of_reports"]["total_bytes"].as_u64() > Some(0),
            "{machine}"
        );
    }
}
