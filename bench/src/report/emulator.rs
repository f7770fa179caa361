//! How well the emulation of links did, of every scenario that has them.

use crate::{
    report::figure::{Figure, Table},
    wan::forwarder::account::ForwarderReport,
};

/// A line per server and case; what is not known, because nothing stands between the regions, is absent.
pub(super) fn table<'a>(
    runs: impl Iterator<Item = (&'a str, String, Option<&'a ForwarderReport>)>,
) -> Figure {
    let header = [
        "server",
        "case",
        "late p50",
        "late p99",
        "late max",
        "dropped",
        "processor",
    ];
    let mut table = Table::new(2, header);
    for (server, case, forwarder) in runs {
        let Some(forwarder) = forwarder else {
            table.push_known(vec![server.to_owned(), case]);
            continue;
        };
        table.push([
            server.to_owned(),
            case,
            format!("{:.0} µs", forwarder.error_us_p50),
            format!("{:.0} µs", forwarder.error_us_p99),
            format!("{:.0} µs", forwarder.error_us_max),
            forwarder.own_fault.to_string(),
            format!("{:.0} %", forwarder.cpu_share * 100.0),
        ]);
    }
    Figure::table(
        "The emulator's own error",
        "How late the forwarder took packets because it waited for a processor, and gave them to their region; packets that it \
         dropped itself, and how much of one processor it used. That much of every lag is the emulator's.",
        table,
    )
}
