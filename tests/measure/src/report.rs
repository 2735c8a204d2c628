//! The figures, their ratios, and their change since an earlier run.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::cases::FLOOR;

/// A figure as its key in the JSON, and as a column of the table.
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    title: &'static str,
    /// How many of the figure's unit make one of the table's.
    scale: f64,
}

pub(crate) const SIZE: Metric = metric("size_bytes", "size, MB", 1e6);
pub(crate) const FIRST_POLL: Metric = metric("first_poll_us", "first poll, ms", 1e3);
pub(crate) const FIRST_ANSWER: Metric = metric("first_answer_us", "first answer, ms", 1e3);
pub(crate) const WARM_CPU: Metric = metric("warm_cpu_us", "warm CPU, ms", 1e3);
pub(crate) const PEAK_RSS: Metric = metric("peak_rss_kib", "peak RSS, MiB", 1024.0);
pub(crate) const POLL_INSTRUCTIONS: Metric =
    metric("first_poll_instructions", "first poll, M instructions", 1e6);
pub(crate) const ANSWER_INSTRUCTIONS: Metric =
    metric("first_answer_instructions", "first answer, M instructions", 1e6);
pub(crate) const WARM_INSTRUCTIONS: Metric =
    metric("warm_instructions", "warm, M instructions", 1e6);

const METRICS: [Metric; 8] = [
    SIZE,
    FIRST_POLL,
    FIRST_ANSWER,
    WARM_CPU,
    PEAK_RSS,
    POLL_INSTRUCTIONS,
    ANSWER_INSTRUCTIONS,
    WARM_INSTRUCTIONS,
];

const fn metric(key: &'static str, title: &'static str, scale: f64) -> Metric {
    Metric { key, title, scale }
}

/// What was measured of one binary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Figure {
    /// The same in every run, or nearly so: bytes, instructions.
    Count(u64),
    /// Different in every run.
    Spread { min: u64, median: u64, max: u64 },
}

impl Figure {
    /// The spread of the runs; `None` if there are none.
    pub(crate) fn of_runs(mut runs: Vec<u64>) -> Option<Self> {
        runs.sort_unstable();
        let (min, max) = (*runs.first()?, *runs.last()?);
        let (lower, upper) = (runs[(runs.len() - 1) / 2], runs[runs.len() / 2]);
        Some(Self::Spread { min, median: lower.midpoint(upper), max })
    }

    /// What ratios and changes are made of: of a spread the least, which other processes disturb
    /// least.
    #[expect(clippy::cast_precision_loss, reason = "no figure comes near 2^53")]
    fn value(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Spread { min, .. } => min as f64,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "no figure comes near 2^53")]
    fn show(self, scale: f64) -> String {
        let show = |value: u64| format!("{:.2}", value as f64 / scale);
        match self {
            Self::Count(count) => show(count),
            Self::Spread { min, median, max } => {
                format!("{}/{}/{}", show(min), show(median), show(max))
            }
        }
    }
}

/// The figures of one binary, by the keys of their metrics.
pub(crate) type Figures = BTreeMap<String, Figure>;

/// What was measured in one run, and on what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// How many processes wanted to run, on average of the minute before; more than processors make
    /// the times worthless.
    pub(crate) load: f64,
    pub(crate) runs: usize,
    pub(crate) warm_invocations: usize,
    /// By function; the floor is one of them.
    pub(crate) figures: BTreeMap<String, Figures>,
    /// By function: each figure, or the least of its runs, over the floor's.
    #[serde(default, skip_deserializing)]
    pub(crate) ratios: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What makes figures comparable.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) arch: String,
    pub(crate) cpus: usize,
    pub(crate) rustc: Option<String>,
    pub(crate) valgrind: Option<String>,
}

/// Each figure over the floor's.
pub(crate) fn ratios(
    figures: &BTreeMap<String, Figures>,
) -> BTreeMap<String, BTreeMap<String, f64>> {
    let Some(floor) = figures.get(FLOOR.function) else {
        return BTreeMap::new();
    };
    let of_floor = |(key, figure): (&String, &Figure)| {
        let floor = floor.get(key)?.value();
        (floor > 0.0).then(|| (key.clone(), (figure.value() / floor * 1000.0).round() / 1000.0))
    };
    let of_function = |(function, figures): (&String, &Figures)| {
        (function.clone(), figures.iter().filter_map(of_floor).collect())
    };
    figures.iter().filter(|(function, _)| *function != FLOOR.function).map(of_function).collect()
}

impl Report {
    /// A table in Markdown, with the ratios to the floor in brackets.
    pub(crate) fn table(&self) -> String {
        let shown = |metric: &&Metric| {
            self.figures.values().any(|figures| figures.contains_key(metric.key))
        };
        let metrics: Vec<_> = METRICS.iter().filter(shown).collect();
        let titles: Vec<_> = metrics.iter().map(|metric| metric.title).collect();
        let mut table =
            format!("| | {} |\n|---|{}\n", titles.join(" | "), "--:|".repeat(titles.len()));
        for (function, figures) in &self.figures {
            let cell = |metric: &&Metric| {
                let figure = figures.get(metric.key)?.show(metric.scale);
                let ratio = self.ratios.get(function).and_then(|ratios| ratios.get(metric.key));
                Some(ratio.map_or(figure.clone(), |ratio| format!("{figure} ({ratio:.2})")))
            };
            let cells: Vec<_> =
                metrics.iter().map(|metric| cell(metric).unwrap_or_default()).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| {function} | {} |", cells.join(" | "));
        }
        table
    }
}

/// How a figure has changed.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) function: String,
    pub(crate) metric: &'static str,
    pub(crate) percent: f64,
    /// Whether a bound applies: times and memory differ from run to run, and are shown only.
    pub(crate) is_bound: bool,
}

/// Compares each figure with the earlier one.
///
/// # Errors
/// If a function or a count has no earlier figure: a bound on nothing always holds.
pub(crate) fn compare(earlier: &Report, now: &Report) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    for (function, figures) in &now.figures {
        for Metric { key, .. } in METRICS {
            let Some(figure) = figures.get(key) else {
                continue;
            };
            let before = earlier.figures.get(function).and_then(|figures| figures.get(key));
            let before = before.ok_or_else(|| format!("{function} has no earlier {key}"))?.value();
            changes.push(Change {
                function: function.clone(),
                metric: key,
                percent: (figure.value() / before - 1.0) * 100.0,
                is_bound: matches!(figure, Figure::Count(_)),
            });
        }
        for (key, _) in earlier.figures.get(function).into_iter().flatten() {
            if !figures.contains_key(key) {
                return Err(format!("{function} has an earlier {key}, and none now"));
            }
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(function: &[(&str, Figure)], floor: &[(&str, Figure)]) -> Report {
        let figures = |list: &[(&str, Figure)]| {
            list.iter().map(|(key, one)| ((*key).to_owned(), *one)).collect()
        };
        let figures = BTreeMap::from([
            ("api".to_owned(), figures(function)),
            ("floor".to_owned(), figures(floor)),
        ]);
        let machine = Machine { arch: "x86_64".to_owned(), cpus: 2, rustc: None, valgrind: None };
        let ratios = ratios(&figures);
        Report { machine, load: 0.5, runs: 3, warm_invocations: 1, figures, ratios }
    }

    fn spread(min: u64) -> Figure {
        Figure::Spread { min, median: 800, max: 900 }
    }

    #[test]
    fn an_even_number_of_runs_has_its_median_between_two() {
        let odd = Figure::of_runs(vec![9, 1, 4]);
        assert_eq!(odd, Some(Figure::Spread { min: 1, median: 4, max: 9 }));
        let even = Figure::of_runs(vec![10, 2, 4, 8]);
        assert_eq!(even, Some(Figure::Spread { min: 2, median: 6, max: 10 }));
        assert_eq!(Figure::of_runs(Vec::new()), None);
    }

    #[test]
    fn ratios_are_to_the_floor_and_of_the_least() {
        let size = |bytes| ("size_bytes", Figure::Count(bytes));
        let report = report(
            &[size(300), ("first_poll_us", spread(50)), ("warm_cpu_us", spread(7))],
            &[size(200), ("first_poll_us", spread(20))],
        );
        let expected = [("first_poll_us".to_owned(), 2.5), ("size_bytes".to_owned(), 1.5)];
        assert_eq!(report.ratios, BTreeMap::from([("api".to_owned(), expected.into())]));
        let row = "| api | 0.00 (1.50) | 0.05/0.80/0.90 (2.50) | 0.01/0.80/0.90 |";
        assert!(report.table().contains(row), "{}", report.table());
    }

    #[test]
    fn a_report_reads_back() {
        let report = report(&[("first_poll_us", spread(50))], &[("first_poll_us", spread(20))]);
        let text = serde_json::to_string(&report).unwrap();
        let read: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(read.figures, report.figures);
        assert!(text.contains(r#""ratios":{"api":{"first_poll_us":2.5}}"#), "{text}");
    }

    #[test]
    fn counts_are_bound_and_times_are_shown() {
        let figures =
            |size, poll| [("size_bytes", Figure::Count(size)), ("first_poll_us", spread(poll))];
        let (earlier, now) = (report(&figures(100, 10), &[]), report(&figures(106, 20), &[]));
        let changes = compare(&earlier, &now).unwrap();
        let rounded = |change: &Change| (change.metric, change.percent.round(), change.is_bound);
        let changes: Vec<_> = changes.iter().map(rounded).collect();
        assert_eq!(changes, [("size_bytes", 6.0, true), ("first_poll_us", 100.0, false)]);
    }

    #[test]
    fn a_figure_that_is_missing_is_an_error() {
        let (with, without) = (report(&[("size_bytes", Figure::Count(1))], &[]), report(&[], &[]));
        assert!(compare(&without, &with).unwrap_err().contains("size_bytes"));
        assert!(compare(&with, &without).unwrap_err().contains("size_bytes"));
    }
}
