//! A server has the same colour in all figures of all pages.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::figure::{Body, Figure};

/// Servers with a colour of their own. The page's style gives the colours, after Okabe and Ito.
const KNOWN: [&str; 7] = [
    "greenwich",
    "redis",
    "redis-alone",
    "valkey",
    "keydb",
    "dragonfly",
    "greenwich-baseline",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::{Axis, Kind, Plot, Series};

    #[test]
    fn a_server_keeps_its_colour_whatever_is_beside_it() {
        let colours = |servers: &[&str]| {
            let series = servers
                .iter()
                .map(|server| Series::new(server, *server, []));
            let axis = Axis::linear("", "");
            let plot = Plot::new(Kind::Lines, axis.clone(), axis, series.collect());
            Colours::of([Figure::plot("", "", plot)].iter())
        };
        let two = colours(&["keydb", "greenwich"]);
        let more = colours(&["another", "keydb", "redis", "greenwich", "yet another"]);
        for server in ["keydb", "greenwich"] {
            assert_eq!(two.number(server), more.number(server));
        }
        let all = ["another", "keydb", "redis", "greenwich", "yet another"];
        assert!(all.iter().all(|server| more.number(server) < COLOURS));
        assert_ne!(more.number("another"), more.number("redis"));
    }
}
