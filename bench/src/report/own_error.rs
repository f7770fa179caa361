//! How well the benchmark itself did: the emulation of links and the generators, of every scenario that has them.

use crate::{
    report::figure::{ABSENT, Figure, Table},
    scenario::drive::RegionLoad,
    wan::forwarder::account::ForwarderReport,
};

/// A server, a case, what carried its packets if anything that counts, and its loads.
type Run<'a> = (
    &'a str,
    String,
    Option<&'a ForwarderReport>,
    &'a [RegionLoad],
);

/// A line per server and case; what is not known is absent.
pub(super) fn table<'a>(runs: impl Iterator<Item = Run<'a>>) -> Figure {
    let header = [
        "server",
        "case",
        "late p50",
        "late p99",
        "late max",
        "dropped",
        "processor",
        "sent late p99",
    ];
    let mut table = Table::new(2, header);
    for (server, case, forwarder, loads) in runs {
        let of = |cell: fn(&ForwarderReport) -> String| {
            forwarder.map_or_else(|| ABSENT.to_owned(), cell)
        };
        let late = loads.iter().map(|load| load.sent_late_ms_p99);
        let late = late.reduce(f64::max);
        table.push([
            server.to_owned(),
            case,
            of(|report| format!("{:.0} µs", report.error_us_p50)),
            of(|report| format!("{:.0} µs", report.error_us_p99)),
            of(|report| format!("{:.0} µs", report.error_us_max)),
            of(|report| report.own_fault.to_string()),
            of(|report| format!("{:.0} %", report.cpu_share * 100.0)),
            late.map_or_else(|| ABSENT.to_owned(), |ms| format!("{ms:.2} ms")),
        ]);
    }
    Figure::table(
        "The benchmark's own error",
        "How late the forwarder took packets because it waited for a processor, and gave them to their region; packets that it \
         dropped itself, and how much of one processor it used: that much of every lag is the emulator's. How late generators \
         sent requests when a connection had room: that much of clients' latencies is theirs.",
        table,
    )
}
