//! A client of `/ws`: opens connections, calls, and reads how they end.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::Response},
};

pub(crate) type Answer = Response<Option<Vec<u8>>>;
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
pub(crate) const PATIENCE: Duration = testkit::PATIENCE;

/// Opens a connection; the refusal where there is none.
pub(crate) async fn open(
    url: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<(Socket, Answer), Answer> {
    let url = format!("{}{path}", url.replacen("http", "ws", 1));
    let mut request = url.into_client_request().expect("an address");
    for (name, value) in headers {
        let name: tungstenite::http::HeaderName = name.parse().expect("a header");
        request
            .headers_mut()
            .insert(name, value.parse().expect("a header"));
    }
    match connect_async(request).await {
        Ok(opened) => Ok(opened),
        Err(tungstenite::Error::Http(refused)) => Err(*refused),
        Err(error) => panic!("no answer to the opening: {error}"),
    }
}

/// A connection of a user, past its first message.
pub(crate) async fn connected(url: &str, token: &str) -> Socket {
    let bearer = format!("Bearer {token}");
    let (mut socket, _) = open(url, "/ws", &[("authorization", &bearer)])
        .await
        .expect("it is let in");
    let first = next(&mut socket).await;
    assert_eq!(first["event"], "connected", "{first}");
    assert!(first["data"]["connection_id"].is_string(), "{first}");
    socket
}

/// The next text as JSON; pings are answered on the way.
pub(crate) async fn next(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .expect("a message in time");
        match message.expect("it is open").expect("a message") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("no text but {other:?}"),
        }
    }
}

pub(crate) async fn ask(socket: &mut Socket, method: &str, params: Value) -> Value {
    let call = json!({ "id": method, "method": method, "params": params });
    socket.send(Message::text(call.to_string())).await.expect("sent");
    let answer = next(socket).await;
    assert_eq!(answer["id"], method, "{answer}");
    answer
}

/// Reads to the end: the code of the close frame.
pub(crate) async fn closed(mut socket: Socket) -> Option<u16> {
    let reading = async {
        while let Some(message) = socket.next().await {
            match message {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("an end in time")
}

/// Sends more than may be sent, reading meanwhile as browsers do: the code of the close frame.
pub(crate) async fn oversized(socket: Socket) -> Option<u16> {
    let (mut sending, reading) = socket.split();
    let large = tokio::spawn(async move {
        // The connection may end before all of it is sent.
        let _ = sending.send(Message::text("x".repeat((1 << 20) + 1))).await;
        sending
    });
    let closing = reading.filter_map(async |message| match message {
        Ok(Message::Close(frame)) => frame.map(|frame| u16::from(frame.code)),
        _ => None,
    });
    let code = tokio::time::timeout(PATIENCE, Box::pin(closing).next()).await;
    drop(large.await);
    code.expect("an end in time")
}
