//! Endpoints and links over real UDP sockets on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
mod compression;
mod large;
mod violations;

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use common::{
    Cluster, Pair, batch, connect, endpoints, endpoints_of, impair, loopback, next, pair,
};
use greenwich_proto::netem::LinkProfile;
use greenwich_replicator::{
    certs::Overwrite,
    emulation::EmulationConfig,
    endpoint::{BindError, CLOSE_CODE_DRIVER_FIRST, Endpoint, EndpointConfig},
    error::{LinkError, Redial},
    link::{CONTROL_FRAME_BYTES_MAX, Event, LinkReceiver, LinkSender},
};
use tokio::time::Instant;

const BATCHES: u32 = 1_000;

/// As a session's window has it.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Sends numbered batches of many sizes as fast as the link takes them.
async fn send_batches(sender: &mut LinkSender, count: u32) {
    for number in 0..count {
        while sender.waiting_bytes() > WAITING_BYTES_MAX {
            sender.drive().await.unwrap();
        }
        sender.send_batch(batch(number)).unwrap();
    }
    while sender.waiting_bytes() > 0 {
        sender.drive().await.unwrap();
    }
}

async fn receive_batches(receiver: &mut LinkReceiver, count: u32) {
    let mut missing: HashSet<Bytes> = (0..count).map(batch).collect();
    while !missing.is_empty() {
        let event = next(receiver).await;
        let Event::Batch(bytes) = event else {
            panic!("{} batches missing: {event:?}", missing.len())
        };
        assert!(missing.remove(&bytes), "twice or damaged");
    }
}

async fn round_trip(
    a: &mut (LinkSender, LinkReceiver),
    b: &mut (LinkSender, LinkReceiver),
) -> Duration {
    let started = Instant::now();
    a.0.send_control(b"ping").unwrap();
    assert!(matches!(next(&mut b.1).await, Event::Control(frame) if frame == "ping"));
    b.0.send_control(b"pong").unwrap();
    assert!(matches!(next(&mut a.1).await, Event::Control(frame) if frame == "pong"));
    started.elapsed()
}

#[tokio::test]
async fn control_frames_keep_their_order_both_ways() {
    let Pair {
        dialler, acceptor, ..
    } = pair(None).await;
    for (mut from, mut to) in [(dialler.0, acceptor.1), (acceptor.0, dialler.1)] {
        let longest = vec![7; CONTROL_FRAME_BYTES_MAX];
        for number in 0..500_u32 {
            from.send_control(&number.to_le_bytes()).unwrap();
        }
        from.send_control(&longest).unwrap();
        for number in 0..500_u32 {
            assert!(
                matches!(next(&mut to).await, Event::Control(frame) if frame == number.to_le_bytes()[..])
            );
        }
        let last = tokio::select! {
            last = next(&mut to) => last,
            failed = async { while from.drive().await.is_ok() {} } => panic!("{failed:?}"),
        };
        assert!(matches!(last, Event::Control(frame) if frame == longest));
        let too_long = from
            .send_control(&vec![7; CONTROL_FRAME_BYTES_MAX + 1])
            .unwrap_err();
        assert!(
            matches!(too_long, LinkError::ControlFrameTooLarge { .. }),
            "{too_long}"
        );
    }
}

#[tokio::test]
async fn a_thousand_batches_arrive_once_in_each_direction() {
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = pair(None).await;
    tokio::join!(
        send_batches(&mut dialler.0, BATCHES),
        receive_batches(&mut dialler.1, BATCHES),
        send_batches(&mut acceptor.0, BATCHES),
        receive_batches(&mut acceptor.1, BATCHES),
    );
    let stats = dialler.0.stats();
    assert!(
        stats.sent_bytes > 7_000_000 && stats.received_bytes > 7_000_000,
        "{stats:?}"
    );
    assert!(
        stats.congestion_window_bytes > 0 && stats.rtt > Duration::ZERO,
        "{stats:?}"
    );
}

const LARGE_BYTES: usize = 4 * 1024 * 1024;

#[tokio::test]
async fn a_peer_that_reads_nothing_holds_up_nobody_and_loses_nothing() {
    let (east, west) = endpoints_of(|config| config.batch_bytes_max = LARGE_BYTES);
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = connect(east, west).await;
    let large = Bytes::from(vec![5; LARGE_BYTES]);
    let mut sent = 0;
    let refused = loop {
        match dialler.0.send_batch(large.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100, "the sender's memory has a limit");
    };
    assert!(
        matches!(refused, LinkError::SendBacklog { .. }),
        "{refused}"
    );
    let received = async {
        for _ in 0..sent {
            assert!(matches!(next(&mut acceptor.1).await, Event::Batch(bytes) if bytes == large));
        }
    };
    tokio::select! {
        () = received => {}
        failed = async { while dialler.0.drive().await.is_ok() {} } => panic!("{failed:?}"),
    }
}

#[tokio::test]
async fn a_close_is_told_with_its_reason() {
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = pair(None).await;
    dialler.0.send_batch(Bytes::from_static(b"last")).unwrap();
    assert!(matches!(next(&mut acceptor.1).await, Event::Batch(_)));
    dialler
        .0
        .close(CLOSE_CODE_DRIVER_FIRST, "lane count 16, expected 8");
    for _ in 0..2 {
        let Event::Closed(error) = next(&mut acceptor.1).await else {
            panic!("not closed")
        };
        let LinkError::ClosedByPeer { code, reason } = &error else {
            panic!("{error}")
        };
        assert_eq!((*code, reason.as_str()), (16, "lane count 16, expected 8"));
    }
    let here = next(&mut dialler.1).await;
    assert!(
        matches!(here, Event::Closed(LinkError::ClosedHere)),
        "{here:?}"
    );
    assert!(matches!(
        dialler.0.send_batch(Bytes::new()),
        Err(LinkError::ClosedHere)
    ));
}

#[tokio::test]
async fn another_clusters_authority_is_refused_by_both_sides() {
    let (ours, theirs) = (Cluster::new("shop"), Cluster::new("shop"));
    let (east, west) = (ours.endpoint("us-east"), theirs.endpoint("eu-west"));
    let mut acceptor = west.acceptor();
    let (dialled, accepted) = tokio::join!(
        east.connect(west.local_addr().unwrap(), "eu-west"),
        acceptor.accept()
    );
    let dialled = dialled.unwrap_err();
    assert!(matches!(dialled, LinkError::Untrusted(_)), "{dialled}");
    assert_eq!(dialled.redial(), Redial::Rarely);
    let refused = accepted.unwrap().unwrap_err();
    assert!(matches!(refused.error, LinkError::Refused(_)), "{refused}");
    for text in [dialled.to_string(), refused.to_string()] {
        names_both_authorities(&text, "greenwich://shop/eu-west");
    }
}

/// The authorities' keys differ, though their names are the same.
fn names_both_authorities(text: &str, bearer: &str) {
    let (_, values) = text
        .split_once("certificate: expected one signed by ")
        .expect(text);
    let (ours, theirs) = values.split_once(", found one for ").expect(text);
    let (named, theirs) = theirs.split_once(" by ").expect(text);
    assert_eq!(named, bearer, "{text}");
    for authority in [ours, theirs] {
        assert!(
            authority.starts_with("CN=greenwich shop CA (key "),
            "{text}"
        );
    }
    assert_ne!(ours, theirs, "{text}");
}

#[tokio::test]
async fn another_region_than_dialled_is_refused_with_both_names() {
    let cluster = Cluster::new("shop");
    let (east, west) = (cluster.endpoint("us-east"), cluster.endpoint("eu-west"));
    let mut acceptor = west.acceptor();
    let (dialled, accepted) = tokio::join!(
        east.connect(west.local_addr().unwrap(), "ap-south"),
        acceptor.accept()
    );
    let text = dialled.unwrap_err().to_string();
    assert!(
        text.contains("expected greenwich://shop/ap-south"),
        "{text}"
    );
    assert!(
        text.contains("found a certificate for greenwich://shop/eu-west"),
        "{text}"
    );
    let told = accepted.unwrap().unwrap_err().to_string();
    assert!(
        told.contains(
            "refused this node's certificate: expected one for greenwich://shop/ap-south, \
             found one for greenwich://shop/eu-west"
        ),
        "{told}"
    );
}

#[tokio::test]
async fn a_second_node_of_the_same_region_is_refused() {
    let cluster = Cluster::new("shop");
    let (east, twin) = (cluster.endpoint("us-east"), cluster.endpoint("us-east"));
    let mut acceptor = twin.acceptor();
    let (dialled, accepted) = tokio::join!(
        east.connect(twin.local_addr().unwrap(), "us-east"),
        acceptor.accept()
    );
    let refused = accepted.unwrap().unwrap_err();
    assert!(
        matches!(refused.error, LinkError::OwnRegion(_)),
        "{refused}"
    );
    // The dialler learns of it when it uses the connection.
    let mut link = dialled.unwrap().open_link().await.unwrap();
    let told = next(&mut link.1).await;
    assert!(
        matches!(told, Event::Closed(LinkError::ClosedByPeer { code: 1, .. })),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_reissued_certificate_of_an_overwritten_authority_is_refused() {
    let cluster = Cluster::new("shop");
    let west = cluster.endpoint("eu-west");
    cluster.renew(Overwrite::Yes);
    let east = cluster.endpoint("us-east");
    let mut acceptor = west.acceptor();
    let (dialled, accepted) = tokio::join!(
        east.connect(west.local_addr().unwrap(), "eu-west"),
        acceptor.accept()
    );
    assert!(
        matches!(dialled, Err(LinkError::Untrusted(_))),
        "{dialled:?}"
    );
    assert!(accepted.unwrap().is_err());
}

#[tokio::test]
async fn a_silent_address_is_given_up() {
    let cluster = Cluster::new("shop");
    let east = cluster.endpoint("us-east");
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let dialled = east
        .connect(silent.local_addr().unwrap(), "eu-west")
        .await
        .unwrap_err();
    assert_eq!(dialled.redial(), Redial::Soon, "{dialled}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let cluster = Cluster::new("shop");
    let holder = std::net::UdpSocket::bind(loopback()).unwrap();
    let addr = holder.local_addr().unwrap();
    let refused = Endpoint::bind(EndpointConfig::new(addr, cluster.credentials("us-east")));
    let Err(BindError::Socket { addr: named, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(named, addr);
}

#[tokio::test]
async fn an_emulated_link_delays_and_loses_and_every_batch_arrives() {
    let (east, west) = endpoints(Some(EmulationConfig::default()));
    let one_way = LinkProfile {
        loss: 0.01,
        ..LinkProfile::with_rtt_us(40_000)
    };
    impair(&east, &west, one_way);
    impair(&west, &east, one_way);
    let Pair {
        mut dialler,
        mut acceptor,
        east,
        ..
    } = connect(east, west).await;
    for _ in 0..3 {
        let rtt = round_trip(&mut dialler, &mut acceptor).await;
        assert!(rtt >= Duration::from_millis(40), "{rtt:?}");
    }
    tokio::join!(
        send_batches(&mut dialler.0, BATCHES),
        receive_batches(&mut acceptor.1, BATCHES),
    );
    let counters = east.emulation().unwrap().counters("eu-west");
    assert!(counters.dropped_by_loss > 0, "{counters:?}");
    assert!(
        counters.sent > 10 * counters.dropped_by_loss,
        "{counters:?}"
    );
    let stats = dialler.0.stats();
    assert!(stats.rtt_min >= Duration::from_millis(40), "{stats:?}");
    assert!(stats.lost_packets > 0, "{stats:?}");
}

#[tokio::test]
async fn a_cut_stops_everything_and_healing_brings_it() {
    let Pair {
        mut dialler,
        mut acceptor,
        east,
        west,
    } = pair(Some(EmulationConfig::default())).await;
    let emulation = east.emulation().unwrap();
    emulation.place("eu-west", &[west.local_addr().unwrap()]);
    emulation.cut("eu-west");
    assert_eq!(emulation.link("eu-west"), (LinkProfile::NONE, true));
    dialler.0.send_batch(Bytes::from_static(b"late")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while emulation.counters("eu-west").dropped_by_cut < 2 {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            emulation.counters("eu-west")
        );
        tokio::select! {
            event = acceptor.1.next() => panic!("crossed a cut: {event:?}"),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    emulation.heal("eu-west");
    assert!(matches!(next(&mut acceptor.1).await, Event::Batch(bytes) if bytes == "late"));
}

#[tokio::test]
async fn an_emulated_port_is_free_again_when_all_is_dropped() {
    let Pair {
        dialler,
        acceptor,
        east,
        west,
    } = pair(Some(EmulationConfig::default())).await;
    let addr = east.local_addr().unwrap();
    drop((dialler, acceptor, east, west));
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = std::net::UdpSocket::bind(addr) {
        assert!(
            Instant::now() < deadline,
            "the thread keeps the port: {error}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
