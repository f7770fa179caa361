//! What peers still lack when this node stops: it is waited for a little, and then told.

use std::{fmt, sync::Arc, time::Duration};

use greenwich_proto::{
    log::Log,
    peer::{Report, State},
};
use tokio::time::{sleep, timeout};

use crate::view::PeerCell;

/// How long linked peers have to acknowledge what waits for them in the log when this node stops, and how often that
/// is looked at.
const LIMIT: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// What a peer lacks of what was written here. Shown as `eu-west lacked 312 updates (link down)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The peer's region.
    pub region: String,
    /// Updates that it has not acknowledged.
    pub updates: u64,
    /// Whether it was also owed what was written before them, by any region: a sweep was under way.
    pub is_swept: bool,
    /// How the session with it stood.
    pub state: State,
}

impl Undelivered {
    fn of(region: &str, report: Report) -> Option<Self> {
        let lacks = report.lag_updates > 0 || report.is_sweeping;
        lacks.then(|| Self {
            region: region.to_owned(),
            updates: report.lag_updates,
            is_swept: report.is_sweeping,
            state: report.state,
        })
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = match self.state {
            State::Up => "link up",
            State::Handshaking => "link not agreed upon",
            State::Refused(_) => "link refused",
            State::Down => "link down",
        };
        let sweep = match self.is_swept {
            true => " and the rest of a sweep",
            false => "",
        };
        let updates = match self.updates {
            1 => "1 update".to_owned(),
            updates => format!("{updates} updates"),
        };
        write!(f, "{} lacked {updates}{sweep} ({link})", self.region)
    }
}

/// Waits until every linked peer has acknowledged all that it is owed, and tells what is left of it. A peer without a link is
/// not waited for: it may be away for long.
pub(crate) async fn deliver(cells: &[Arc<PeerCell>], log: &Log) -> Vec<Undelivered> {
    let is_delivered = |cell: &Arc<PeerCell>| {
        let report = cell.report(log);
        report.state != State::Up || (report.lag_updates == 0 && !report.is_sweeping)
    };
    let delivering = async {
        while !cells.iter().all(is_delivered) {
            sleep(LOOK).await;
        }
    };
    // What is left then says all.
    let _in_time = timeout(LIMIT, delivering).await;
    let left = |cell: &Arc<PeerCell>| Undelivered::of(&cell.expected.region, cell.report(log));
    cells.iter().filter_map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_a_sentence() {
        let mut left = Undelivered {
            region: "eu-west".to_owned(),
            updates: 312,
            is_swept: false,
            state: State::Down,
        };
        assert_eq!(left.to_string(), "eu-west lacked 312 updates (link down)");
        (left.updates, left.is_swept, left.state) = (1, true, State::Up);
        let text = "eu-west lacked 1 update and the rest of a sweep (link up)";
        assert_eq!(left.to_string(), text);
    }
}
