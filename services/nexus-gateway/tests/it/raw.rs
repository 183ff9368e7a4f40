//! Below HTTP libraries: a server that answers with any bytes or none, and a client that sends any.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that counts requests, and answers each as it is told to.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<AtomicUsize>,
}

impl Server {
    /// `answer` gets the request's number, from 0, and its head; nothing closes the connection.
    pub(crate) async fn start(
        answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!(
            "http://{}",
            listener.local_addr().expect("the port that was bound")
        );
        let seen = Arc::new(AtomicUsize::new(0));
        let (counted, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counted, answer) = (counted.clone(), answer.clone());
                tokio::spawn(async move { one(stream, &counted, answer.as_ref()).await });
            }
        });
        Self { url, seen }
    }

    /// How many requests came.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

async fn one(
    mut stream: TcpStream,
    counted: &AtomicUsize,
    answer: &(dyn Fn(usize, &str) -> Option<String> + Sync),
) {
    let Some(head) = head(&mut stream).await else {
        return;
    };
    // The board's question is not one of the calls that are counted.
    if head.starts_with("GET /ready ") {
        return;
    }
    let number = counted.fetch_add(1, Ordering::SeqCst);
    if let Some(bytes) = answer(number, &head) {
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// An answer with a body, after which the connection closes.
pub(crate) fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Sends bytes to `http://host:port` and reads until the other side closes.
pub(crate) async fn send(url: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .expect("it listens");
    // The other side may answer, and close, before all is sent.
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
