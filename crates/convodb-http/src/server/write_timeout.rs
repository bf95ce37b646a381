//! A connection that is given up when its client stops taking what is sent, and that ends so that a
//! client can read why.
//!
//! Reading has its deadline in the HTTP parser; writing has none there, and a client that never
//! reads would hold its connection, and the body in it, for ever. A connection that is closed while
//! its client still sends is reset by the system, and the answer is lost with it; so what still
//! comes is read for a while, and thrown away.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The most bytes that are read to be thrown away.
const MAX_DRAINED_BYTES: usize = 16 << 20;

/// A stream whose writes fail once none of them has gone on for `limit`.
pub(crate) struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write waits, and while what still comes is thrown away.
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
    /// How much was thrown away; none before the stream was closed from this side.
    drained: Option<usize>,
}

impl<S> WriteTimeout<S> {
    /// Must be called within a runtime.
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, deadline: Box::pin(sleep(limit)), waiting: false, drained: None }
    }

    /// Passes on what a write came to; fails with `TimedOut` where it waits for too long.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = false;
            return outcome;
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> WriteTimeout<S> {
    /// Throws away what the client still sends: done at its end, or where it is too much or takes
    /// too long, and at once where nothing is on its way.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 8 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            let drained = self.drained.unwrap_or_default();
            match (read, buffer.filled().len()) {
                (Poll::Pending, _) if drained == 0 => return Poll::Ready(()),
                (Poll::Pending, _) => return self.deadline.as_mut().poll(context),
                (Poll::Ready(Ok(())), 1..) if drained < MAX_DRAINED_BYTES => {
                    self.drained = Some(drained + buffer.filled().len());
                }
                (Poll::Ready(_), _) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drained.is_none() {
            let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.judge(context, outcome))?;
            self.drained = Some(0);
            let until = Instant::now() + self.limit;
            self.deadline.as_mut().reset(until);
        }
        self.poll_drain(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_reads_is_given_up() {
        let (near, _far) = duplex(8);
        let began = Instant::now();
        let error = WriteTimeout::new(near, LIMIT).write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_waited_for() {
        let (near, mut far) = duplex(8);
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            while far.read_buf(&mut read).await? > 0 {
                tokio::time::advance(LIMIT / 2).await;
            }
            io::Result::Ok(read)
        });
        let mut near = WriteTimeout::new(near, LIMIT);
        near.write_all(&[7; 80]).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), [7; 80]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_still_sends_is_heard_out() {
        let (near, mut far) = duplex(8);
        let sender = tokio::spawn(async move {
            far.write_all(&[1; 100]).await?;
            drop(far);
            io::Result::Ok(())
        });
        tokio::task::yield_now().await;
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        sender.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn but_not_for_ever() {
        let (near, mut far) = duplex(8);
        far.write_all(&[1; 8]).await.unwrap();
        let began = Instant::now();
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LIMIT);

        let (near, mut far) = duplex(1 << 20);
        let sender = tokio::spawn(async move {
            let mut sent = 0;
            while far.write_all(&[1; 1 << 20]).await.is_ok() {
                sent += 1 << 20;
            }
            sent
        });
        tokio::task::yield_now().await;
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        assert!((MAX_DRAINED_BYTES..2 * MAX_DRAINED_BYTES).contains(&sender.await.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_not_waited_for() {
        let (near, _far) = duplex(8);
        let began = Instant::now();
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
