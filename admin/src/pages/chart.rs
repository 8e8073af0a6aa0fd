//! Small charts of a figure a day, drawn here as SVG with a text alternative: the context of the
//! macro `chart` of `admin/templates/macros.html`.

use jiff::civil::Date;

use super::number::none;

pub(super) struct Chart {
    pub(super) title: &'static str,
    /// The figure of all days together.
    pub(super) total: String,
    /// What the drawing shows, in words.
    pub(super) summary: String,
    /// What is drawn in the second shade.
    pub(super) second: &'static str,
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<Line>,
    pub(super) axis: Vec<String>,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
}

/// A rectangle of the drawing.
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    pub(super) second: bool,
    pub(super) tip: String,
}

/// A polyline of the drawing.
pub(super) struct Line {
    pub(super) points: String,
    pub(super) second: bool,
}

/// A row of the table below the drawing.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<String>,
}

/// Two figures of a day.
pub(super) struct Day {
    pub(super) date: Date,
    /// The figure, and the one in the second shade; `None` where there is none.
    pub(super) figures: [Option<u64>; 2],
}

/// The words of a chart.
pub(super) struct Words {
    pub(super) title: &'static str,
    pub(super) total: String,
    pub(super) second: &'static str,
    /// The names of the two figures.
    pub(super) names: [&'static str; 2],
    /// Writes a figure.
    pub(super) write: fn(u64) -> String,
}

impl Chart {
    /// Two figures on top of each other for each day.
    pub(super) fn stacked(days: &[Day], words: Words) -> Self {
        let sum = |day: &Day| day.figures.iter().flatten().sum::<u64>();
        let largest = days.iter().map(sum).max().unwrap_or_default();
        let slot = slot(days);
        let mut bars = Vec::new();
        for (place, day) in days.iter().enumerate() {
            let mut top = HEIGHT;
            for (figure, second) in day.figures.iter().zip([false, true]) {
                let figure = figure.unwrap_or_default();
                let height = HEIGHT - y(figure, largest);
                top -= height;
                if figure > 0 {
                    bars.push(Bar {
                        x: number((place as f64 + GAP / 2.0) * slot),
                        y: number(top),
                        width: number((1.0 - GAP) * slot),
                        height: number(height),
                        second,
                        tip: words.tip(day),
                    });
                }
            }
        }
        Self {
            bars,
            ..Self::undrawn(days, words)
        }
    }

    /// Two lines, interrupted on days without a figure.
    pub(super) fn lines(days: &[Day], words: Words) -> Self {
        let figures = days.iter().flat_map(|day| day.figures).flatten();
        let largest = figures.max().unwrap_or_default();
        let [main, second] = [0, 1].map(|index| {
            let figures: Vec<_> = days.iter().map(|day| day.figures[index]).collect();
            stretches(&figures, slot(days), largest)
        });
        // What is drawn last is on top.
        let lines = second.into_iter().map(|points| (points, true));
        let lines = lines.chain(main.into_iter().map(|points| (points, false)));
        Self {
            lines: lines
                .map(|(points, second)| Line { points, second })
                .collect(),
            ..Self::undrawn(days, words)
        }
    }

    fn undrawn(days: &[Day], words: Words) -> Self {
        let row = |day: &Day| Row {
            name: name(day.date),
            cells: day.figures.map(|figure| words.written(figure)).into(),
        };
        let ends = [days.first(), days.last()].into_iter().flatten();
        let mut axis: Vec<_> = ends.map(|day| name(day.date)).collect();
        axis.dedup();
        let tips: Vec<_> = days.iter().map(|day| words.tip(day)).collect();
        Self {
            summary: format!("{}, {}. {}.", words.title, words.total, tips.join("; ")),
            rows: days.iter().map(row).collect(),
            title: words.title,
            columns: vec!["Day", words.names[0], words.names[1]],
            second: words.second,
            total: words.total,
            bars: Vec::new(),
            lines: Vec::new(),
            axis,
        }
    }
}

impl Words {
    fn written(&self, figure: Option<u64>) -> String {
        figure.map_or_else(none, self.write)
    }

    /// `26 Nov: succeeded 12, failed 3`.
    fn tip(&self, day: &Day) -> String {
        let named = self.names.iter().zip(day.figures);
        let named = named.map(|(name, figure)| {
            let name = name.to_lowercase();
            format!("{name} {}", self.written(figure))
        });
        let named: Vec<_> = named.collect();
        format!("{}: {}", name(day.date), named.join(", "))
    }
}

/// The points of each unbroken run of figures. A single one is a dash as wide as its day.
fn stretches(figures: &[Option<u64>], slot: f64, largest: u64) -> Vec<String> {
    let mut stretches = Vec::new();
    let mut points: Vec<(f64, f64)> = Vec::new();
    // The end interrupts too.
    let ended = figures.iter().copied().chain([None]);
    for (place, figure) in ended.enumerate() {
        match figure {
            Some(figure) => points.push(((place as f64 + 0.5) * slot, y(figure, largest))),
            None => {
                if let &[(x, y)] = points.as_slice() {
                    let half = (1.0 - GAP) / 2.0 * slot;
                    points = vec![(x - half, y), (x + half, y)];
                }
                if !points.is_empty() {
                    stretches.push(written(&points));
                }
                points.clear();
            }
        }
    }
    stretches
}

fn written(points: &[(f64, f64)]) -> String {
    let points = points.iter();
    let points: Vec<_> = points
        .map(|(x, y)| format!("{},{}", number(*x), number(*y)))
        .collect();
    points.join(" ")
}

/// The width of a day.
fn slot(days: &[Day]) -> f64 {
    WIDTH / days.len().max(1) as f64
}

/// How far below the top a figure is.
fn y(figure: u64, largest: u64) -> f64 {
    HEIGHT - HEIGHT * figure as f64 / largest.max(1) as f64
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn name(date: Date) -> String {
    date.strftime("%-d %b").to_string()
}

/// The drawing's size, as in its `viewBox`.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 80.0;

/// The share of a day's width that is empty.
const GAP: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;

    fn days(figures: &[[Option<u64>; 2]]) -> Vec<Day> {
        let dates = jiff::civil::date(2026, 11, 27).series(jiff::Span::new().days(1));
        let figures = figures.iter().copied();
        let days = dates.zip(figures);
        days.map(|(date, figures)| Day { date, figures }).collect()
    }

    fn words() -> Words {
        Words {
            title: "Requests",
            total: "13 in total".to_owned(),
            second: "Grey: failed",
            names: ["Succeeded", "Failed"],
            write: |figure| figure.to_string(),
        }
    }

    #[test]
    fn a_stacked_chart_fills_its_height_with_the_largest_day() {
        let days = days(&[[Some(6), Some(2)], [Some(4), None], [None, None]]);
        let chart = Chart::stacked(&days, words());
        let drawn: Vec<_> = chart
            .bars
            .iter()
            .map(|bar| (&*bar.x, &*bar.y, &*bar.height, bar.second))
            .collect();
        assert_eq!(
            drawn,
            [
                ("12.0", "20.0", "60.0", false),
                ("12.0", "0.0", "20.0", true),
                ("92.0", "40.0", "40.0", false),
            ]
        );
        assert_eq!(chart.axis, ["27 Nov", "29 Nov"]);
        assert_eq!(chart.rows[1].cells, ["4", "–"]);
        assert_eq!(
            chart.summary,
            "Requests, 13 in total. 27 Nov: succeeded 6, failed 2; 28 Nov: succeeded 4, failed –; \
             29 Nov: succeeded –, failed –."
        );
    }

    #[test]
    fn a_line_is_interrupted_where_there_is_no_figure() {
        let days = days(&[
            [Some(10), None],
            [Some(20), None],
            [None, None],
            [Some(5), None],
        ]);
        let chart = Chart::lines(&days, words());
        let drawn: Vec<_> = chart.lines.iter().map(|line| &*line.points).collect();
        assert_eq!(drawn, ["30.0,40.0 90.0,0.0", "189.0,60.0 231.0,60.0"]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let chart = Chart::lines(&days(&[[None, None]]), words());
        assert_eq!((chart.lines.len(), chart.bars.len()), (0, 0));
        assert_eq!(chart.axis, ["27 Nov"]);
    }
}
