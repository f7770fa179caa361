//! A server has the same colour in all figures of all pages.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::figure::{Body, Figure};

/// Servers with a colour of their own. The page's style gives the colours, after Okabe and Ito.
const KNOWN: [&str; 6] = [
    "greenwich",
    "redis",
    "redis-alone",
    "valkey",
    "keydb",
    "dragonfly",
];
/// Colours of the style.
const COLOURS: usize = 8;

/// The number of each server's colour.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Colours(BTreeMap<String, usize>);

impl Colours {
    /// For all servers of these figures.
    pub(super) fn of<'a>(figures: impl Iterator<Item = &'a Figure>) -> Self {
        let plots = figures.filter_map(|figure| match &figure.body {
            Body::Plot(plot) => Some(plot),
            Body::Table(_) => None,
        });
        let series = plots.flat_map(|plot| &plot.series);
        let mut colours: BTreeMap<String, usize> =
            series.map(|series| (series.server.clone(), 0)).collect();
        let mut others = KNOWN.len();
        for (server, colour) in &mut colours {
            *colour = KNOWN
                .iter()
                .position(|known| known == server)
                .unwrap_or(others);
            if *colour == others {
                others += 1;
            }
            *colour %= COLOURS;
        }
        Self(colours)
    }

    /// The number of a server's colour.
    pub(super) fn number(&self, server: &str) -> usize {
        self.0.get(server).copied().unwrap_or(0)
    }
}
