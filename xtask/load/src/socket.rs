//! Many WebSocket clients at once, each asking now and then.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use crate::{Measured, Template, all};

const PATIENCE: Duration = Duration::from_secs(30);
/// Clients that connect at the same time.
const AT_ONCE: usize = 50;

/// Clients that stay connected.
#[derive(Debug, Clone)]
pub struct Sockets {
    pub target: SocketAddr,
    /// The path, with a query where there is one.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub clients: usize,
    /// What each sends: JSON whose member `id` is the text `${n}`, by which its answer is known.
    pub message: Template,
    /// How often each sends.
    pub every: Duration,
    pub time: Duration,
}

/// Opens all clients, calls `opened` once all are, and lets each send for the time; the times are from message to
/// answer. A client that cannot connect, or loses its connection, is wrong.
pub async fn hold(sockets: &Sockets, opened: impl Future<Output = ()>) -> Measured {
    let mut clients = Vec::new();
    let mut refused = Measured::nothing();
    let mut left = sockets.clients;
    while left > 0 && refused.wrong == 0 {
        let batch = left.min(AT_ONCE);
        let connecting = (0..batch).map(|_| connect(sockets));
        for connected in futures_util::future::join_all(connecting).await {
            match connected {
                Ok(client) => clients.push(client),
                Err(why) => refused.missed(why),
            }
        }
        left -= batch;
    }
    opened.await;
    let step = sockets.every / u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX);
    let conversations = clients.into_iter().enumerate().map(|(place, client)| {
        let (sockets, wait) = (sockets.clone(), step * u32::try_from(place).unwrap_or(0));
        async move {
            tokio::time::sleep(wait).await;
            converse(client, &sockets, place as u64).await
        }
    });
    Measured::together([refused, all(conversations).await])
}

type Client = WebSocketStream<TcpStream>;

async fn connect(sockets: &Sockets) -> Result<Client, String> {
    let url = format!("ws://{}{}", sockets.target, sockets.path);
    let mut request = url.into_client_request().map_err(|error| error.to_string())?;
    for (name, value) in &sockets.headers {
        let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = pair {
            request.headers_mut().insert(name, value);
        }
    }
    let connecting = async {
        let stream = TcpStream::connect(sockets.target).await?;
        tokio_tungstenite::client_async(request, stream).await
    };
    let connected = tokio::time::timeout(PATIENCE, connecting).await;
    let connected = connected.map_err(|_| "no connection in time".to_owned())?;
    connected
        .map(|(client, _)| client)
        .map_err(|error| format!("no connection: {error}"))
}

async fn converse(mut client: Client, sockets: &Sockets, place: u64) -> Measured {
    let mut measured = Measured::nothing();
    let begun = Instant::now();
    let mut number = place;
    while begun.elapsed() < sockets.time {
        let sent = Instant::now();
        match tokio::time::timeout(PATIENCE, ask(&mut client, sockets, number)).await {
            Ok(Ok(())) => measured.saw(sent.elapsed()),
            Ok(Err(why)) => {
                measured.missed(why);
                break;
            }
            Err(_) => measured.missed("no answer in time".to_owned()),
        }
        number += sockets.clients as u64;
        tokio::time::sleep(sockets.every.saturating_sub(sent.elapsed())).await;
    }
    measured.took = begun.elapsed();
    let _ = client.close(None).await;
    measured
}

/// Sends, and reads until the answer; what is pushed meanwhile is passed over.
async fn ask(client: &mut Client, sockets: &Sockets, number: u64) -> Result<(), String> {
    let message = String::from_utf8_lossy(&sockets.message.fill(number)).into_owned();
    let lost = |error: tokio_tungstenite::tungstenite::Error| format!("the connection was lost: {error}");
    client.send(Message::text(message)).await.map_err(lost)?;
    let answer = format!("\"{number}\"");
    while let Some(message) = client.next().await {
        match message.map_err(lost)? {
            Message::Text(text) if text.contains(&answer) && text.contains("\"result\"") => return Ok(()),
            Message::Text(text) if text.contains("\"error\"") => return Err(format!("refused: {text}")),
            Message::Close(frame) => return Err(format!("closed: {frame:?}")),
            _ => {}
        }
    }
    Err("the connection ended".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Greets, then answers each message under its own id.
    async fn echoing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                    socket
                        .send(Message::text("{\"event\":\"connected\"}"))
                        .await
                        .unwrap();
                    while let Some(Ok(Message::Text(text))) = socket.next().await {
                        let answer = text.replace("\"method\":\"ping\"", "\"result\":1");
                        socket.send(Message::text(answer)).await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn clients_ask_and_are_answered() {
        let sockets = Sockets {
            target: echoing().await,
            path: "/ws".into(),
            headers: vec![("authorization".into(), "Bearer x".into())],
            clients: 60,
            message: Template::parse("{\"id\":\"${n}\",\"method\":\"ping\"}").unwrap(),
            every: Duration::from_millis(20),
            time: Duration::from_millis(100),
        };
        let mut opened = false;
        let measured = hold(&sockets, async { opened = true }).await;
        assert!(opened);
        assert_eq!((measured.wrong, &measured.first_wrong), (0, &None));
        assert!(measured.answered >= 60, "{measured:?}");
    }

    #[tokio::test]
    async fn who_cannot_connect_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        drop(listener);
        let sockets = Sockets {
            target,
            path: "/ws".into(),
            headers: Vec::new(),
            clients: 200,
            message: Template::parse("{}").unwrap(),
            every: Duration::from_millis(10),
            time: Duration::from_millis(10),
        };
        let measured = hold(&sockets, async {}).await;
        assert!(
            (1..=50).contains(&measured.wrong),
            "gives up after the first batch: {measured:?}"
        );
    }
}
