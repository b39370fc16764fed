//! Waiting for what others change.

use tokio::sync::watch;

/// Waits until a condition holds; it is looked at now, and after each change that the sender tells of.
pub async fn until<T>(changes: &watch::Sender<T>, holds: impl Fn() -> bool) {
    let mut told = changes.subscribe();
    loop {
        told.borrow_and_update();
        if holds() {
            return;
        }
        // The sender is still there, so waiting ends only with a change.
        let _ = told.changed().await;
    }
}
