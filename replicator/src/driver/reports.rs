//! What a driver tells of its link: in the log, and to the rest of the node.

use std::time::{Duration, Instant};

use greenwich_proto::{
    peer::{
        Outbox, Output,
        handshake::{TurnedAway, Twin},
    },
    store::Store,
    time::Time,
    wire::control,
};

use super::{
    CLOSE_CODE_CLAIMED, CLOSE_CODE_REFUSED, CLOSE_CODE_REMOVED, CLOSE_CODE_SUPERSEDED, Driver,
    OWN_TWIN, close_code,
};
use crate::{
    error::{LinkError, Redial},
    superseded::Superseded,
};

impl<S: Store> Driver<S> {
    /// Refuses the one in the seat, and tells of it at the link that stays, on both of its sides.
    pub(super) fn turn_away(&mut self, TurnedAway { reason, twin }: &TurnedAway, out: &mut Outbox) {
        let Some(rival) = self.seat.leave() else {
            return;
        };
        rival.sender.close(close_code(*twin), reason);
        let told = twin.map(|twin| control::Twin {
            incarnation: twin.incarnation(),
            address: rival.remote.to_string(),
        });
        let told = told.and_then(|twin| self.cell.peer.lock().tell_twin(twin));
        out.extend(told.map(Output::Control));
        let now = Instant::now();
        if self.rivals.news.is_news(&self.region, reason, now) {
            tracing::error!(
                peer = self.region,
                address = %rival.remote,
                linked_to = self.dialler.last().map(tracing::field::display),
                reason,
                "{}",
                match twin {
                    Some(Twin::Earlier(_)) => "an earlier process of this region was refused: it still runs, stop it",
                    Some(Twin::Later(_)) | None => "a second link was refused",
                }
            );
        }
        self.rivals.shown_since = Some(now);
        let shown = format!("another node of this region was refused: {reason}");
        self.cell.view.lock().warning = Some(shown);
    }

    pub(super) fn report_up(&mut self, rtt: Duration) {
        if self.news.up() {
            tracing::info!(peer = self.region, ?rtt, "link up");
        }
        let mut view = self.cell.view.lock();
        (view.is_heard, view.is_refused, view.reason) = (true, false, None);
        view.is_removed = false;
    }

    pub(super) fn report_split(&mut self, records: u64) {
        if self.news.split(records) {
            tracing::warn!(
                peer = self.region,
                "keys that were changed together are sent apart: they are too large, or overlap too far, for one batch; \
                 greenwich_link_split_records_total counts such records"
            );
        }
    }

    pub(super) fn report_twin(&mut self, twin: Option<(Time, control::Twin)>) {
        let Some((said_at, twin)) = twin else {
            return;
        };
        let is_new = self.rivals.own_said_at.replace(said_at) != Some(said_at);
        let text = format!("started at {} ms", twin.incarnation);
        if is_new && self.rivals.news.is_news(OWN_TWIN, &text, Instant::now()) {
            tracing::error!(
                peer = self.region,
                address = twin.address,
                started_at_ms = twin.incarnation,
                "another process claims this node's region, and was refused by the peer: stop {}",
                match twin.incarnation < self.shared.identity.incarnation {
                    true => "it, this one has taken its place",
                    false => "one of the two",
                }
            );
        }
    }

    pub(super) fn report_refusal(&mut self, reason: &str) {
        if self.news.refused(reason, Instant::now()) {
            tracing::warn!(peer = self.region, reason, "link refused");
        }
        self.shared.lives.refuse(self.cell.index, true);
        let mut view = self.cell.view.lock();
        (view.is_refused, view.reason) = (true, Some(reason.to_owned()));
    }

    /// The peer takes nothing more of this process. What the first one said that does stays.
    fn be_superseded(&self, reason: &str) {
        self.shared.supersede.send_if_modified(|said| {
            let is_new = said.is_none();
            said.get_or_insert_with(|| Superseded {
                peer: self.region.clone(),
                reason: reason.to_owned(),
            });
            is_new
        });
    }

    /// Returns how soon to dial again.
    pub(super) fn report_end(&mut self, error: &LinkError) -> Redial {
        let reason = error.to_string();
        let code = error.close_code();
        let is_turned_away = [
            CLOSE_CODE_CLAIMED,
            CLOSE_CODE_REMOVED,
            CLOSE_CODE_SUPERSEDED,
        ]
        .map(Some)
        .contains(&code);
        let index = self.cell.index;
        self.shared.lives.turn_away(index, is_turned_away);
        self.cell.view.lock().is_removed = code == Some(CLOSE_CODE_REMOVED);
        if code == Some(CLOSE_CODE_SUPERSEDED) {
            self.be_superseded(&reason);
        }
        if is_turned_away || code == Some(CLOSE_CODE_REFUSED) || error.redial() == Redial::Rarely {
            self.report_refusal(&reason);
            return Redial::Rarely;
        }
        if error.is_unreachable() {
            self.shared.lives.refuse(index, false);
        }
        let mut view = self.cell.view.lock();
        // The peer closes what this side refused: the refusal stays the reason.
        if !view.is_refused {
            if self.news.lost(&reason, Instant::now()) {
                tracing::info!(peer = self.region, reason, "link down");
            }
            view.reason = Some(reason);
        }
        error.redial()
    }
}
