//! The table: for each metric both medians, and the ratio with its range over the rounds.

use std::{fmt, fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::facts;

/// One contender's measurements in one round.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Microseconds of CPU per request.
    pub(crate) cpu_per_request: f64,
    /// Requests a second.
    pub(crate) throughput: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    /// Microseconds.
    pub(crate) p99: f64,
    /// Microseconds of CPU per event.
    pub(crate) cpu_per_event: f64,
    /// Megabytes resident with all streams open.
    pub(crate) streams_memory: f64,
    /// Megabytes resident after the request load.
    pub(crate) loaded_memory: f64,
    /// Microseconds that a request takes longer than without a proxy.
    pub(crate) added_latency: f64,
    /// Share of its core that the contender used under the request load; if it is well below 1, the
    /// load was the bottleneck.
    pub(crate) busy: f64,
}

struct Metric {
    name: &'static str,
    decimals: usize,
    target: Target,
    read: fn(&Sample) -> f64,
}

enum Target {
    None,
    /// Upper limit of the median ratio.
    Ratio(f64),
    /// Upper limit of the candidate's own median.
    Own(f64),
}

/// The rows, in order, with the project's goals as limits.
const METRICS: [Metric; 8] = [
    Metric {
        name: "CPU per request, 32 connections (µs)",
        decimals: 1,
        target: Target::Ratio(1.35),
        read: |s| s.cpu_per_request,
    },
    Metric {
        name: "throughput, 32 connections (requests/s)",
        decimals: 0,
        target: Target::None,
        read: |s| s.throughput,
    },
    Metric {
        name: "latency p50, 32 connections (µs)",
        decimals: 0,
        target: Target::None,
        read: |s| s.p50,
    },
    Metric {
        name: "latency p99, 32 connections (µs)",
        decimals: 0,
        target: Target::None,
        read: |s| s.p99,
    },
    Metric {
        name: "CPU per SSE event, 1,000 streams (µs)",
        decimals: 1,
        target: Target::Ratio(1.25),
        read: |s| s.cpu_per_event,
    },
    Metric {
        name: "resident, 1,000 SSE streams (MB)",
        decimals: 1,
        target: Target::Own(80.0),
        read: |s| s.streams_memory,
    },
    Metric {
        name: "resident after the request load (MB)",
        decimals: 1,
        target: Target::None,
        read: |s| s.loaded_memory,
    },
    Metric {
        name: "added latency, 1 connection, p50 (µs)",
        decimals: 1,
        target: Target::Ratio(1.5),
        read: |s| s.added_latency,
    },
];

/// The baseline, which determines the goals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Yardstick {
    /// The goals are those of [`METRICS`].
    Nginx,
    /// Keyside with the key in its store, this build or another: metrics with a limit for nginx's
    /// ratio must not differ beyond noise.
    Keyside,
}

/// All rounds.
pub(crate) struct Report {
    baseline: String,
    candidate: String,
    yardstick: Yardstick,
    sdk: bool,
    date: String,
    rounds: Vec<(Sample, Sample)>,
    noise: f64,
}

impl Report {
    /// A report without rounds, on the second against the first.
    pub(crate) fn new(
        [baseline, candidate]: [String; 2],
        yardstick: Yardstick,
        sdk: bool,
    ) -> Result<Self> {
        let date = Command::new("date")
            .arg("+%F")
            .output()
            .context("date does not run")?;
        let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
        Ok(Self {
            baseline,
            candidate,
            yardstick,
            sdk,
            date,
            rounds: Vec::new(),
            noise: 0.0,
        })
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, baseline: Sample, candidate: Sample, noise: f64) {
        self.rounds.push((baseline, candidate));
        self.noise = self.noise.max(noise);
    }

    /// The name of the markers around its table.
    pub(crate) fn markers(&self) -> &'static str {
        match (self.yardstick, self.sdk) {
            (Yardstick::Nginx, false) => "bench",
            (Yardstick::Nginx, true) => "bench-sdk",
            (Yardstick::Keyside, false) => "bench-declared",
            (Yardstick::Keyside, true) => "bench-declared-sdk",
        }
    }

    /// Rounds so far.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    fn row(&self, metric: &Metric) -> String {
        let baseline = median(
            self.rounds
                .iter()
                .map(|(baseline, _)| (metric.read)(baseline)),
        );
        let candidate = median(
            self.rounds
                .iter()
                .map(|(_, candidate)| (metric.read)(candidate)),
        );
        let ratios = sorted(
            self.rounds
                .iter()
                .map(|(baseline, candidate)| (metric.read)(candidate) / (metric.read)(baseline)),
        );
        let ratio = median(ratios.iter().copied());
        let (Metric { name, decimals, .. }, low, high) =
            (metric, ratios[0], ratios[ratios.len() - 1]);
        let verdict = match self.yardstick {
            Yardstick::Nginx => metric.target.verdict(ratio, candidate),
            Yardstick::Keyside => metric.target.within_noise(low),
        };
        format!(
            "| {name} | {baseline:.decimals$} | {candidate:.decimals$} | **{ratio:.2}** | {low:.2} – {high:.2} | {verdict} |"
        )
    }

    /// Both contenders' shares of the core under the request load.
    fn busy(&self) -> [f64; 2] {
        [
            median(self.rounds.iter().map(|(baseline, _)| baseline.busy)),
            median(self.rounds.iter().map(|(_, candidate)| candidate.busy)),
        ]
    }
}

impl Target {
    fn verdict(&self, ratio: f64, own: f64) -> String {
        let verdict = |met| if met { "met" } else { "**missed**" };
        match self {
            Self::None => String::new(),
            Self::Ratio(limit) => format!("ratio ≤ {limit}: {}", verdict(ratio <= *limit)),
            Self::Own(limit) => format!("≤ {limit:.0} MB: {}", verdict(own <= *limit)),
        }
    }
}

impl Target {
    /// Whether at least one round, the one with the ratio `low`, shows no difference.
    fn within_noise(&self, low: f64) -> String {
        match self {
            Self::Ratio(_) if low <= 1.0 => "min ≤ 1: met".to_owned(),
            Self::Ratio(_) => "min ≤ 1: **missed**".to_owned(),
            Self::None | Self::Own(_) => String::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = if self.sdk {
            "the headers of OpenAI's Python SDK"
        } else {
            "the headers of a plain client"
        };
        writeln!(
            out,
            "{} against {}, {}, {} rounds, {headers}.",
            self.candidate,
            self.baseline,
            self.date,
            self.rounds()
        )?;
        writeln!(
            out,
            "Machine: {}. Other processes took at most {:.0} % of a core;",
            facts::machine(),
            self.noise * 100.0
        )?;
        writeln!(
            out,
            "under the request load the two used {:.0} % and {:.0} % of theirs.\n",
            self.busy()[0] * 100.0,
            self.busy()[1] * 100.0,
        )?;
        writeln!(
            out,
            "| | {} | {} | ratio, median | min – max | goal |",
            self.baseline, self.candidate
        )?;
        writeln!(out, "|---|---:|---:|---:|---:|---|")?;
        for metric in &METRICS {
            writeln!(out, "{}", self.row(metric))?;
        }
        Ok(())
    }
}

/// One line on one round.
pub(crate) fn brief(baseline: &Sample, candidate: &Sample, noise: f64) -> String {
    let both = |read: fn(&Sample) -> f64| format!("{:.1}/{:.1}", read(candidate), read(baseline));
    format!(
        "CPU/request {} us, CPU/event {} us, {} MB, added {} us, {} requests/s, busy {} %, others {:.0} %",
        both(|s| s.cpu_per_request),
        both(|s| s.cpu_per_event),
        both(|s| s.streams_memory),
        both(|s| s.added_latency),
        both(|s| s.throughput),
        both(|s| s.busy * 100.0),
        noise * 100.0,
    )
}

/// Replaces the text between the markers called `name` in `file`.
pub(crate) fn write(file: &Path, name: &str, text: &str) -> Result<()> {
    let page =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let page = between_markers(&page, name, text)
        .with_context(|| format!("{} has no markers called {name}", file.display()))?;
    Ok(fs::write(file, page)?)
}

fn between_markers(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- {name}:begin -->"),
        format!("<!-- {name}:end -->"),
    );
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim()))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values = sorted(values);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_markers_changes() {
        let page = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nz\n";
        let new = between_markers(page, "bench", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nz\n");
        assert_eq!(between_markers("nothing", "bench", "new"), None);
    }

    #[test]
    fn goals_depend_on_the_baseline() {
        let row = |yardstick, ratios: [f64; 3]| {
            let names = ["one".to_owned(), "other".to_owned()];
            let mut report = Report::new(names, yardstick, false).unwrap();
            for ratio in ratios {
                let sample = |cpu_per_request| Sample {
                    cpu_per_request,
                    ..Sample::default()
                };
                report.add(sample(10.0), sample(10.0 * ratio), 0.0);
            }
            report.row(&METRICS[0])
        };
        for (yardstick, ratios, goal) in [
            (Yardstick::Nginx, [1.2, 1.3, 1.4], "ratio ≤ 1.35: met |"),
            (Yardstick::Keyside, [0.99, 1.01, 1.02], "min ≤ 1: met |"),
            (Yardstick::Keyside, [1.1, 1.2, 1.3], "min ≤ 1: **missed** |"),
        ] {
            let row = row(yardstick, ratios);
            assert!(row.ends_with(goal), "{row}");
        }
    }

    #[test]
    fn a_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
        assert_eq!(median([9.0, 1.0, 3.0].into_iter()), 3.0);
    }
}
