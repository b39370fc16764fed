//! [`Told`]: how far what is under way has come, of which its asker hears at most once a second.

use polylink_plugin_api::Timestamp;

use super::News;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Told {
    percent: Option<u8>,
    /// When the asker was told last.
    at: Option<Timestamp>,
    /// What came too soon after that. What stands still is told with what it has.
    untold: Option<News>,
}

impl Told {
    /// Percent of what is under way.
    pub fn percent(&self) -> u8 {
        self.percent.unwrap_or(0)
    }

    /// Something else begins.
    pub fn begin(&mut self) {
        (self.percent, self.untold) = (None, None);
    }

    /// It is over: that is the news, and not how far it was.
    pub fn end(&mut self) {
        self.untold = None;
    }

    /// So far it is.
    pub fn progress(&mut self, percent: Option<u8>, news: News) {
        if percent != self.percent {
            (self.percent, self.untold) = (percent, Some(news));
        }
    }

    /// What the asker is to hear now.
    pub fn take(&mut self, now: Timestamp) -> Option<News> {
        let news = self.untold.take_if(|_| self.at.is_none_or(|at| now.since(at) >= PROGRESS_MS))?;
        self.at = Some(now);
        Some(news)
    }

    /// When there is something to take.
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        self.untold.as_ref().map(|_| self.at.map_or(now, |at| at.after(PROGRESS_MS)))
    }
}

/// Least time between two news of progress alone (`polylink.ota/1`).
pub(super) const PROGRESS_MS: u64 = 1000;
