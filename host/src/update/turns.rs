//! [`Turns`]: work on files beside the I/O thread, one piece after the other.

use std::sync::Arc;

use tokio::sync::Mutex;

/// See the module. A piece that was begun ends, also when nobody waits for it any more; only then the next one begins. So
/// whoever is dropped writes nothing into the files of who comes after.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<()>>);

impl Turns {
    /// Does this when its turn has come.
    pub async fn work<T: Send + 'static>(&self, piece: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = Arc::clone(&self.0).lock_owned().await;
        let piece = move || {
            let _turn = turn;
            piece()
        };
        match tokio::task::spawn_blocking(piece).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::mpsc;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends_before_the_next_begins() {
        let turns = Turns::default();
        let (to_first, from_second) = mpsc::channel::<()>();
        let mut first = Box::pin(turns.work(move || from_second.recv_timeout(Duration::from_millis(50))));
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(first);
        // If it began meanwhile, there would be somebody who hears it.
        assert!(turns.work(move || to_first.send(())).await.is_err());
    }
}
