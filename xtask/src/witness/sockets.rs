//! The sockets of a running container, as its kernel lists them: who listens where, who is connected with whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The state of a connection that both sides have closed.
const OVER: &str = "06";

/// A line a socket; `None` where the engine runs elsewhere or `/proc` does not let us look.
pub fn of(pid: i64, container: &str) -> Option<String> {
    let process = Path::new("/proc").join(pid.to_string());
    let groups = std::fs::read_to_string(process.join("cgroup")).ok()?;
    if !groups.contains(container) {
        return None;
    }
    let tables = ["tcp", "tcp6", "udp", "udp6"].map(|kind| {
        let table = std::fs::read_to_string(process.join("net").join(kind)).unwrap_or_default();
        read(kind, &table)
    });
    Some(tables.concat())
}

/// A table of `/proc/net`, below its line of titles.
fn read(kind: &str, table: &str) -> String {
    let lines = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (own, other, state) = (end(words.next()?)?, end(words.next()?)?, words.next()?);
        // What is over says nothing, and there is much of it.
        (state != OVER).then(|| format!("{kind} {own} {other} {}\n", word(state)))
    });
    lines.collect()
}

/// `0100007F:1F40` as `127.0.0.1:8000`; the address is in this machine's order of bytes.
fn end(text: &str) -> Option<String> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<u32>> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect();
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let address: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some(std::net::SocketAddr::new(address, port).to_string())
}

fn word(state: &str) -> &str {
    match state {
        "01" => "established",
        "02" => "syn-sent",
        "03" => "syn-received",
        "07" => "unconnected",
        "08" => "close-wait",
        "0A" => "listening",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_addresses() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000\n\
                     1: 020012AC:1F40 030012AC:C350 01 0:0\n   2: cut\n   \
                     3: 020012AC:1F40 030012AC:C351 06 0:0\n";
        assert_eq!(
            read("tcp", table),
            "tcp 127.0.0.1:8000 0.0.0.0:0 listening\ntcp 172.18.0.2:8000 172.18.0.3:50000 established\n"
        );
        let six = "t\n 0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0\n";
        assert_eq!(read("tcp6", six), "tcp6 [::1]:80 [::]:0 listening\n");
    }

    #[test]
    fn a_process_of_another_machine_is_not_looked_at() {
        assert_eq!(of(std::process::id().into(), "no-such-container"), None);
    }
}
