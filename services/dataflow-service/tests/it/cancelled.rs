//! Callers who are gone before PostgreSQL has answered: nothing of theirs remains, and what others write afterwards is
//! committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection, Row};
use testkit::{Postgres, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::{binary, ready};

/// A way to PostgreSQL on which one `BEGIN` can be kept back.
#[derive(Default)]
struct Way {
    armed: AtomicBool,
    go_on: Notify,
}

impl Way {
    async fn open(self: Arc<Self>, to: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = self.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    let (mut answers, mut questions) = server.into_split();
                    let (mut asks, mut hears) = client.into_split();
                    let back = async move { tokio::io::copy(&mut answers, &mut hears).await };
                    let forth = async {
                        let mut bytes = vec![0; 65536];
                        while let Ok(count @ 1..) = asks.read(&mut bytes).await {
                            let begins = bytes[..count].windows(6).any(|text| text == b"BEGIN\0");
                            if begins && way.armed.swap(false, Ordering::SeqCst) {
                                way.go_on.notified().await;
                            }
                            questions.write_all(&bytes[..count]).await?;
                        }
                        questions.shutdown().await
                    };
                    let _ = tokio::join!(back, forth);
                });
            }
        });
        port
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_gone_before_begin_is_answered_leaves_no_transaction_to_the_next() {
    let postgres = Postgres::start().await;
    let url = postgres.url();
    let first = ready(&postgres).await;
    let note = json!({ "name": "Note", "fields": { "text": "str" } });
    assert_eq!(first.post("/models", &note).await.status, 201);
    first.kill().await;

    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let way = Arc::new(Way::default());
    let port = way.clone().open(options.get_port()).await;
    let service = binary()
        .set(
            "DATABASE_URL",
            url.replace(&options.get_port().to_string(), &port.to_string()),
        )
        .set("DB_POOL_SIZE", "1")
        .set("REQUEST_TIMEOUT", "3")
        .start()
        .await;
    service.ready().await;
    way.armed.store(true, Ordering::SeqCst);
    let lost = json!({ "data": [{ "text": "lost" }] });
    let gone = service.post("/data/Note/bulk/create", &lost).await;
    assert_eq!(
        (gone.status, &gone.body["code"]),
        (503, &json!("REQUEST_TIMEOUT")),
        "{gone:?}"
    );
    way.go_on.notify_one();

    let kept = wait_for("a row that is acknowledged", testkit::PATIENCE, async || {
        let answer = service.post("/data/Note", &json!({ "text": "kept" })).await;
        (answer.status == 201).then_some(answer.body["id"].clone())
    });
    let kept = i32::try_from(kept.await.as_i64().unwrap()).unwrap();
    let mut direct = PgConnection::connect(&url).await.unwrap();
    let asked = sqlx::query(
        "SELECT count(*) FILTER (WHERE id = $1), count(*) FILTER (WHERE text = 'lost') FROM models.notes",
    );
    let row = direct.fetch_one(asked.bind(kept)).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (1, 0));
}
