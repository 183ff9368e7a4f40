//! One message to a WebSocket, and its answer.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

/// Opens a socket, sends `message` and returns the first message that has the same `id`; what is pushed meanwhile is
/// passed over. The caller limits the time.
///
/// # Errors
/// The socket is refused, is closed before the answer, or breaks.
pub async fn ask(
    edge: SocketAddr,
    path: &str,
    headers: impl Iterator<Item = (String, String)>,
    message: &Value,
) -> Result<String> {
    let mut request = format!("ws://{edge}{path}").into_client_request()?;
    for (name, value) in headers {
        let name = HeaderName::try_from(&name).with_context(|| format!("'{name}' is no header"))?;
        let value =
            HeaderValue::try_from(value).with_context(|| format!("{name} holds what no header can"))?;
        request.headers_mut().insert(name, value);
    }
    let stream = TcpStream::connect(edge)
        .await
        .context("no answer through the edge")?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .context("the WebSocket was refused")?;
    socket.send(Message::text(message.to_string())).await?;
    while let Some(received) = socket.next().await {
        match received.context("the WebSocket broke")? {
            Message::Text(text) => {
                let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                if answer["id"] == message["id"] {
                    let _ = socket.close(None).await;
                    return Ok(text.to_string());
                }
            }
            Message::Close(Some(frame)) => bail!("the WebSocket was closed: {} {}", frame.code, frame.reason),
            _ => {}
        }
    }
    bail!("the WebSocket ended without an answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn serving(say: &'static [&'static str]) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            for text in say {
                socket.send(Message::text(*text)).await.unwrap();
            }
            let _ = socket.next().await;
        });
        address
    }

    #[tokio::test]
    async fn the_answer_is_the_message_with_the_same_id() {
        let edge = serving(&[
            r#"{"event":"connected"}"#,
            r#"{"id":"2","result":0}"#,
            r#"{"id":"1","result":7}"#,
        ])
        .await;
        let headers = [("authorization".to_owned(), "Bearer x".to_owned())];
        let answer = ask(
            edge,
            "/ws",
            headers.into_iter(),
            &json!({"id": "1", "method": "m"}),
        )
        .await;
        assert_eq!(answer.unwrap(), r#"{"id":"1","result":7}"#);
    }

    #[tokio::test]
    async fn a_socket_that_ends_is_no_answer() {
        let edge = serving(&[]).await;
        let answer = ask(edge, "/ws", std::iter::empty(), &json!({"id": "1"})).await;
        assert!(answer.is_err());
    }
}
