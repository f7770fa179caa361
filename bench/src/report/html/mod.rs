//! One page that shows a report: everything is in it, so that it needs no network and can be sent as it is.
//!
//! Tables and bars are plain HTML; lines and points are drawn by uPlot, from data that lies in the page as JSON.

mod bars;
mod colour;

use std::path::Path;

use anyhow::Context;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;

use self::colour::Colours;
use super::{
    Report,
    figure::{Body, Figure, Kind, Plot, Section, Table},
    provenance::Provenance,
};

/// The file that people read.
pub const HTML_FILE: &str = "report.html";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const UPLOT_STYLE: &str = include_str!("vendor/uPlot.min.css");
const UPLOT_SCRIPT: &str = include_str!("vendor/uPlot.iife.min.js");
const UPLOT_LICENCE: &str = include_str!("vendor/uPlot.LICENSE");
/// Browsers fetch nothing for this page, whatever a server's version or an error says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Writes the page into `directory`.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write(report: &Report, directory: &Path) -> anyhow::Result<()> {
    let parts = report.scenarios.iter().map(|scenario| Part {
        name: scenario.name.clone(),
        settings: serde_json::to_string_pretty(&scenario.settings).unwrap_or_default(),
        left_out: scenario.left_out.clone(),
        partial: scenario.partial.clone(),
        section: scenario.section(),
    });
    let text = page(&report.provenance, &parts.collect::<Vec<_>>())?;
    let path = directory.join(HTML_FILE);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A scenario, as the page shows it.
struct Part {
    name: String,
    settings: String,
    left_out: Vec<String>,
    partial: Option<String>,
    section: Section,
}

/// What the script draws.
#[derive(Serialize)]
struct Data<'a> {
    colours: &'a Colours,
    plots: Vec<&'a Plot>,
}

fn page(provenance: &Provenance, parts: &[Part]) -> anyhow::Result<String> {
    let colours = Colours::of(parts.iter().flat_map(|part| &part.section.figures));
    let mut drawn = Vec::new();
    let mut sections = Vec::new();
    for part in parts {
        let mut figures = Vec::new();
        for (index, figure) in part.section.figures.iter().enumerate() {
            let body = match &figure.body {
                Body::Table(content) => table(content),
                Body::Plot(plot) if plot.kind == Kind::Bars => bars::bars(plot, &colours),
                Body::Plot(plot) => {
                    drawn.push(plot);
                    canvas(drawn.len() - 1)
                }
            };
            figures.push(framed(figure, &part.figure_id(index), &body));
        }
        sections.push(section(part, &figures));
    }
    let data = Data {
        colours: &colours,
        plots: drawn,
    };
    let data = serde_json::to_string(&data).context("the plots cannot be written as JSON")?;
    let body = html! {
        (header(provenance))
        (alarms(parts))
        @if parts.len() > 1 { (contents(parts)) }
        p class="hint" { "Point at a plot for its values; drag over it to look closer, double-click to go back; click a name to hide its line." }
        main { @for section in &sections { (section) } }
    };
    Ok(whole(&body, &data).into_string())
}

/// The head, the body, and what draws the plots.
fn whole(body: &Markup, data: &str) -> Markup {
    // No end tag and no comment can begin in JSON without this character.
    let data = data.replace('<', "\\u003c");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "greenwich-bench" }
                (PreEscaped(format!("<style>{UPLOT_STYLE}\n{STYLE}</style>")))
            }
            body {
                (body)
                (PreEscaped(format!("<script type=\"application/json\" id=\"data\">{data}</script>")))
                (PreEscaped(format!("<!-- uPlot:\n{UPLOT_LICENCE}-->")))
                (PreEscaped(format!("<script>{UPLOT_SCRIPT}</script>\n<script>{SCRIPT}</script>")))
            }
        }
    }
}

fn header(provenance: &Provenance) -> Markup {
    let gigabytes = provenance.memory_bytes as f64 / 1e9;
    html! {
        header {
            h1 { "greenwich-bench" }
            dl {
                dt { "began" } dd { (provenance.began) }
                @if let Some(ended) = &provenance.ended { dt { "ended" } dd { (ended) } }
                dt { "commit" } dd { (provenance.commit.as_deref().unwrap_or("unknown")) }
                dt { "command" } dd { code { (provenance.command.join(" ")) } }
                dt { "seed" } dd { (provenance.seed) }
                dt { "machine" }
                dd { (provenance.processor) ", " (provenance.cores) " cores, " (format!("{gigabytes:.1}")) " GB" }
                dt { "kernel" } dd { (provenance.kernel) }
                dt { "links" } dd { (provenance.emulation) }
                @if let Some(tcp) = &provenance.tcp { dt { "TCP over links" } dd { (tcp) } }
                @for (server, version) in &provenance.servers {
                    dt { (server) }
                    @match version {
                        Some(version) => dd { (version) },
                        None => dd class="absent" { "not run: it is not installed" },
                    }
                }
            }
        }
    }
}

/// What must be known before any figure is looked at.
fn alarms(parts: &[Part]) -> Markup {
    let is_any = parts
        .iter()
        .any(|part| part.partial.is_some() || !part.section.warnings.is_empty());
    html! {
        @if is_any {
            div class="alarm" role="alert" {
                @for part in parts {
                    @if let Some(reason) = &part.partial {
                        p { strong { "PARTIAL" } ": " a href={ "#" (part.id()) } { (part.name) } " ended early: " (reason) }
                    }
                    @let count = part.section.warnings.len();
                    @if count > 0 {
                        p {
                            strong { (count) @if count == 1 { " warning" } @else { " warnings" } }
                            ", to be read before the figures of " a href={ "#" (part.id()) } { (part.name) }
                        }
                    }
                }
            }
        }
    }
}

fn contents(parts: &[Part]) -> Markup {
    html! {
        nav aria-label="Contents" {
            @for part in parts {
                div {
                    a href={ "#" (part.id()) } { (part.name) }
                    ul {
                        @for (index, figure) in part.section.figures.iter().enumerate() {
                            li { a href={ "#" (part.figure_id(index)) } { (figure.title) } }
                        }
                    }
                }
            }
        }
    }
}

fn section(part: &Part, figures: &[Markup]) -> Markup {
    html! {
        section id=(part.id()) {
            h2 { (part.name) }
            @if let Some(reason) = &part.partial {
                p class="alarm" { strong { "PARTIAL" } ": this scenario ended early, and shows what was measured until then: " (reason) }
            }
            @for said in &part.left_out { p { (said) } }
            @if !part.section.warnings.is_empty() {
                ul class="alarm" { @for warning in &part.section.warnings { li { (warning) } } }
            }
            details { summary { "settings" } pre { (part.settings) } }
            @for figure in figures { (figure) }
        }
    }
}

fn framed(figure: &Figure, id: &str, body: &Markup) -> Markup {
    html! {
        figure id=(id) {
            figcaption { h3 { (figure.title) } p { (figure.caption) } }
            (body)
        }
    }
}

fn table(content: &Table) -> Markup {
    let class = |column: usize| (column >= content.words).then_some("number");
    html! {
        div class="scroll" tabindex="0" {
            table {
                thead { tr { @for (column, name) in content.header.iter().enumerate() { th scope="col" class=[class(column)] { (name) } } } }
                tbody {
                    @for row in &content.rows {
                        tr { @for (column, cell) in row.iter().enumerate() { td class=[class(column)] { (cell) } } }
                    }
                }
            }
        }
    }
}

/// Where the script draws the plot with this index.
fn canvas(index: usize) -> Markup {
    html! {
        div class="plot" data-plot=(index) {
            noscript { p { "This plot needs JavaScript; the tables do not." } }
        }
    }
}

impl Part {
    /// Its name, as links can have it.
    fn id(&self) -> String {
        let plain = |letter: char| match letter.is_ascii_alphanumeric() {
            true => letter.to_ascii_lowercase(),
            false => '-',
        };
        let name: String = self.name.chars().map(plain).collect();
        format!("scenario-{name}")
    }

    fn figure_id(&self, index: usize) -> String {
        format!("{}-{index}", self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        report::figure::{Axis, Mark, Point, Series},
        wan::emulation::Emulation,
    };

    fn part(name: &str, partial: Option<&str>) -> Part {
        let axis = || Axis::linear("axis", "ms");
        let series = |points| Series {
            server: "redis".to_owned(),
            name: "redis </script><!--".to_owned(),
            points,
        };
        let lines = Plot::new(
            Kind::Lines,
            Axis::percentile(),
            axis(),
            vec![series(vec![Point::new(1.0, 2.0)])],
        );
        let mark = Mark {
            at: 1.0,
            label: "cut".to_owned(),
        };
        let bars = vec![series(vec![Point::bar("set", 7.0, Some((3.5, 14.0)))])];
        let bars = Plot::new(Kind::Bars, axis(), axis(), bars);
        let mut table = Table::new(1, ["server", "<p99>"]);
        table.push(["redis & co".to_owned(), "4 ms".to_owned()]);
        let figure = |kind: &str| (format!("{name}: {kind}"), format!("how {kind} mislead"));
        let [in_lines, in_bars, in_table] = ["lines", "bars", "tables"].map(figure);
        Part {
            name: name.to_owned(),
            settings: "{}".to_owned(),
            left_out: vec!["redis: not run".to_owned()],
            partial: partial.map(str::to_owned),
            section: Section {
                warnings: vec!["DO NOT USE this".to_owned()],
                figures: vec![
                    Figure::plot(in_lines.0, in_lines.1, lines.with_marks(vec![mark])),
                    Figure::plot(in_bars.0, in_bars.1, bars),
                    Figure::table(in_table.0, in_table.1, table),
                ],
                distributions: Vec::new(),
            },
        }
    }

    fn text_of(parts: &[Part]) -> String {
        let servers = BTreeMap::from([
            ("redis".to_owned(), Some("v7 <b>".to_owned())),
            ("keydb".to_owned(), None),
        ]);
        page(&Provenance::look(7, Emulation::Socket, servers), parts).unwrap()
    }

    #[test]
    fn the_page_shows_all_that_it_was_given() {
        let parts = [part("lag", Some("a server died")), part("soak & co", None)];
        let text = text_of(&parts);
        for figure in parts.iter().flat_map(|part| &part.section.figures) {
            let [title, caption] =
                [&figure.title, &figure.caption].map(|text| html! { (text) }.into_string());
            assert!(text.contains(&format!("<h3>{title}</h3>")), "{title}");
            assert!(text.contains(&caption), "{caption}");
        }
        for shown in [
            "<strong>PARTIAL</strong>",
            "a server died",
            "DO NOT USE this",
            "<p>redis: not run</p>",
            "the nodes' own sockets",
            "not run: it is not installed",
            "v7 &lt;b&gt;",
            "redis &amp; co",
            "&lt;p99&gt;",
            "href=\"#scenario-soak---co\"",
            "left:25.00%;width:75.00%",
            "width:50.00%",
        ] {
            assert!(text.contains(shown), "{shown}");
        }
    }

    #[test]
    fn the_data_cannot_end_its_element() {
        let text = text_of(&[part("lag", None)]);
        let (_, data) = text.split_once("id=\"data\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let plot = &data["plots"][0];
        assert_eq!(plot["series"][0]["name"], "redis </script><!--");
        assert_eq!(plot["x"]["scale"], "percentile");
        assert_eq!(plot["marks"][0]["label"], "cut");
        assert_eq!(data["colours"]["redis"], 1);
    }

    #[test]
    fn nothing_is_fetched() {
        let text = text_of(&[part("lag", None)]);
        let (before, licence) = UPLOT_SCRIPT.split_once("*/").unwrap();
        assert!(before.starts_with("/*!") && before.contains("uPlot"));
        // The comment at the library's beginning names its home.
        let text = text.replace(UPLOT_SCRIPT, licence);
        for address in [
            "http:", "https:", "src=", "url(", "@import", "<link", "import(", "fetch(",
        ] {
            assert!(!text.contains(address), "{address}");
        }
        let links = text.split("href=\"").skip(1);
        assert!(links.into_iter().all(|link| link.starts_with('#')));
        let quoted = ["\"//", "'//", "`//"];
        assert!(quoted.iter().all(|start| !text.contains(start)));
        assert!(text.contains(POLICY) && text.contains("Leon Sorokin"));
    }
}
