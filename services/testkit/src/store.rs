//! PostgreSQL and Redis in containers, from the images that the pipeline names. They are ready when they answer
//! in their own protocol; their port outlives a stop, so that a test can take a store away and bring it back.

use std::time::Duration;

use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{DRAWS, free_port, wait_for};

const NO_ENGINE: &str = "needs a container engine: run cargo xtask test --setup";
/// How long a store may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a store is given to end by itself.
const GRACE_S: i32 = 10;

/// PostgreSQL. It is removed when the value is dropped; that needs a test with `flavor = "multi_thread"`.
#[derive(Debug)]
pub struct Postgres {
    container: ContainerAsync<GenericImage>,
    port: u16,
}

impl Postgres {
    /// Starts the image named by `HORME_POSTGRES_IMAGE`.
    ///
    /// # Panics
    /// No image is named, no engine answers, or the store is not up within 60 s.
    pub async fn start() -> Self {
        let run = run(|port| {
            request("HORME_POSTGRES_IMAGE", port, 5432)
                .with_env_var("POSTGRES_USER", "horme")
                .with_env_var("POSTGRES_PASSWORD", "horme")
                .with_env_var("POSTGRES_DB", "horme")
        });
        let (container, port) = run.await;
        let postgres = Postgres { container, port };
        postgres.answers().await;
        postgres
    }

    /// `postgres://user:password@host:port/database`.
    pub fn url(&self) -> String {
        format!("postgres://horme:horme@127.0.0.1:{}/horme", self.port)
    }

    /// Ends the store; its data stay.
    pub async fn stop(&self) {
        stop(&self.container).await;
    }

    /// Starts it again, at the same address.
    pub async fn resume(&self) {
        resume(&self.container).await;
        self.answers().await;
    }

    async fn answers(&self) {
        // `SSLRequest`: a server that is up answers 'S' or 'N' (PostgreSQL documentation, 54.2.11).
        let question = [0, 0, 0, 8, 4, 210, 22, 47];
        wait_for("postgres", PATIENCE, async || {
            ask(self.port, &question)
                .await
                .filter(|answer| matches!(answer, b'S' | b'N'))
        })
        .await;
    }
}

/// Redis. It is removed when the value is dropped; that needs a test with `flavor = "multi_thread"`.
#[derive(Debug)]
pub struct Redis {
    container: ContainerAsync<GenericImage>,
    port: u16,
}

impl Redis {
    /// Starts the image named by `HORME_REDIS_IMAGE`.
    ///
    /// # Panics
    /// No image is named, no engine answers, or the store is not up within 60 s.
    pub async fn start() -> Self {
        let (container, port) = run(|port| request("HORME_REDIS_IMAGE", port, 6379)).await;
        let redis = Redis { container, port };
        redis.answers().await;
        redis
    }

    /// `redis://host:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the store.
    pub async fn stop(&self) {
        stop(&self.container).await;
    }

    /// Starts it again, at the same address.
    pub async fn resume(&self) {
        resume(&self.container).await;
        self.answers().await;
    }

    async fn answers(&self) {
        wait_for("redis", PATIENCE, async || {
            ask(self.port, b"PING\r\n").await.filter(|answer| *answer == b'+')
        })
        .await;
    }
}

/// The first byte of the answer. The engine's forwarder accepts connections before the store does, and then
/// closes them, so that only an answer tells.
async fn ask(port: u16, question: &[u8]) -> Option<u8> {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(question).await?;
        stream.read_u8().await
    };
    tokio::time::timeout(Duration::from_secs(1), asked)
        .await
        .ok()?
        .ok()
}

fn request(setting: &str, host_port: u16, port: u16) -> ContainerRequest<GenericImage> {
    let image = std::env::var(setting).unwrap_or_else(|_| panic!("{setting} is not set; {NO_ENGINE}"));
    let (name, tag) = name_and_tag(&image);
    let labels = [
        ("dev.horme.run", "HORME_RUN_ID"),
        ("dev.horme.owner", "HORME_OWNER"),
    ];
    let labels = labels
        .into_iter()
        .filter_map(|(label, variable)| std::env::var(variable).ok().map(|value| (label, value)));
    GenericImage::new(name, tag)
        .with_mapped_port(host_port, port.tcp())
        .with_labels(labels)
        .with_startup_timeout(PATIENCE)
}

/// Starts what is asked for a free port, and tells which it was.
async fn run(request: impl Fn(u16) -> ContainerRequest<GenericImage>) -> (ContainerAsync<GenericImage>, u16) {
    let mut draw = 1;
    loop {
        let port = free_port();
        match request(port).start().await {
            Ok(container) => return (container, port),
            Err(error) if draw < DRAWS && is_taken(&format!("{error:?}")) => draw += 1,
            Err(error) => panic!("{NO_ENGINE} ({error})"),
        }
    }
}

/// Whether an engine says that the port went to somebody else in between.
fn is_taken(error: &str) -> bool {
    ["already allocated", "address already in use"]
        .iter()
        .any(|words| error.contains(words))
}

async fn stop(container: &ContainerAsync<GenericImage>) {
    let stopped = container.stop_with_timeout(Some(GRACE_S)).await;
    stopped.expect("the store's container stops");
}

async fn resume(container: &ContainerAsync<GenericImage>) {
    container
        .start()
        .await
        .expect("the store's container starts again");
}

/// `name:tag` apart. A name without a tag, or with a registry's port but no tag, is `latest`; of a digest
/// (`name@sha256:hex`), the hex takes the tag's place.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_taken, name_and_tag};

    #[test]
    fn an_image_is_a_name_and_a_tag() {
        assert_eq!(name_and_tag("a/b:1"), ("a/b", "1"));
        assert_eq!(name_and_tag("host:5000/b"), ("host:5000/b", "latest"));
        assert_eq!(name_and_tag("a@sha256:ff"), ("a@sha256", "ff"));
    }

    #[test]
    fn a_taken_port_is_told_from_other_faults() {
        assert!(is_taken(
            "Bind for 127.0.0.1:4711 failed: port is already allocated"
        ));
        assert!(is_taken("listen tcp4 0.0.0.0:4711: bind: address already in use"));
        assert!(!is_taken("No such image: a:1"));
    }
}
