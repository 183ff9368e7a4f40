//! The registry in memory on the wire: a thread of its own, connections that can be reset, and the script's part in
//! each request.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::routes::{self, Asked};
use super::script::{Act, Fault, Then};
use super::{Login, Shared};

pub(super) fn start(listener: std::net::TcpListener, shared: Arc<Shared>, ended: oneshot::Receiver<()>) {
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = Cuttable(TcpListener::from_std(listener).unwrap());
            let router = Router::new().fallback(answer).with_state(shared);
            let service = router.into_make_service_with_connect_info::<Cut>();
            tokio::select! {
                served = axum::serve(listener, service) => served.unwrap(),
                _ = ended => {}
            }
        });
    });
}

/// Once set, the connection is reset instead of being written to.
#[derive(Clone, Default)]
struct Cut(Arc<AtomicBool>);

impl Cut {
    fn cut(&self) -> Response {
        self.0.store(true, Ordering::SeqCst);
        Response::new(Body::empty())
    }
}

impl Connected<IncomingStream<'_, Cuttable>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Cuttable>) -> Self {
        stream.io().cut.clone()
    }
}

struct Cuttable(TcpListener);

struct Connection {
    stream: TcpStream,
    cut: Cut,
}

impl Listener for Cuttable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let cut = Cut::default();
        (Connection { stream, cut }, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.cut.0.load(Ordering::SeqCst) {
            // With RST, as a connection is lost.
            let _ = self.stream.set_zero_linger();
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Runs hooks; whether the request goes on.
fn goes_on(acts: Vec<Act>) -> bool {
    acts.into_iter().all(|act| act() == Then::GoOn)
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.to_string();
    let turn = shared.script().turn(&method, &path);
    let went = |received, status| {
        shared.script().went(turn.number, &path, received, status);
    };
    if !goes_on(turn.before) {
        return cut.cut();
    }
    let has_body = matches!(method.as_str(), "PUT" | "PATCH" | "POST");
    let most = match turn.fault {
        Some(Fault::Reset(most)) if has_body => most,
        _ => usize::MAX,
    };
    let resets = has_body && matches!(turn.fault, Some(Fault::Reset(_)));
    let (bytes, is_whole) = received(body, most).await;
    if resets || !is_whole {
        went(bytes.len(), None);
        return cut.cut();
    }
    let length = bytes.len();
    let asked = Asked::new(&method, &path, parts.headers, bytes);
    let (answer, is_cut) = carry_out(&shared, &asked, turn.fault.as_ref()).await;
    if !goes_on(turn.after) || is_cut {
        went(length, None);
        return cut.cut();
    }
    went(length, Some(answer.status().as_u16()));
    answer
}

/// The body, or its first bytes; whether that is all of it.
async fn received(body: Body, most: usize) -> (Bytes, bool) {
    let (mut stream, mut all) = (body.into_data_stream(), Vec::new());
    while let Some(piece) = stream.next().await {
        let Ok(piece) = piece else {
            return (all.into(), false);
        };
        all.extend_from_slice(&piece);
        if all.len() >= most {
            all.truncate(most);
            return (all.into(), false);
        }
    }
    (all.into(), true)
}

/// The answer, and whether the connection is to be cut in its place.
async fn carry_out(shared: &Shared, asked: &Asked, fault: Option<&Fault>) -> (Response, bool) {
    let carried_out = || routes::carry_out(shared, asked);
    let answer = match fault {
        None => carried_out(),
        Some(Fault::Refuse(status, code)) => routes::error(*status, code),
        Some(Fault::Busy(wait)) => busy(wait.as_deref()),
        Some(Fault::Reset(most)) => broken_off(carried_out(), *most).await,
        Some(Fault::Lost) => routes::lost(asked),
        Some(Fault::Unanswered) => return (carried_out(), true),
        Some(Fault::Other) => other(carried_out()).await,
        Some(Fault::Unmeasured) => unmeasured(carried_out()),
        Some(Fault::Expired) if matches!(shared.look.login, Login::Token { .. }) => {
            shared.expired(&asked.method, asked.repository())
        }
        Some(Fault::Expired) => routes::error(401, "UNAUTHORIZED"),
        Some(Fault::Late(time)) => {
            tokio::time::sleep(*time).await;
            carried_out()
        }
    };
    (answer, false)
}

fn busy(wait: Option<&str>) -> Response {
    let mut answer = routes::error(429, "TOOMANYREQUESTS");
    if let Some(wait) = wait {
        let wait = HeaderValue::from_str(wait).unwrap();
        answer.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    answer
}

/// The answer with its length, of which only the first bytes come.
async fn broken_off(answer: Response, most: usize) -> Response {
    let (parts, bytes) = taken(answer).await;
    let first = bytes.slice(..most.min(bytes.len()));
    let pieces = [
        Ok(first),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ];
    let mut answer = Response::from_parts(parts, Body::from_stream(stream::iter(pieces)));
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, bytes.len().into());
    answer
}

/// The answer in pieces, without its length.
fn unmeasured(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from_stream(body.into_data_stream()))
}

/// The answer with one bit turned over; its headers say what they said.
async fn other(answer: Response) -> Response {
    let (parts, bytes) = taken(answer).await;
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    (parts, bytes).into_response()
}

async fn taken(answer: Response) -> (axum::http::response::Parts, Bytes) {
    let (parts, body) = answer.into_parts();
    (parts, axum::body::to_bytes(body, usize::MAX).await.unwrap())
}
