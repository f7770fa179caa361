//! A link between two regions that breaks while both have one to a third: what is written at its ends goes around it, once.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{A, B, C, Cluster, REGIONS, ask_http, run};
use crate::common::until;

/// Increments at each end of the broken link.
const COUNTED: usize = 200;

impl Cluster {
    fn link(&self, from: usize, to: usize) -> Value {
        let status = self.status(from);
        let mut links = status["links"].as_array().unwrap().iter();
        let found = links.find(|link| link["region"] == REGIONS[to]);
        found.unwrap().clone()
    }

    /// What `greenwich status`, INFO and `/metrics` say together of one region's links.
    fn texts(&self, region: usize) -> [String; 3] {
        let status = run(&["status", "--admin", &self.admin(region)]);
        let info = self.client(region).bulk("INFO replication");
        let metrics = ask_http(&self.admin(region), "/metrics");
        [status, info.unwrap_or_default(), metrics]
    }

    /// A link that is up has no way around.
    fn assert_direct(&self, from: usize, to: usize) {
        until("the link", || {
            let link = self.link(from, to);
            link["state"] == "up" && link["via"].is_null()
        });
        until("INFO to follow", || {
            self.texts(from)
                .iter()
                .all(|text| !text.contains(" via ") && !text.contains("via="))
        });
        let [.., metrics] = self.texts(from);
        assert_eq!(metric(&metrics, "greenwich_link_via_regions", to), 0.0);
        assert!(metric(&metrics, "greenwich_link_via_behind_seconds", to).is_nan());
    }

    /// The updates of a region come by way of b, and every place says so.
    fn assert_around(&self, from: usize, to: usize) {
        until("INFO to follow", || {
            self.texts(from)[1].contains(",via=b,via_behind_ms=")
        });
        let [status, _, metrics] = self.texts(from);
        let (here, there) = (REGIONS[from], REGIONS[to]);
        let line = format!("What {there} writes arrives in {here} via b, ");
        assert!(
            status.contains(", via b") && status.contains(&line),
            "{status}"
        );
        assert_eq!(metric(&metrics, "greenwich_link_via_regions", to), 1.0);
        assert!(metric(&metrics, "greenwich_link_via_behind_seconds", to) < 10.0);
        let relayed = |name| metric(&metrics, name, B) as u64;
        let via = &self.link(from, to)["via"]["relayed"];
        let (updates, bytes) = (&via["updates"], &via["bytes"]);
        assert!(
            updates.as_u64() > Some(0) && bytes.as_u64() > updates.as_u64(),
            "{via}"
        );
        assert!(relayed("greenwich_link_relayed_updates_total") > 0);
        assert!(relayed("greenwich_link_relayed_bytes_total") > 0);
    }

    fn until_is(&self, region: usize, count: usize) {
        let mut client = self.client(region);
        until("the count", || {
            client.bulk("GET counter") == Some(count.to_string())
        });
    }

    /// How long it takes from a write in one region until it is read in another.
    fn way(&self, from: usize, to: usize, key: &str) -> Duration {
        let (mut writer, mut reader) = (self.client(from), self.client(to));
        let written = Instant::now();
        writer.ask(&format!("SET {key} there"));
        let read = format!("GET {key}");
        until("a write to arrive", || reader.bulk(&read).is_some());
        written.elapsed()
    }
}

/// A metric of the link to one region.
fn metric(scraped: &str, name: &str, peer: usize) -> f64 {
    let peer = format!("peer=\"{}\"", REGIONS[peer]);
    let is_it = |line: &&str| line.starts_with(name) && line.contains(&peer);
    let line = scraped.lines().find(is_it).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_is_written_at_the_ends_of_a_broken_link_goes_around_it_once() {
    let cluster = Cluster::new("delay = \"40ms\"");
    let _nodes = [A, B, C].map(|region| cluster.start(region));
    cluster.until_linked(&[A, B, C]);
    cluster.way(A, C, "before");
    for (from, to) in [(A, C), (C, A)] {
        cluster.assert_direct(from, to);
    }

    cluster.wire.cut(true);
    println!("first write after the cut: {:?}", cluster.way(A, C, "cut"));
    thread::scope(|scope| {
        for region in [A, C] {
            let mut client = cluster.client(region);
            scope.spawn(move || {
                for _ in 0..COUNTED {
                    assert!(client.ask("INCR counter").starts_with(':'));
                }
            });
        }
    });
    for region in [A, B, C] {
        cluster.until_is(region, 2 * COUNTED);
    }
    println!(
        "with the link known to be down: {:?}",
        [(A, C), (C, A)].map(|(from, to)| { cluster.way(from, to, &format!("cut:{from}")) })
    );
    for (from, to) in [(A, C), (C, A)] {
        until("the way around the link", || {
            cluster.link(from, to)["via"].is_object()
        });
        println!("{}", cluster.link(from, to)["via"]);
        cluster.assert_around(from, to);
    }

    cluster.wire.cut(false);
    for (from, to) in [(A, C), (C, A)] {
        cluster.assert_direct(from, to);
    }
    for region in [A, C] {
        assert!(cluster.client(region).ask("INCR counter").starts_with(':'));
    }
    for region in [A, B, C] {
        cluster.until_is(region, 2 * COUNTED + 2);
    }
}

#[test]
fn the_ends_of_a_broken_link_are_equal_by_way_of_the_third_region() {
    let cluster = Cluster::new("delay = \"10ms\"");
    let _nodes = [A, B, C].map(|region| cluster.start(region));
    cluster.until_linked(&[A, B, C]);
    cluster.wire.cut(true);
    for (from, to) in [(A, C), (C, A)] {
        until("the way around the link", || {
            cluster.link(from, to)["via"].is_object()
        });
    }
    let mut client = cluster.client(A);
    for key in 0..COUNTED {
        assert_eq!(client.ask(&format!("SET around:{key} value")), "+OK");
    }
    let admins = [A, B, C].map(|region| cluster.admin(region));
    let mut asked = vec!["verify", "--json", "--timeout", "60s", "--admin"];
    asked.extend(admins.iter().map(String::as_str));
    let all: Value = serde_json::from_str(&run(&asked)).unwrap();
    let said = |from: usize, to: usize| {
        let mut pairs = all["links"].as_array().unwrap().iter();
        let is_it = |pair: &&Value| pair["region"] == REGIONS[from] && pair["peer"] == REGIONS[to];
        pairs.find(is_it).unwrap()
    };
    for (from, to) in [(A, C), (C, A)] {
        let pair = said(from, to);
        assert_eq!((&pair["equal"], &pair["via"]), (&true.into(), &"b".into()));
        let at = |pair: &Value| pair["equal_as_of_ms"].as_u64().unwrap();
        let legs = [said(from, B), said(B, to)].map(at);
        assert!(at(pair) >= all["asked_at_ms"].as_u64().unwrap(), "{all}");
        assert!(legs.iter().all(|leg| at(pair) <= *leg), "{all}");
    }
    // What went around the broken link came to c by a repair, and was never different.
    let brought = said(C, B);
    assert_eq!(brought["keys"], Value::Array(Vec::new()), "{brought}");
    assert!(brought["relayed_keys"].as_u64() > Some(0), "{brought}");
}
