//! nginx as a plain proxy before one address: what a gateway is compared with. Its image is the one of the edge.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::stage::{Port, Stage};
use crate::context::{Deadline, poll};
use crate::engine::{Constraint, Container, ContainerSpec};
use crate::exit::Failure;

const ROLE: &str = "proxy";
const MEMORY_BYTES: i64 = 512 << 20;
const PIDS: i64 = 64;

/// A proxy that runs until the run's sweep, or until it is removed.
pub struct Nginx {
    pub address: SocketAddr,
    pub container: Container,
}

/// Starts one that passes everything on to `upstream`, and waits until it listens.
pub async fn start(stage: &Stage<'_>, name: &str, upstream: SocketAddr) -> Result<Nginx> {
    let port = Port::free()?;
    let address = port.address;
    let folder = stage.context.run_dir.join("bench").join(format!("nginx-{name}"));
    std::fs::create_dir_all(&folder)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::fs::write(
        folder.join("nginx.conf"),
        configuration(address, upstream, processors),
    )?;
    let image = stage.plan.bases.images.get(ROLE);
    let hint = "docker/bases/pins.toml: [proxy]";
    let image = image.ok_or_else(|| Failure::undecided("there is no image of the edge's proxy", hint))?;
    let spec = ContainerSpec {
        name: format!("horme-{}-bench-nginx-{name}", stage.context.run_id),
        image: image.clone(),
        run_id: stage.context.run_id.clone(),
        command: [
            "nginx",
            "-e",
            "/dev/stderr",
            "-c",
            "/etc/bench/nginx.conf",
            "-g",
            "daemon off;",
        ]
        .map(str::to_owned)
        .to_vec(),
        volume: Some((folder.display().to_string(), "/etc/bench:ro".to_owned())),
        network: Some("host".to_owned()),
        memory_bytes: MEMORY_BYTES,
        pids: PIDS,
        // It begins as root, and gives that up.
        spared: vec![Constraint::NoCapabilities],
        ..ContainerSpec::default()
    };
    let container = stage.engine.create(&spec).await?;
    port.give_up();
    stage.engine.start(&container).await?;
    let listens = poll(
        Deadline::within(Duration::from_secs(20)),
        Duration::from_millis(50),
        || async { tokio::net::TcpStream::connect(address).await.ok().map(drop) },
    );
    listens
        .await
        .context("nginx did not listen in time; see its log in logs/bench-services/")?;
    Ok(Nginx { address, container })
}

/// Connections to the upstream are kept; nothing is logged, buffered on disk or added.
fn configuration(address: SocketAddr, upstream: SocketAddr, processors: usize) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path /dev/shm/{kind};\n"))
        .concat();
    format!(
        "pid /dev/shm/nginx.pid;\nworker_processes {processors};\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         {temporary}    access_log off;\n    keepalive_requests 1000000;\n    client_max_body_size 0;\n    \
         upstream behind {{ server {upstream}; keepalive 64; keepalive_requests 1000000; }}\n    server {{\n        \
         listen {address};\n        location / {{\n            proxy_pass http://behind;\n            \
         proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n            \
         proxy_set_header Host $http_host;\n        }}\n    }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_what_is_behind_are_kept() {
        let text = configuration("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap(), 2);
        insta::assert_snapshot!(text);
    }
}
