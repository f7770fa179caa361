//! INFO: the server in the words of redis-server's sections, and one section of its own.

use std::{
    fmt::{self, Display, Write as _},
    process,
    sync::atomic::Ordering::Relaxed,
};

use super::{Command, CommandError, Context, Flags, Group, Keys, connection::REDIS_VERSION};
use crate::{
    resp::Request,
    server::{Service, process as own_process},
    status::{Link, Loading},
};

pub(super) const ROWS: &[Command] = &[Command {
    name: "info",
    arity: -1,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::USAGE),
    keys: Keys::NONE,
    group: Group::Server,
    since: "1.0.0",
    summary: "Get information and statistics about the server",
    subcommands: &[],
    run: info,
}];

type Section = fn(&Context<'_, '_>, &mut Lines);

const SECTIONS: &[(&str, Section)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Cluster", |_, lines| lines.add("cluster_enabled", 0)),
    ("Keyspace", keyspace),
    ("Greenwich", greenwich),
];

/// `name:value` lines.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("a string takes everything");
    }
}

fn info(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let is_all = |name: &[u8]| {
        [&b"all"[..], b"default", b"everything"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word))
    };
    let is_asked = |section: &str| {
        request.len() == 1
            || request
                .iter()
                .skip(1)
                .any(|name| is_all(name) || name.eq_ignore_ascii_case(section.as_bytes()))
    };
    let mut lines = Lines::default();
    for (name, section) in SECTIONS {
        if is_asked(name) {
            let gap = if lines.0.is_empty() { "" } else { "\r\n" };
            write!(lines.0, "{gap}# {name}\r\n").expect("a string takes everything");
            section(ctx, &mut lines);
        }
    }
    ctx.reply.verbatim(*b"txt", lines.0.as_bytes());
    Ok(())
}

fn server(ctx: &Context<'_, '_>, lines: &mut Lines) {
    let uptime = ctx.server.started.elapsed().as_secs();
    lines.add("redis_version", REDIS_VERSION);
    lines.add("redis_mode", "standalone");
    lines.add("os", own_process::system());
    lines.add("arch_bits", usize::BITS);
    lines.add("multiplexing_api", "epoll");
    lines.add("process_id", process::id());
    lines.add("run_id", ctx.server.run_id());
    lines.add("tcp_port", ctx.server.address().port());
    lines.add("server_time_usec", own_process::wall_micros());
    lines.add("uptime_in_seconds", uptime);
    lines.add("uptime_in_days", uptime / 86_400);
    lines.add("hz", 10);
    lines.add("executable", "greenwich");
    lines.add("config_file", "");
}

fn clients(ctx: &Context<'_, '_>, lines: &mut Lines) {
    let blocked = ctx
        .server
        .clients
        .all()
        .iter()
        .filter(|handle| handle.is_blocked.load(Relaxed))
        .count();
    lines.add("connected_clients", ctx.server.clients.count());
    lines.add("maxclients", ctx.server.settings.clients_max.load(Relaxed));
    lines.add("blocked_clients", blocked);
    lines.add("tracking_clients", 0);
}

fn memory(ctx: &Context<'_, '_>, lines: &mut Lines) {
    let resident = own_process::resident_bytes();
    lines.add("used_memory", resident);
    lines.add("used_memory_human", human(resident));
    lines.add("used_memory_rss", resident);
    lines.add("used_memory_rss_human", human(resident));
    lines.add("used_memory_dataset", usage(ctx).entry_bytes);
    lines.add("maxmemory", 0);
    lines.add("maxmemory_human", "0B");
    lines.add("maxmemory_policy", "noeviction");
    lines.add("mem_allocator", "mimalloc");
}

/// Nothing is written to disk; clients that look for these lines find that nothing is amiss.
fn persistence(ctx: &Context<'_, '_>, lines: &mut Lines) {
    for (name, value) in [
        (
            "loading",
            u8::from(ctx.server.door.service() == Service::Loading),
        ),
        ("async_loading", 0),
        ("rdb_bgsave_in_progress", 0),
        ("aof_enabled", 0),
    ] {
        lines.add(name, value);
    }
    if let Some(loading) = ctx.server.door.loading() {
        add_loading(&loading, lines);
    }
}

/// What is not known is left out.
fn add_loading(loading: &Loading, lines: &mut Lines) {
    lines.add("loading_start_time", loading.started_at_ms / 1_000);
    lines.add("loading_loaded_keys", loading.keys);
    if let Some(total) = loading.total_keys {
        lines.add("loading_total_keys", total);
    }
    if let Some(percent) = loading.percent() {
        lines.add("loading_loaded_perc", format_args!("{percent:.2}"));
    }
    if let Some(rate) = loading.keys_per_second {
        lines.add("loading_keys_per_second", format_args!("{rate:.0}"));
    }
    if let Some(seconds) = loading.seconds_left {
        lines.add("loading_eta_seconds", format_args!("{seconds:.0}"));
    }
}

fn stats(ctx: &Context<'_, '_>, lines: &mut Lines) {
    let shown = ctx.server.counts_since_reset();
    let (channels, patterns) = ctx.server.channels.counts();
    lines.add("total_connections_received", shown.accepted);
    lines.add("total_commands_processed", shown.totals.commands);
    lines.add(
        "instantaneous_ops_per_sec",
        ctx.server.counters.commands_per_second().round(),
    );
    lines.add("total_net_input_bytes", shown.totals.input_bytes);
    lines.add("total_net_output_bytes", shown.totals.output_bytes);
    lines.add("rejected_connections", shown.refused);
    lines.add("expired_keys", shown.expired);
    lines.add("evicted_keys", 0);
    lines.add("keyspace_hits", shown.totals.lookups.hits);
    lines.add("keyspace_misses", shown.totals.lookups.misses);
    lines.add("total_error_replies", shown.totals.errors);
    lines.add("total_reads_processed", shown.totals.reads);
    lines.add("total_writes_processed", shown.totals.writes);
    lines.add(
        "client_output_buffer_limit_disconnections",
        shown.output_limit,
    );
    lines.add("pubsub_channels", channels);
    lines.add("pubsub_patterns", patterns);
}

fn replication(ctx: &Context<'_, '_>, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", ctx.server.run_id());
    lines.add("master_repl_offset", 0);
    for (index, link) in ctx.server.links().iter().enumerate() {
        lines.add(&format!("link{index}"), LinkLine(link));
    }
}

/// One link as of a second ago or so, in the manner of redis-server's lines about its replicas.
struct LinkLine<'a>(&'a Link);

impl Display for LinkLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(link) = self;
        write!(f, "region={},state={},", link.region, link.state.name())?;
        match link.rtt_ms {
            Some(ms) => write!(f, "rtt_ms={ms:.1},")?,
            // As redis-server says that it does not know.
            None => f.write_str("rtt_ms=-1,")?,
        }
        write!(
            f,
            "lag_ms={},lag_updates={},in_flight_bytes={}",
            link.lag_ms, link.lag_updates, link.in_flight_bytes
        )?;
        match &link.via {
            Some(via) => {
                let (regions, behind_ms) = (via.regions.join("+"), via.behind_ms);
                write!(f, ",via={regions},via_behind_ms={behind_ms}")
            }
            None => Ok(()),
        }
    }
}

fn cpu(_ctx: &Context<'_, '_>, lines: &mut Lines) {
    let (user, system) = own_process::cpu_seconds();
    lines.add("used_cpu_sys", format_args!("{system:.6}"));
    lines.add("used_cpu_user", format_args!("{user:.6}"));
}

fn keyspace(ctx: &Context<'_, '_>, lines: &mut Lines) {
    let usage = usage(ctx);
    if usage.keys > 0 {
        lines.add(
            "db0",
            format_args!(
                "keys={},expires={},avg_ttl=0",
                usage.keys, usage.mortal_keys
            ),
        );
    }
}

fn greenwich(ctx: &Context<'_, '_>, lines: &mut Lines) {
    lines.add("greenwich_version", env!("CARGO_PKG_VERSION"));
    lines.add("greenwich_region", &ctx.server.region);
    lines.add("greenwich_incarnation", ctx.server.incarnation);
    let log = ctx.server.keyspace.log();
    lines.add("greenwich_log_bytes", log.bytes());
    lines.add("greenwich_peers", log.peers());
    let is_superseded = ctx.server.door.service() == Service::Superseded;
    lines.add("greenwich_superseded", u8::from(is_superseded));
}

/// Counted before the transaction locked the keys, if there is one.
fn usage(ctx: &Context<'_, '_>) -> crate::keyspace::Usage {
    ctx.client
        .usage
        .unwrap_or_else(|| ctx.server.keyspace.usage())
}

/// Bytes with one letter, as redis-server shows them.
fn human(bytes: u64) -> String {
    let units = [
        (1_u64 << 40, 'T'),
        (1 << 30, 'G'),
        (1 << 20, 'M'),
        (1 << 10, 'K'),
    ];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{LinkState, Via};

    #[test]
    fn a_link_is_one_line_of_fields() {
        let mut link = Link {
            region: "eu-west".into(),
            state: LinkState::Up,
            rtt_ms: Some(80.26),
            lag_ms: 41,
            lag_updates: 7,
            in_flight_bytes: 1024,
            ..Link::default()
        };
        assert_eq!(
            LinkLine(&link).to_string(),
            "region=eu-west,state=up,rtt_ms=80.3,lag_ms=41,lag_updates=7,in_flight_bytes=1024"
        );
        link.via = Some(Via {
            regions: vec!["ap-south".into(), "us-east".into()],
            behind_ms: 700,
            ..Via::default()
        });
        let line = LinkLine(&link).to_string();
        assert!(
            line.ends_with("=1024,via=ap-south+us-east,via_behind_ms=700"),
            "{line}"
        );
        (link.state, link.rtt_ms) = (LinkState::Down, None);
        assert!(
            LinkLine(&link)
                .to_string()
                .starts_with("region=eu-west,state=down,rtt_ms=-1,lag_ms=41")
        );
    }
}
