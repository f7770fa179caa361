//! What a report shows, between the scenarios that know what was measured and the renderers that know how it looks.
//!
//! A scenario gives a [`Section`]. Terminals print its warnings and tables, the page shows all of it, and its
//! distributions become `.hgrm` files. It knows neither HTML nor terminals.

use serde::{Serialize, Serializer};

use super::distribution::Distribution;

/// What one scenario shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Why figures must not be used, or say less than they seem to: shown before them.
    pub warnings: Vec<String>,
    /// In the order of reading; tables first, since terminals and printers show them best.
    pub figures: Vec<Figure>,
    /// Whole distributions and what they are of: server, case, direction or operation. The name becomes a file's.
    pub distributions: Vec<(String, Distribution)>,
}

/// One table or plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What is shown, unique in the section.
    pub title: String,
    /// What it means and how it misleads, in a sentence or two.
    pub caption: String,
    /// The table or the plot.
    pub body: Body,
}

/// How a figure shows what it shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Rows of cells.
    Table(Table),
    /// Anything with axes.
    Plot(Plot),
}

/// Rows of cells, all as long as the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// So many columns at the beginning are words; the others are numbers.
    pub words: usize,
    /// Cells as they are shown, with their units.
    pub rows: Vec<Vec<String>>,
}

/// What tables show for a figure that there is not.
pub const ABSENT: &str = "–";

/// Series over two axes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plot {
    /// How series are drawn.
    pub kind: Kind,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Events across the x axis: faults on a time line.
    pub marks: Vec<Mark>,
    /// Thresholds across the y axis: a link's one-way delay.
    pub levels: Vec<Mark>,
}

/// How series are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Points joined by lines, in the order of x.
    Lines,
    /// Points alone.
    Scatter,
    /// A bar for each point, grouped by the points' labels; x is not looked at. See [`Point::bar`].
    Bars,
}

/// An axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Axis {
    /// What it is of.
    pub label: String,
    /// Behind numbers: `ms`. Empty without one.
    pub unit: String,
    /// How values are laid out.
    pub scale: Scale,
}

/// How values are laid out on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; points that are not above zero are left out.
    Log,
    /// Values are 1/(1 - quantile) on a logarithmic scale, labelled as percentiles. See [`Series::percentiles`].
    Percentile,
}

/// What is drawn in one colour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The server that it is of: it decides the colour, which is the same in all figures. Series of one server in one
    /// plot differ by their dashes.
    pub server: String,
    /// Its name in the legend, unique in the plot.
    pub name: String,
    /// What is drawn.
    pub points: Vec<Point>,
}

/// One value. In JSON it is a list of x, y, and the label if there is one: pages have tens of thousands.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// How much.
    pub y: f64,
    /// The least and the most of the measurements that `y` is the median of.
    pub spread: Option<(f64, f64)>,
    /// What it is of, where the axes do not say.
    pub label: Option<String>,
}

/// A line across the plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// Where on the axis.
    pub at: f64,
    /// What is there, in a word or two.
    pub label: String,
}

/// Points that a series over time is drawn with at most; see [`Series::thinned`].
pub const POINTS_MAX: usize = 2_000;

impl Figure {
    /// A plot.
    #[must_use]
    pub fn plot(title: impl Into<String>, caption: impl Into<String>, plot: Plot) -> Self {
        let (title, caption) = (title.into(), caption.into());
        Self {
            title,
            caption,
            body: Body::Plot(plot),
        }
    }

    /// A table.
    #[must_use]
    pub fn table(title: impl Into<String>, caption: impl Into<String>, table: Table) -> Self {
        let (title, caption) = (title.into(), caption.into());
        Self {
            title,
            caption,
            body: Body::Table(table),
        }
    }
}

impl Table {
    /// An empty table; the first `words` columns are words, the others numbers.
    #[must_use]
    pub fn new<const N: usize>(words: usize, header: [&str; N]) -> Self {
        Self {
            header: header.map(str::to_owned).to_vec(),
            words,
            rows: Vec::new(),
        }
    }

    /// Adds a row, which must be as long as the header.
    pub fn push<const N: usize>(&mut self, row: [String; N]) {
        debug_assert_eq!(N, self.header.len(), "a row is as long as the header");
        self.rows.push(row.to_vec());
    }

    /// Adds a row of which only the first cells are known.
    pub fn push_known(&mut self, mut cells: Vec<String>) {
        cells.resize(self.header.len(), ABSENT.to_owned());
        self.rows.push(cells);
    }
}

impl Plot {
    /// A plot without marks.
    #[must_use]
    pub fn new(kind: Kind, x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self {
            kind,
            x,
            y,
            series,
            marks: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// The same plot, with events across its x axis.
    #[must_use]
    pub fn with_marks(self, marks: Vec<Mark>) -> Self {
        Self { marks, ..self }
    }

    /// The same plot, with thresholds across its y axis.
    #[must_use]
    pub fn with_levels(self, levels: Vec<Mark>) -> Self {
        Self { levels, ..self }
    }
}

impl Axis {
    /// An even axis.
    #[must_use]
    pub fn linear(label: &str, unit: &str) -> Self {
        Self::new(label, unit, Scale::Linear)
    }

    /// A logarithmic axis.
    #[must_use]
    pub fn log(label: &str, unit: &str) -> Self {
        Self::new(label, unit, Scale::Log)
    }

    /// Percentiles, denser towards the worst.
    #[must_use]
    pub fn percentile() -> Self {
        Self::new("percentile", "", Scale::Percentile)
    }

    /// A logarithmic axis for the y values of `series` when they are all above zero and wide apart, else an even one.
    #[must_use]
    pub fn fitting(label: &str, unit: &str, series: &[Series]) -> Self {
        let values = series.iter().flat_map(|series| &series.points);
        let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), point| {
            (least.min(point.y), most.max(point.y))
        });
        match least > 0.0 && most > LOG_FROM_RATIO * least {
            true => Self::log(label, unit),
            false => Self::linear(label, unit),
        }
    }

    fn new(label: &str, unit: &str, scale: Scale) -> Self {
        Self {
            label: label.to_owned(),
            unit: unit.to_owned(),
            scale,
        }
    }
}

/// Values this far apart leave the least of them without shape on an even axis.
const LOG_FROM_RATIO: f64 = 8.0;

impl Series {
    /// A series of `(x, y)`.
    #[must_use]
    pub fn new(
        server: &str,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        Self {
            server: server.to_owned(),
            name: name.into(),
            points: points.into_iter().map(|(x, y)| Point::new(x, y)).collect(),
        }
    }

    /// A series for each server, named like it, of points in the order in which they come.
    #[must_use]
    pub fn by_server<'a>(points: impl IntoIterator<Item = (&'a str, Point)>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (server, point) in points {
            match all.iter_mut().find(|series| series.server == server) {
                Some(series) => series.points.push(point),
                None => all.push(Self {
                    points: vec![point],
                    ..Self::new(server, server, [])
                }),
            }
        }
        all
    }

    /// A distribution over [`Axis::percentile`]. The worst stands where one of so many is, since 100 % is infinitely far.
    #[must_use]
    pub fn percentiles(server: &str, name: impl Into<String>, distribution: &Distribution) -> Self {
        let end = (distribution.count as f64).max(1.0);
        let points = distribution.points.iter();
        let points = points.map(|point| ((1.0 / (1.0 - point.quantile)).min(end), point.ms));
        Self::new(server, name, points)
    }

    /// The same series with at most [`POINTS_MAX`] points: the highest of each stretch, so that no peak is lost. What
    /// lies below the peaks is lost, and the caption must say so.
    #[must_use]
    pub fn thinned(mut self) -> Self {
        let stretch = self.points.len().div_ceil(POINTS_MAX).max(1);
        let highest = |points: &[Point]| {
            let points = points.iter();
            points.max_by(|a, b| a.y.total_cmp(&b.y)).cloned()
        };
        self.points = self.points.chunks(stretch).filter_map(highest).collect();
        self
    }

    /// The same series over time, in seconds, with a line that breaks off where nothing is known for a while.
    #[must_use]
    pub fn with_gaps(mut self) -> Self {
        let gaps = self.points.windows(2).filter_map(|pair| {
            let is_gap = pair[1].x - pair[0].x > GAP_SECONDS;
            is_gap.then(|| Point::new(f64::midpoint(pair[0].x, pair[1].x), f64::NAN))
        });
        let gaps: Vec<Point> = gaps.collect();
        self.points.extend(gaps);
        self.points.sort_by(|a, b| a.x.total_cmp(&b.x));
        self
    }
}

/// Beyond this, in seconds, nothing is known of what lies between two points over time.
const GAP_SECONDS: f64 = 1.5;

impl Point {
    /// A value at a place.
    #[must_use]
    pub fn new(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            spread: None,
            label: None,
        }
    }

    /// A bar of the group `label`, with the least and the most that was measured.
    #[must_use]
    pub fn bar(label: impl Into<String>, y: f64, spread: Option<(f64, f64)>) -> Self {
        Self {
            x: 0.0,
            y,
            spread,
            label: Some(label.into()),
        }
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (x, y) = (short(self.x), short(self.y));
        match &self.label {
            None => (x, y).serialize(serializer),
            Some(label) => (x, y, label).serialize(serializer),
        }
    }
}

/// With six digits: no screen shows more.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::histogram;

    #[test]
    fn thinning_keeps_the_peaks() {
        let flat = (0..10_000).map(|at| (f64::from(at), 1.0));
        let mut series = Series::new("a", "a", flat);
        series.points[7_777].y = 50.0;
        let thinned = series.thinned();
        assert!(thinned.points.len() <= POINTS_MAX);
        assert!(thinned.points.contains(&Point::new(7_777.0, 50.0)));
        assert!(thinned.points.is_sorted_by(|a, b| a.x < b.x));
        assert!(Series::new("a", "a", []).thinned().points.is_empty());
    }

    #[test]
    fn points_are_short_in_json() {
        let json = |point: &Point| serde_json::to_string(point).unwrap();
        assert_eq!(
            json(&Point::new(1.000_074_556, 123_456.789)),
            "[1.00007,123457.0]"
        );
        assert_eq!(json(&Point::bar("set", 0.5, None)), "[0.0,0.5,\"set\"]");
        assert_eq!(json(&Point::new(f64::INFINITY, 1.0)), "[null,1.0]");
    }

    #[test]
    fn servers_have_a_series_each() {
        let bar = |value| Point::bar("set", value, None);
        let series = Series::by_server([("a", bar(1.0)), ("b", bar(2.0)), ("a", bar(3.0))]);
        let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(series[0].points, [bar(1.0), bar(3.0)]);
    }

    #[test]
    fn percentiles_end_at_the_count() {
        let mut times = histogram();
        (1..=1_000_u64).for_each(|millis| times.saturating_record(millis * 1_000_000));
        let series = Series::percentiles("a", "a", &Distribution::of(&times));
        let last = series.points.last().unwrap();
        assert_eq!(last.x, 1_000.0);
        assert!((last.y - 1_000.0).abs() < 2.0);
        assert!(series.points.iter().all(|point| point.x.is_finite()));
    }

    #[test]
    fn wide_values_have_a_logarithmic_axis() {
        let of = |points: &[(f64, f64)]| {
            Axis::fitting(
                "lag",
                "ms",
                &[Series::new("a", "a", points.iter().copied())],
            )
            .scale
        };
        assert_eq!(of(&[(0.0, 40.0), (1.0, 60.0)]), Scale::Linear);
        assert_eq!(of(&[(0.0, 40.0), (1.0, 900.0)]), Scale::Log);
        assert_eq!(of(&[(0.0, 0.0), (1.0, 900.0)]), Scale::Linear);
        assert_eq!(of(&[]), Scale::Linear);
    }
}
