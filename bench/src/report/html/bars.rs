//! Bars from zero, in groups. They are HTML, so that each has its number beside it, without a script and on paper.

use maud::{Markup, html};

use super::colour::Colours;
use crate::report::figure::{Plot, Point, Series};

/// A bar per point, in the groups of the points' labels, as long as the longest allows.
pub(super) fn bars(plot: &Plot, colours: &Colours) -> Markup {
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let most = points().map(end).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let percent = |value: f64| 100.0 * value / most;
    let mut groups: Vec<&str> = Vec::new();
    for point in points() {
        if !groups.contains(&group(point)) {
            groups.push(group(point));
        }
    }
    html! {
        div class="bars" {
            @for name in groups {
                h4 { (name) }
                @for (series, point) in of_group(plot, name) {
                    div class="bar" title=[spread_text(point, &plot.y.unit)] {
                        span { (series.name) }
                        span class="track" {
                            span class={ "fill s" (colours.number(&series.server)) } style={ "width:" (format!("{:.2}", percent(point.y))) "%" } {}
                            @if let Some((least, most)) = point.spread {
                                span class="spread" style=(format!("left:{:.2}%;width:{:.2}%", percent(least), percent(most - least))) {}
                            }
                        }
                        span class="number" { (number(point.y)) " " (plot.y.unit) }
                    }
                }
            }
        }
    }
}

fn of_group<'a>(plot: &'a Plot, name: &str) -> Vec<(&'a Series, &'a Point)> {
    let all = plot
        .series
        .iter()
        .flat_map(|series| series.points.iter().map(move |point| (series, point)));
    all.filter(|(_, point)| group(point) == name).collect()
}

fn group(point: &Point) -> &str {
    point.label.as_deref().unwrap_or_default()
}

/// Where the bar or its spread ends.
fn end(point: &Point) -> f64 {
    point.spread.map_or(point.y, |(_, most)| most.max(point.y))
}

fn spread_text(point: &Point, unit: &str) -> Option<String> {
    let text = |(least, most)| format!("{} to {} {unit}", number(least), number(most));
    point.spread.map(text)
}

/// With about three digits.
fn number(value: f64) -> String {
    match value.abs() {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
