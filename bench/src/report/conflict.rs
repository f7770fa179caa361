//! What the scenario `conflict` shows.

use crate::{
    report::figure::{ABSENT, Figure, Section, Table},
    report::own_error,
    scenario::conflict::ConflictReport,
};

/// Its table: a line per server and type.
#[must_use]
pub fn section(report: &ConflictReport) -> Section {
    let header = [
        "server",
        "type",
        "keys",
        "accepted",
        "refused",
        "differ afterwards",
        "updates lost",
        "equal after",
    ];
    let mut table = Table::new(2, header);
    for run in &report.runs {
        table.push([
            run.server.clone(),
            run.kind.name().to_owned(),
            run.keys.to_string(),
            run.accepted.to_string(),
            run.refused.to_string(),
            run.differing.to_string(),
            run.lost
                .map_or_else(|| ABSENT.to_owned(), |lost| lost.to_string()),
            equal_after(run.equal_after_ms),
        ]);
    }
    let figure = Figure::table(
        "The same keys, written in all regions at once",
        "Keys that differ between regions when nothing moves any more, and increments and appended bytes that are missing in \
         the region that has the fewest. Writes are refused where a region is a replica: such a server has no conflicts, and \
         takes no writes there.",
        table,
    );
    let emulator = own_error::table(report.runs.iter().map(|run| {
        let case = run.kind.name().to_owned();
        (&*run.server, case, run.forwarder.as_ref(), &[][..])
    }));
    Section {
        figures: vec![figure, emulator],
        ..Section::default()
    }
}

/// From the last write, or the heal, until all regions held the same.
pub(super) fn equal_after(after_ms: Option<f64>) -> String {
    after_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms:.0} ms"))
}
