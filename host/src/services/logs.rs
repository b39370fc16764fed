//! `polylink.logs/1`: sends the last lines of the log where a cloud wants them.
//!
//! What is sent is built whole before the first attempt, so that each attempt sends the same; it is no larger than what is kept
//! (`[log] keep_bytes`). The text of a failure has neither path and query nor password, nor anything that
//! the server said.

mod form;
mod ftp;
mod web;
mod wish;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polylink_plugin_api::services::Logs;
use polylink_plugin_api::services::logs::{LogUpload, SENT};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tracing::info;

use self::wish::{Place, Wish};
use super::dial::{Dialer, Target};
use super::registry::{Instance, Port, Refusal, with_token};

/// The table.
pub(super) static TABLE: Logs = Logs { send };

extern "C" fn send(id: InstanceId, upload: LogUpload) -> u64 {
    with_token(id, |instance, token| {
        let begun = Wish::read(upload).and_then(|wish| {
            if wish.is_plain_text() {
                instance.allow_plain_text(&wish.host)?;
            }
            instance.admit(token, Port::LogUpload, run(Arc::clone(instance), token, wish))
        });
        if let Err(refusal) = begun {
            instance.fail(Logs::ID, token, refusal);
        }
    })
}

async fn run(instance: Arc<Instance>, token: u64, wish: Wish) {
    let lines = instance.log.text(instance.clock.now(), wish.from_ms, wish.to_ms);
    let n_bytes = lines.len();
    let result = if n_bytes == 0 {
        Ok(())
    } else {
        let (dialer, wish, lines) = (&instance.dialer, &wish, &Bytes::from(lines));
        attempts(move || deliver(dialer, wish, lines)).await
    };
    if !instance.release(token) {
        return;
    }
    match result {
        Ok(()) => {
            info!(cloud = %instance.name, host = wish.host, bytes = n_bytes, "the log was sent as a cloud asked for it");
            instance.complete(Logs::ID, SENT, token, i64::try_from(n_bytes).unwrap_or(i64::MAX), "");
        }
        Err(refusal) => instance.fail(Logs::ID, token, refusal),
    }
}

/// One attempt, whole or not at all.
async fn deliver(dialer: &Arc<Dialer>, wish: &Wish, lines: &Bytes) -> Result<(), Trouble> {
    let attempt = async {
        match &wish.place {
            Place::Web(request) => web::deliver(dialer, request, lines).await,
            Place::Ftp { port, job } => {
                let server = Target { host: wish.host.clone(), port: *port, tls: None };
                ftp::store(dialer, &server, job, lines).await
            }
        }
    };
    tokio::time::timeout(ATTEMPT_TIME, attempt).await.unwrap_or_else(|_| {
        let text = format!("the log was not through after {} s", ATTEMPT_TIME.as_secs());
        Err(Trouble::Failed(Refusal::new(HostRefusal::TIMEOUT, text)))
    })
}

/// Tries until it works, until a server refuses it for good, or three times.
async fn attempts<F: Future<Output = Result<(), Trouble>>>(attempt: impl Fn() -> F) -> Result<(), Refusal> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let trouble = match attempt().await {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        let pause = match (&trouble, pauses.next()) {
            (Trouble::Refused(_), _) | (_, None) => return Err(trouble.into()),
            (_, Some(pause)) => pause,
        };
        tokio::time::sleep(pause).await;
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// The server does not want it, and will not a moment later.
    Refused(String),
    /// The server does not want it now.
    Busy(String),
    /// It never got to the server, or whoever is there is not understood.
    Failed(Refusal),
}

impl Trouble {
    fn protocol(text: impl Into<String>) -> Self {
        Self::Failed(Refusal::new(HostRefusal::PROTOCOL, text))
    }
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(text) | Trouble::Busy(text) => Self::invalid(text),
            Trouble::Failed(refusal) => refusal,
        }
    }
}

/// Between three attempts (`polylink.logs/1`). How long is not documented; chosen by us: a server that restarts is back, and a
/// cloud still waits.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// How long an attempt may take. Not documented; chosen by us: the largest log goes through at 9 kB/s, and three attempts are
/// over before Deli's plugin has answered for us (ten minutes).
const ATTEMPT_TIME: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Attempts that end so, one after the other: what comes of them, how many were made, and how long it took.
    #[track_caller]
    fn check(ends: &[Result<(), Trouble>], expected: Result<(), &str>, n_made: usize, seconds: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let begun = tokio::time::Instant::now();
            let left = RefCell::new(ends.to_vec());
            let result = attempts(|| std::future::ready(left.borrow_mut().remove(0))).await;
            assert_eq!(result.map_err(|refusal| refusal.text), expected.map_err(str::to_owned));
            assert_eq!((ends.len() - left.borrow().len(), begun.elapsed().as_secs()), (n_made, seconds));
        });
    }

    fn busy(text: &str) -> Result<(), Trouble> {
        Err(Trouble::Busy(text.to_owned()))
    }

    #[test]
    fn three_attempts_are_made_with_pauses_and_the_last_one_is_told() {
        check(&[busy("a"), Err(Trouble::protocol("b")), busy("c"), Ok(())], Err("c"), 3, 5);
        check(&[busy("a"), Ok(())], Ok(()), 2, 1);
        check(&[Ok(())], Ok(()), 1, 0);
    }

    #[test]
    fn a_refusal_for_good_is_not_tried_again() {
        check(&[busy("a"), Err(Trouble::Refused("no".to_owned())), Ok(())], Err("no"), 2, 1);
    }

    #[test]
    fn what_a_server_refuses_is_told_as_not_acceptable_and_the_rest_as_it_is() {
        for (trouble, code) in [
            (Trouble::Refused(String::new()), HostRefusal::INVALID),
            (Trouble::Busy(String::new()), HostRefusal::INVALID),
            (Trouble::protocol(""), HostRefusal::PROTOCOL),
            (Trouble::Failed(Refusal::new(HostRefusal::RESOLVE, "")), HostRefusal::RESOLVE),
        ] {
            assert_eq!(Refusal::from(trouble).code, code);
        }
    }
}
