//! For tests only (a dev-dependency): stores in containers, and services as processes of this machine.
//! It panics where a test cannot go on, and says what to do about it. It knows no service by name.
//!
//! ```no_run
//! # async fn test() {
//! let postgres = testkit::Postgres::start().await;
//! let service = testkit::Service::new("/path/of/binary").set("DATABASE_URL", postgres.url()).start().await;
//! service.ready().await;
//! let answer = service.post("/models", &serde_json::json!({})).await;
//! assert_eq!(answer.status, 201);
//! # }
//! ```

#![cfg(feature = "in-tests")]

mod service;
mod store;

use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;

pub use service::{Answer, Exit, Service, Starting};
pub use store::{Postgres, Redis};

/// How long a test waits for what must come. It costs nothing where it does, and a machine may be busy: nothing is
/// proven about time with it.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often a port is drawn: between the draw and the use somebody else may take it.
const DRAWS: usize = 3;
/// How often something awaited is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// A port of 127.0.0.1 that nobody listens on at the moment.
///
/// # Panics
/// No port can be had.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of 127.0.0.1");
    listener.local_addr().expect("the port that was bound").port()
}

/// Polls until `look` finds something.
///
/// # Panics
/// Nothing was found within `deadline`; `what` completes "gave up waiting for ...".
pub async fn wait_for<T, Fut>(what: &str, deadline: Duration, mut look: impl FnMut() -> Fut) -> T
where
    Fut: Future<Output = Option<T>>,
{
    let polled = tokio::time::timeout(deadline, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(EVERY).await;
        }
    });
    match polled.await {
        Ok(found) => found,
        Err(_) => panic!("gave up waiting for {what} after {} s", deadline.as_secs()),
    }
}
