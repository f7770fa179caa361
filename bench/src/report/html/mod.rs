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
    Report, ScenarioReport,
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
    let path = directory.join(HTML_FILE);
    std::fs::write(&path, page(report)?).with_context(|| format!("cannot write {}", path.display()))
}

/// What the script draws.
#[derive(Serialize)]
struct Data<'a> {
    colours: &'a Colours,
    plots: Vec<&'a Plot>,
}

/// The page.
///
/// # Errors
/// When its data cannot be written as JSON.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let sections = report.scenarios.iter();
    let sections: Vec<(&ScenarioReport, Section)> = sections
        .map(|scenario| (scenario, scenario.section()))
        .collect();
    let all = || sections.iter().flat_map(|(_, section)| &section.figures);
    let colours = Colours::of(all());
    let mut drawn = Vec::new();
    let mut parts = Vec::new();
    for (scenario, section) in &sections {
        let mut figures = Vec::new();
        for (index, figure) in section.figures.iter().enumerate() {
            let body = match &figure.body {
                Body::Table(content) => table(content),
                Body::Plot(plot) if plot.kind == Kind::Bars => bars::bars(plot, &colours),
                Body::Plot(plot) => {
                    drawn.push(plot);
                    canvas(drawn.len() - 1)
                }
            };
            figures.push(framed(figure, &figure_id(scenario, index), &body));
        }
        parts.push(part(scenario, section, &figures));
    }
    let data = Data {
        colours: &colours,
        plots: drawn,
    };
    let data = serde_json::to_string(&data).context("the plots cannot be written as JSON")?;
    let body = html! {
        (header(&report.provenance))
        (alarms(&sections))
        @if sections.len() > 1 { (contents(&sections)) }
        p class="hint" { "Point at a plot for its values; drag over it to look closer, double-click to go back; click a name to hide its line." }
        main { @for part in &parts { (part) } }
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
                (PreEscaped(format!("<!--\n{UPLOT_LICENCE}-->")))
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
                dt { "commit" } dd { (provenance.commit.as_deref().unwrap_or("unknown")) }
                dt { "command" } dd { code { (provenance.command.join(" ")) } }
                dt { "seed" } dd { (provenance.seed) }
                dt { "machine" }
                dd { (provenance.processor) ", " (provenance.cores) " cores, " (format!("{gigabytes:.1}")) " GB" }
                dt { "kernel" } dd { (provenance.kernel) }
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
fn alarms(sections: &[(&ScenarioReport, Section)]) -> Markup {
    let is_any = sections
        .iter()
        .any(|(scenario, section)| scenario.partial.is_some() || !section.warnings.is_empty());
    html! {
        @if is_any {
            div class="alarm" role="alert" {
                @for (scenario, section) in sections {
                    @if let Some(reason) = &scenario.partial {
                        p { strong { "PARTIAL" } ": " a href={ "#" (id(scenario)) } { (scenario.name) } " ended early: " (reason) }
                    }
                    @if !section.warnings.is_empty() {
                        p {
                            strong { (section.warnings.len()) @if section.warnings.len() == 1 { " warning" } @else { " warnings" } }
                            ", to be read before the figures of " a href={ "#" (id(scenario)) } { (scenario.name) }
                        }
                    }
                }
            }
        }
    }
}

fn contents(sections: &[(&ScenarioReport, Section)]) -> Markup {
    html! {
        nav aria-label="Contents" {
            @for (scenario, section) in sections {
                div {
                    a href={ "#" (id(scenario)) } { (scenario.name) }
                    ul {
                        @for (index, figure) in section.figures.iter().enumerate() {
                            li { a href={ "#" (figure_id(scenario, index)) } { (figure.title) } }
                        }
                    }
                }
            }
        }
    }
}

fn part(scenario: &ScenarioReport, section: &Section, figures: &[Markup]) -> Markup {
    let settings = serde_json::to_string_pretty(&scenario.settings).unwrap_or_default();
    html! {
        section id=(id(scenario)) {
            h2 { (scenario.name) }
            @if let Some(reason) = &scenario.partial {
                p class="alarm" { strong { "PARTIAL" } ": this scenario ended early, and shows what was measured until then: " (reason) }
            }
            @if !section.warnings.is_empty() {
                ul class="alarm" { @for warning in &section.warnings { li { (warning) } } }
            }
            details { summary { "settings" } pre { (settings) } }
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

fn figure_id(scenario: &ScenarioReport, index: usize) -> String {
    format!("{}-{index}", id(scenario))
}

/// The scenario's name, as links can have it.
fn id(scenario: &ScenarioReport) -> String {
    let plain = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_lowercase(),
        false => '-',
    };
    format!(
        "scenario-{}",
        scenario.name.chars().map(plain).collect::<String>()
    )
}
