//! By way of which regions the updates of one arrive whose link is not up, or silent.

use greenwich_proto::{hlc::Origin, peer::State, time::Wall};
use greenwich_replicator::PeerReport;

use crate::status::{Relayed, Via};

/// What was written longer ago, and has not arrived, is not on its way: comparisons take about a second.
const BEHIND_MS_MAX: u64 = 10_000;

/// The way that the updates of `peer` take, if they come over the links of others.
pub(super) fn via(links: &[PeerReport], peer: &PeerReport, now: Wall) -> Option<Via> {
    if is_heard(peer) {
        return None;
    }
    let mut via = Via {
        behind_ms: u64::MAX,
        ..Via::default()
    };
    for link in links.iter().filter(|link| is_heard(link)) {
        let Some((behind_ms, relayed)) = relayed_of(link, peer.expected.origin, now) else {
            continue;
        };
        via.regions.push(link.expected.region.clone());
        via.behind_ms = via.behind_ms.min(behind_ms);
        via.relayed.updates += relayed.updates;
        via.relayed.bytes += relayed.bytes;
    }
    (!via.regions.is_empty()).then_some(via)
}

fn is_heard(link: &PeerReport) -> bool {
    link.session.state == State::Up && !link.session.is_silent
}

/// How far behind the updates of `origin` come over a link, and how many have.
fn relayed_of(link: &PeerReport, origin: Origin, now: Wall) -> Option<(u64, Relayed)> {
    let mut all = link.session.relayed.iter();
    let (_, relayed) = all.find(|(of, _)| *of == origin)?;
    let behind_ms = now.0.saturating_sub(relayed.up_to.wall().0);
    (behind_ms <= BEHIND_MS_MAX).then(|| {
        let counts = Relayed {
            updates: relayed.updates,
            bytes: relayed.bytes,
        };
        (behind_ms, counts)
    })
}

/// What came over a link that others than its peer wrote.
pub(super) fn relayed(link: &PeerReport) -> Relayed {
    let all = || link.session.relayed.iter().map(|(_, relayed)| relayed);
    Relayed {
        updates: all().map(|relayed| relayed.updates).sum(),
        bytes: all().map(|relayed| relayed.bytes).sum(),
    }
}
