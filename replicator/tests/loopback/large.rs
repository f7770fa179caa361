//! Batches that are longer than any window: they cross, slowly where the link is slow, and hold up nothing else.

use std::time::Duration;

use bytes::Bytes;
use greenwich_proto::netem::LinkProfile;
use greenwich_replicator::{
    emulation::EmulationConfig,
    endpoint::EndpointConfig,
    error::LinkError,
    link::{Event, LinkSender, SMALL_BATCH_BYTES_MAX},
};
use tokio::time::Instant;

use crate::common::{Pair, connect, endpoints, endpoints_of, impair, next, pair};

const MIB: usize = 1024 * 1024;

/// Numbered blocks, so that pieces in the wrong place show; blocks are no multiple of a packet or a window.
fn patterned(bytes: usize) -> Bytes {
    const BLOCK_BYTES: usize = 1_009;
    let mut batch = Vec::with_capacity(bytes + BLOCK_BYTES);
    let mut block = [7; BLOCK_BYTES];
    while batch.len() < bytes {
        block[..8].copy_from_slice(&batch.len().to_le_bytes());
        batch.extend_from_slice(&block);
    }
    batch.truncate(bytes);
    Bytes::from(batch)
}

/// A link whose dialler sends at this rate, over 20 ms.
async fn slow_pair(rate_bytes_per_s: u64, loss: f64, change: impl Fn(&mut EndpointConfig)) -> Pair {
    let (east, west) = endpoints_of(|config| {
        config.emulation = Some(EmulationConfig::default());
        change(config);
    });
    let one_way = LinkProfile {
        rate_bytes_per_s: Some(rate_bytes_per_s),
        loss,
        ..LinkProfile::with_rtt_us(20_000)
    };
    impair(&east, &west, one_way);
    connect(east, west).await
}

/// Drives until the link ends.
async fn drive(sender: &mut LinkSender) -> LinkError {
    loop {
        if let Err(error) = sender.drive().await {
            return error;
        }
    }
}

#[tokio::test]
async fn a_batch_of_many_windows_crosses_with_others_behind_it() {
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = pair(None).await;
    let sent = [
        patterned(64 * MIB),
        patterned(3 * MIB),
        patterned(SMALL_BATCH_BYTES_MAX + 4),
    ];
    for batch in &sent {
        dialler.0.send_batch(batch.clone()).unwrap();
    }
    let mut missing = sent.to_vec();
    while !missing.is_empty() {
        let event = tokio::select! {
            event = next(&mut acceptor.1) => event,
            error = drive(&mut dialler.0) => panic!("{error}"),
        };
        let Event::Batch(received) = event else {
            panic!("{event:?}")
        };
        let found = missing.iter().position(|batch| *batch == received);
        missing.swap_remove(found.expect("twice or damaged"));
    }
    assert_eq!(dialler.0.waiting_bytes(), 0);
}

#[tokio::test]
async fn small_batches_pass_a_large_one() {
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = slow_pair(20_000_000, 0.0, |_| {}).await;
    let large = patterned(30 * MIB);
    dialler.0.send_batch(large.clone()).unwrap();
    let (mut sent, mut small_arrived) = (0_u32, 0);
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    loop {
        let event = tokio::select! {
            event = next(&mut acceptor.1) => event,
            error = drive(&mut dialler.0) => panic!("{error}"),
            _ = pace.tick(), if sent < 200 => {
                dialler.0.send_batch(Bytes::from(vec![1; 2_000])).unwrap();
                sent += 1;
                continue;
            }
        };
        match event {
            Event::Batch(batch) if batch.len() == 2_000 => small_arrived += 1,
            Event::Batch(batch) => {
                assert!(batch == large);
                break;
            }
            other @ (Event::Control(_) | Event::Notice(_) | Event::Closed(_)) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!(small_arrived, 200);
}

#[tokio::test]
async fn what_the_connection_has_taken_of_a_large_batch_is_passed_too() {
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = slow_pair(2_000_000, 0.0, |_| {}).await;
    let large = patterned(3 * MIB / 2);
    dialler.0.send_batch(large.clone()).unwrap();
    assert_eq!(dialler.0.waiting_bytes(), 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    while dialler.0.stats().sent_bytes < 100_000 {
        assert!(Instant::now() < deadline, "{:?}", dialler.0.stats());
        tokio::task::yield_now().await;
    }
    dialler.0.send_batch(Bytes::from_static(b"small")).unwrap();
    dialler.0.send_control(b"control").unwrap();
    let (mut passed, mut last) = (Vec::new(), Bytes::new());
    while last.len() < large.len() {
        passed.push(last);
        last = match next(&mut acceptor.1).await {
            Event::Batch(bytes) | Event::Control(bytes) => bytes,
            other @ (Event::Notice(_) | Event::Closed(_)) => panic!("{other:?}"),
        };
    }
    passed.sort_unstable();
    assert_eq!(passed, ["", "control", "small"]);
}

#[tokio::test]
async fn a_large_batch_gets_through_a_link_that_is_always_full() {
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = slow_pair(4_000_000, 0.0, |config| {
        config.stall_limit = Duration::from_millis(500);
    })
    .await;
    let large = patterned(3 * MIB);
    dialler.0.send_batch(large.clone()).unwrap();
    let small = Bytes::from(vec![1; 60_000]);
    let mut small_under_way = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "the large batch starves");
        // About half a second of the link's time is always waiting.
        while small_under_way < 32 {
            dialler.0.send_batch(small.clone()).unwrap();
            small_under_way += 1;
        }
        let event = tokio::select! {
            event = next(&mut acceptor.1) => event,
            error = drive(&mut dialler.0) => panic!("{error}"),
        };
        match event {
            Event::Batch(batch) if batch.len() == small.len() => small_under_way -= 1,
            Event::Batch(batch) => break assert!(batch == large),
            other @ (Event::Control(_) | Event::Notice(_) | Event::Closed(_)) => {
                panic!("{other:?}")
            }
        }
    }
}

#[tokio::test]
async fn a_slow_and_lossy_link_is_not_given_up() {
    let stall_limit = Duration::from_secs(1);
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = slow_pair(2_500_000, 0.01, |config| config.stall_limit = stall_limit).await;
    let large = patterned(16 * MIB);
    let started = Instant::now();
    dialler.0.send_batch(large.clone()).unwrap();
    let event = tokio::select! {
        event = next(&mut acceptor.1) => event,
        error = drive(&mut dialler.0) => panic!("{error}"),
    };
    let Event::Batch(received) = event else {
        panic!("{event:?}")
    };
    assert!(received == large, "{} bytes", received.len());
    assert!(started.elapsed() > 5 * stall_limit, "the link was not slow");
}

#[tokio::test]
async fn a_large_batch_crosses_though_almost_every_second_packet_is_lost() {
    let distance = LinkProfile::with_rtt_us(200_000);
    let (east, west) = endpoints(Some(EmulationConfig::default()));
    impair(&west, &east, distance);
    impair(&east, &west, distance);
    let Pair {
        mut dialler,
        mut acceptor,
        east,
        west,
    } = connect(east, west).await;
    let lossy = LinkProfile {
        loss: 0.4,
        ..distance
    };
    impair(&east, &west, lossy);
    let large = patterned(10 * MIB);
    dialler.0.send_batch(large.clone()).unwrap();
    let event = tokio::select! {
        event = next(&mut acceptor.1) => event,
        error = drive(&mut dialler.0) => panic!("{error}"),
    };
    let Event::Batch(received) = event else {
        panic!("{event:?}")
    };
    assert!(received == large, "{} bytes", received.len());
}
