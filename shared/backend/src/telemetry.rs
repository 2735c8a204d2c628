//! Counts, as `CloudWatch` metrics in embedded metric format; never a person, never a text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use messenger::clock::SharedClock;

/// The namespace of the metrics.
pub const NAMESPACE: &str = "MessengerBackend";

/// Logs a panic by its place alone: its text may hold what a person wrote.
pub fn log_panics_by_place() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic");
    }));
}

/// Writes counts to where the functions' log goes.
///
/// Source: `CloudWatch`'s embedded metric format specification.
#[derive(Clone)]
pub struct Telemetry {
    clock: SharedClock,
    write: Arc<dyn Fn(&Value) + Send + Sync>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Writes one line of JSON per count to the standard output, which Lambda hands to `CloudWatch`.
    pub fn to_stdout(clock: SharedClock) -> Self {
        #[expect(
            clippy::print_stdout,
            reason = "this is how a function hands metrics to CloudWatch"
        )]
        Self::to(clock, |line| println!("{line}"))
    }

    /// Hands each count to a function.
    pub fn to(clock: SharedClock, write: impl Fn(&Value) + Send + Sync + 'static) -> Self {
        Self { clock, write: Arc::new(write) }
    }

    /// Counts one occurrence for a Page, with details that do not become dimensions.
    pub fn count(&self, metric: &str, page_id: &str, details: &[(&str, &str)]) {
        self.count_many(&[(metric, 1)], page_id, details);
    }

    /// Counts several things for a Page at once.
    pub fn count_many(&self, metrics: &[(&str, u64)], page_id: &str, details: &[(&str, &str)]) {
        let named: Vec<_> =
            metrics.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
        let mut line = json!({
            "_aws": {
                "Timestamp": self.clock.now().millis(),
                "CloudWatchMetrics": [
                    {"Namespace": NAMESPACE, "Dimensions": [["page"]], "Metrics": named},
                ],
            },
            "page": page_id,
        });
        let details: BTreeMap<_, _> = details.iter().copied().collect();
        for (name, value) in details {
            line[name] = value.into();
        }
        for (name, count) in metrics {
            line[*name] = (*count).into();
        }
        (self.write)(&line);
    }
}
