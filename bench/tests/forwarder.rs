//! Whether the forwarder does what it says: delay, loss and rate as packets see them, and counts as the kernel has them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    fs::File,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use greenwich_bench::{
    server::Site,
    wan::{
        forwarder::Forwarder,
        namespaces::{Namespaces, WanError},
        plan::{LinkPlan, Network},
        tcp::CUBIC,
    },
};
use greenwich_proto::netem::LinkProfile;
use rustix::{
    fd::AsFd,
    net::sockopt::tcp_congestion,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tun_rs::SyncDevice;

const PORT: u16 = 9000;
const PAYLOAD_BYTES: usize = 1000;
/// With the headers of UDP and IPv4.
const PACKET_BYTES: usize = PAYLOAD_BYTES + 28;
/// No packet takes longer, unless it is lost.
const SILENCE: Duration = Duration::from_millis(500);

/// Namespaces and the forwarder's ends; `None` where this machine does not let us have them, which is said.
fn set_apart(regions: &[&str]) -> Option<(Namespaces, Vec<SyncDevice>)> {
    set_apart_with(regions, CUBIC)
}

fn set_apart_with(regions: &[&str], tcp: &str) -> Option<(Namespaces, Vec<SyncDevice>)> {
    let error = match Namespaces::make(regions, tcp) {
        Ok(made) => return Some(made),
        Err(error) => error,
    };
    assert!(error.is_forbidden(), "{error}");
    eprintln!("not checked here: {error}");
    None
}

/// What `make` makes within a region. Sockets stay there when their thread is gone.
fn within<T: Send>(site: &Site, make: impl FnOnce() -> T + Send) -> T {
    let name = site.namespace.as_ref().unwrap();
    let inside = || {
        let namespace = File::open(format!("/run/netns/{name}")).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        make()
    };
    thread::scope(|scope| scope.spawn(inside).join().unwrap())
}

/// A socket within a region.
fn socket(site: &Site) -> UdpSocket {
    let socket = within(site, || UdpSocket::bind((site.link, PORT)).unwrap());
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

/// Packets that a region's device has sent and received, as its kernel counts them.
fn kernel_counts(site: &Site) -> (u64, u64) {
    let output = Command::new("ip")
        .args([
            "-n",
            site.namespace.as_ref().unwrap(),
            "-j",
            "-s",
            "link",
            "show",
        ])
        .output()
        .unwrap();
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_tun = |link: &&serde_json::Value| link["ifname"].as_str().unwrap().starts_with("gwt");
    let link = links.as_array().unwrap().iter().find(is_tun).unwrap();
    let packets = |way: &str| link["stats64"][way]["packets"].as_u64().unwrap();
    (packets("tx"), packets("rx"))
}

/// What became of packets: when each was sent, and which arrived when.
struct Crossing {
    sent: Vec<Duration>,
    arrived: Vec<(usize, Duration)>,
}

/// Sends `count` packets with `pause` between them.
fn cross(
    from: &UdpSocket,
    to: &UdpSocket,
    address: SocketAddr,
    count: u32,
    pause: Duration,
) -> Crossing {
    let start = Instant::now();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut arrived = Vec::new();
            let mut payload = [0; PAYLOAD_BYTES];
            while to.recv(&mut payload).is_ok() {
                let number = u32::from_le_bytes(*payload.first_chunk().unwrap());
                arrived.push((number as usize, start.elapsed()));
            }
            arrived
        });
        let mut sent = Vec::new();
        for number in 0..count {
            let due = start + pause * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut payload = [0; PAYLOAD_BYTES];
            payload[..4].copy_from_slice(&number.to_le_bytes());
            sent.push(start.elapsed());
            from.send_to(&payload, address).unwrap();
        }
        Crossing {
            sent,
            arrived: receiving.join().unwrap(),
        }
    })
}

/// When each packet should arrive: a link of 10 Mbit/s takes one after the other, and each then travels for `delay`.
fn planned_arrivals(sent: &[Duration], delay: Duration) -> Vec<Duration> {
    let spent = Duration::from_secs_f64(PACKET_BYTES as f64 * 8.0 / 10e6);
    let mut idle_at = Duration::ZERO;
    let arrival = |&at: &Duration| {
        idle_at = idle_at.max(at) + spent;
        idle_at + delay
    };
    sent.iter().map(arrival).collect()
}

fn all_links(link: LinkPlan) -> Network {
    Network {
        link,
        pairs: Vec::new(),
    }
}

/// The median of what packets took beyond the link's rate, in seconds.
fn median_delay(crossing: &Crossing) -> f64 {
    let planned = planned_arrivals(&crossing.sent, Duration::ZERO);
    let delay =
        |&(number, at): &(usize, Duration)| at.as_secs_f64() - planned[number].as_secs_f64();
    let mut delays: Vec<f64> = crossing.arrived.iter().map(delay).collect();
    delays.sort_by(f64::total_cmp);
    delays[delays.len() / 2]
}

/// Bits that arrived in a second. Those that were lost on the way have used the rate.
fn rate_of(burst: &Crossing) -> f64 {
    let ends = burst.arrived.first().zip(burst.arrived.last());
    let (first, last) = ends.expect("some arrive");
    let bits = (last.0 - first.0) as f64 * PACKET_BYTES as f64 * 8.0;
    bits / (last.1 - first.1).as_secs_f64()
}

/// Packets of one run and of one burst, and runs of each at most.
const PACED: u32 = 1500;
const BURST: u32 = 600;
const RUNS: u64 = 5;
/// Long, so that a scheduler's milliseconds are no 2 % of it.
const DELAY: Duration = Duration::from_millis(100);

fn is_the_delay(seconds: f64) -> bool {
    (seconds / DELAY.as_secs_f64() - 1.0).abs() < 0.02
}

#[test]
fn packets_are_delayed_lost_and_limited_as_planned() {
    let Some((namespaces, devices)) = set_apart(&["a", "b"]) else {
        return;
    };
    let network = all_links(LinkPlan {
        rtt: Some(2 * DELAY),
        loss_percent: Some(5.0),
        rate_mbit: Some(10.0),
        ..LinkPlan::default()
    });
    let profile = network.profile("a", "b");
    let forwarder = Forwarder::start(devices, 7, |_, _| profile).unwrap();
    let [a, b] = [socket(&namespaces.sites[0]), socket(&namespaces.sites[1])];
    let address = SocketAddr::new(IpAddr::V4("10.201.0.2".parse().unwrap()), PORT);

    let mut crossed = 0;
    let mut medians = Vec::new();
    let (mut arrived, mut lost) = (0, 0.0);
    // A busy machine is late, but it makes no wrong forwarder right: one run of these must be true.
    while crossed < RUNS
        && !medians
            .last()
            .is_some_and(|median: &f64| is_the_delay(*median))
    {
        let paced = cross(&a, &b, address, PACED, Duration::from_micros(1200));
        crossed += 1;
        arrived += paced.arrived.len() as u64;
        lost = 1.0 - paced.arrived.len() as f64 / f64::from(PACED);
        medians.push(median_delay(&paced));
    }
    let median = medians.last().unwrap();
    assert!(
        is_the_delay(*median),
        "medians of {medians:?} s for {DELAY:?}"
    );
    // Four standard deviations of 1500 chances of 5 %.
    assert!((lost - 0.05).abs() < 0.0226, "{lost} lost");

    let mut bursts = 0;
    let mut errors = Vec::new();
    while bursts < RUNS && !errors.last().is_some_and(|error: &f64| error.abs() < 0.03) {
        let burst = cross(&a, &b, address, BURST, Duration::ZERO);
        bursts += 1;
        arrived += burst.arrived.len() as u64;
        errors.push(rate_of(&burst) / 10e6 - 1.0);
    }
    let error = errors.last().unwrap();
    assert!(error.abs() < 0.03, "rates are off by {errors:?}");

    let report = forwarder.take_report();
    let (sent, _) = kernel_counts(&namespaces.sites[0]);
    let (_, received) = kernel_counts(&namespaces.sites[1]);
    let counts = report.links[0].counts;
    assert_eq!(counts.taken_bytes, counts.taken * PACKET_BYTES as u64);
    let crossings = crossed * u64::from(PACED) + bursts * u64::from(BURST);
    assert_eq!(counts.taken, crossings, "{counts:?}");
    assert!(sent >= counts.taken, "the kernel sent {sent}");
    assert_eq!((counts.given, received), (arrived, arrived), "{counts:?}");
    assert_eq!(counts.given + counts.lost, counts.taken, "{counts:?}");
    assert!(
        report.cpu_share > 0.0 && report.cpu_share < 1.0,
        "{report:?}"
    );
}

#[test]
fn what_killed_runs_have_left_is_removed() {
    if set_apart(&["a"]).is_none() {
        return;
    }
    let left = "gwb31-2";
    let run = |words: &[&str]| Command::new("ip").args(words).status().unwrap().success();
    File::create("/run/greenwich-bench-31.lock").unwrap();
    assert!(run(&["netns", "add", left]));
    drop(set_apart(&["a"]));
    assert!(!std::path::Path::new("/run/netns").join(left).exists());
}

#[test]
fn a_cut_drops_everything_until_it_heals() {
    let Some((namespaces, devices)) = set_apart(&["a", "b", "c"]) else {
        return;
    };
    let network = all_links(LinkPlan {
        rtt: Some(Duration::from_millis(4)),
        ..LinkPlan::default()
    });
    let profile = network.profile("a", "b");
    let forwarder = Forwarder::start(devices, 1, |_, _| profile).unwrap();
    let sockets: Vec<_> = namespaces.sites.iter().map(socket).collect();
    let address = |index: usize| SocketAddr::new(namespaces.sites[index].link, PORT);
    let crosses = |from: usize, to: usize| {
        cross(
            &sockets[from],
            &sockets[to],
            address(to),
            10,
            Duration::from_millis(1),
        )
        .arrived
        .len()
    };
    forwarder.set_cut(0, 1, true);
    assert_eq!(
        [crosses(0, 1), crosses(1, 0), crosses(0, 2)],
        [0, 10, 10],
        "cut one way"
    );
    forwarder.set_cut(0, 1, false);
    assert_eq!(crosses(0, 1), 10, "healed");
    assert_eq!(forwarder.take_report().total().cut, 10);
    let names: Vec<_> = namespaces
        .sites
        .iter()
        .filter_map(|site| site.namespace.clone())
        .collect();
    drop(namespaces);
    assert!(
        names
            .iter()
            .all(|name| !std::path::Path::new("/run/netns").join(name).exists()),
        "all are removed"
    );
}

#[test]
fn what_packets_wait_for_a_link_s_rate_is_told() {
    let Some((namespaces, devices)) = set_apart(&["a", "b"]) else {
        return;
    };
    let network = all_links(LinkPlan {
        rate_mbit: Some(1.0),
        ..LinkPlan::default()
    });
    let profile = network.profile("a", "b");
    let forwarder = Forwarder::start(devices, 7, |_, _| profile).unwrap();
    let [a, b] = [socket(&namespaces.sites[0]), socket(&namespaces.sites[1])];
    let address = SocketAddr::new(namespaces.sites[1].link, PORT);
    let burst = cross(&a, &b, address, 101, Duration::ZERO);
    let link = &forwarder.take_report().links[0];
    assert_eq!((link.counts.given, burst.arrived.len()), (101, 101));
    // Each waits for those before it, less the time that it was sent later, or found later by a forwarder that was busy.
    let spent_ms = PACKET_BYTES as f64 * 8.0 / 1e6 * 1e3;
    for (found, before) in [(link.wait_ms_p50, 50.0), (link.wait_ms_p99, 99.0)] {
        let most = spent_ms * (before + 1.0);
        assert!(found > most / 2.0 && found < most * 1.01, "{link:?}");
    }
}

#[test]
fn tcp_over_links_is_controlled_as_asked() {
    for asked in ["reno", CUBIC] {
        let Some((namespaces, devices)) = set_apart_with(&["a", "b"], asked) else {
            return;
        };
        let _forwarder = Forwarder::start(devices, 1, |_, _| LinkProfile::NONE).unwrap();
        let [a, b] = &namespaces.sites[..] else {
            unreachable!("two regions were asked for")
        };
        let listener = within(b, || TcpListener::bind((b.link, PORT)).unwrap());
        let dialled = within(a, || TcpStream::connect((b.link, PORT)).unwrap());
        let (accepted, _) = listener.accept().unwrap();
        for stream in [dialled, accepted] {
            assert_eq!(tcp_congestion(&stream).unwrap(), asked);
        }
    }
}

#[test]
fn a_congestion_control_that_there_is_not_is_named() {
    if set_apart(&["a"]).is_none() {
        return;
    }
    let error = Namespaces::make(&["a"], "swift").map(drop).unwrap_err();
    assert!(matches!(error, WanError::NoCongestionControl { .. }));
    let said = error.to_string();
    assert!(
        said.contains("\"swift\"") && said.contains("reno"),
        "{said}"
    );
}
