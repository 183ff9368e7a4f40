//! Bodies on their way through: frame by frame, never gathered, with a limit on size and on standing still.
//! Trailers are left behind, since they were meant for one connection (RFC 9110 section 6.5.1).

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Bytes, HttpBody},
    http::StatusCode,
};
use hyper::body::{Frame, SizeHint};
use kit::Problem;
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep},
};

const TOO_LARGE: u8 = 1;
const STALLED: u8 = 2;
const BROKEN: u8 = 3;

/// How a caller's body gets on, told by the body to whoever waits for the answer.
#[derive(Debug, Default)]
pub(super) struct Upload {
    fault: AtomicU8,
    /// The caller is waited for, not the service.
    awaited: AtomicBool,
    through: Notify,
}

impl Upload {
    /// Whether the caller's body is what went wrong.
    pub(super) fn failed(&self) -> bool {
        self.fault.load(Ordering::Acquire) != 0
    }

    /// Waits until all of it was passed on, or nobody wants more of it. For one who waits.
    pub(super) async fn through(&self) {
        self.through.notified().await;
    }

    /// Whether it is the caller who keeps the service waiting; then that is its fault.
    pub(super) fn stands_still(&self) -> bool {
        let awaited = self.awaited.load(Ordering::Acquire);
        if awaited {
            self.note(STALLED);
        }
        awaited
    }

    fn note(&self, fault: u8) {
        self.fault.store(fault, Ordering::Release);
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        match self.fault.load(Ordering::Acquire) {
            0 => None,
            TOO_LARGE => Some(too_large()),
            STALLED => Some(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "BODY_TIMEOUT",
                "the body stood still for too long",
            )),
            _ => Some(Problem::new(
                StatusCode::BAD_REQUEST,
                "BODY_INCOMPLETE",
                "the body ended before its end",
            )),
        }
    }
}

/// 413.
pub(super) fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "BODY_TOO_LARGE",
        "the body is too large",
    )
}

/// A body that passes through.
pub(super) struct Passing<B> {
    inner: B,
    left: u64,
    idle: Duration,
    /// Made when the body first stands still: most never do.
    timer: Option<Pin<Box<Sleep>>>,
    standing: bool,
    until: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    upload: Option<Arc<Upload>>,
}

impl<B> Passing<B> {
    pub(super) fn new(inner: B, idle: Duration) -> Self {
        Self {
            inner,
            left: u64::MAX,
            idle,
            timer: None,
            standing: false,
            until: None,
            upload: None,
        }
    }

    /// At most so many bytes; how it gets on is noted in `upload`.
    pub(super) fn limited(mut self, bytes: u64, upload: Arc<Upload>) -> Self {
        self.left = bytes;
        self.upload = Some(upload);
        self
    }

    /// Ends in good order when `end` comes.
    pub(super) fn until(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Some(Box::pin(end));
        self
    }

    fn fail<T>(&self, fault: u8, words: &'static str) -> Poll<Option<Result<T, BoxError>>> {
        if let Some(upload) = &self.upload {
            upload.note(fault);
        }
        Poll::Ready(Some(Err(words.into())))
    }

    fn awaits(&self, caller: bool) {
        if let Some(upload) = &self.upload {
            upload.awaited.store(caller, Ordering::Release);
        }
    }

    /// Whether it has stood still for too long.
    fn stands_too_long(&mut self, context: &mut Context<'_>) -> bool {
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(idle)));
        if !self.standing {
            self.standing = true;
            timer.as_mut().reset(Instant::now() + idle);
        }
        timer.as_mut().poll(context).is_ready()
    }
}

/// A body is dropped once it has ended, often without being asked for an end that its length tells.
impl<B> Drop for Passing<B> {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.awaited.store(false, Ordering::Release);
            upload.through.notify_one();
        }
    }
}

impl<B> HttpBody for Passing<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(end) = &mut this.until
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.standing = false;
                    this.awaits(false);
                    let Ok(data) = frame.into_data() else { continue };
                    let Some(left) = this.left.checked_sub(data.len() as u64) else {
                        return this.fail(TOO_LARGE, "the body is too large");
                    };
                    this.left = left;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => {
                    if let Some(upload) = &this.upload {
                        upload.note(BROKEN);
                    }
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if this.stands_too_long(context) => {
                    return this.fail(STALLED, "the body stood still for too long");
                }
                Poll::Pending => {
                    this.awaits(true);
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
