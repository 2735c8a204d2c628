//! Metrics for `CloudWatch`, in embedded metric format; they never contain a person or a text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use strum::{IntoStaticStr, VariantArray};

use messenger::clock::SharedClock;

/// The namespace of the metrics.
pub const NAMESPACE: &str = "MessengerBackend";

/// In the place of a Page's id, for what is counted for all Pages together.
pub const ALL_PAGES: &str = "all";

/// Something that is counted, by Page.
///
/// Each end of an outbox entry is counted once, with its purpose and its reason as details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Metric {
    /// An outbox entry ended as sent: Graph took every message of it, or an echo confirmed it.
    Sent,
    /// An outbox entry ended because the messaging windows do not allow it.
    Refused,
    /// An outbox entry ended because it cannot be sent.
    Failed,
    /// An outbox entry was cancelled before it was sent completely.
    Cancelled,
    /// Graph accepted one message of an entry.
    MessagesSent,
    /// A message was given to Graph that holds a template, button or field that this version does not
    /// know, as it is.
    UnknownContents,
    /// A sender action (such as a typing indicator) was skipped, as it never holds back a message.
    ActionsPassedOver,
    /// An approved utility template is sent instead of a message that the windows refuse.
    FallbackUsed,
    /// A message is sent again, because neither Graph nor an echo said what became of it.
    SentAgain,
    /// An echo confirmed a message whose outcome was unclear.
    ConfirmedByEcho,
    /// A request to Graph ended without a clear answer.
    Unclear,
    /// Sending for a Page was paused.
    PagePaused,
    /// Meta refused a message as outside the window although the table allowed it.
    WindowRecordWrong,
    /// Meta refused the window of an ad, which was tried and is closed now.
    AdWindowClosed,
    /// Another app controls the thread, so a message waits.
    ThreadTaken,
    /// Meta refuses something that only people can put right, or warns; counted for all Pages together,
    /// with the Page and the fault as details.
    AttentionNeeded,
    /// Meta warned that a person gets too many tagged messages, which may restrict the Page.
    AbuseWarning,
    /// The Page's token lacks a permission that a message needs.
    PermissionMissing,
    /// A person's profile could not be read from the table or from Meta, or not be kept.
    ProfileMissed,
    /// The webhook queued an event.
    EventsReceived,
    /// The webhook set aside an event for a Page that the application's secret does not name; counted
    /// for all such Pages together.
    ForeignEvents,
    /// The webhook queued an event of a kind that this version does not know.
    UnknownEvents,
    /// The webhook queued only the envelope of an event that is too large for the queue.
    TruncatedEvents,
    /// Meta warned or blocked a Page because of its policies; counted for all Pages together.
    PolicyEnforced,
    /// Meta's review rejected, paused or disabled a utility template; counted for all Pages together.
    TemplateUnusable,
    /// An event was delivered to one of the forward URLs.
    Forwarded,
    /// An attempt to deliver an event to a forward URL failed; it is repeated.
    ForwardFailed,
    /// An event was not forwarded because its URL is no longer configured, or its person is erased.
    ForwardDropped,
    /// A person's data were erased.
    Erased,
    /// A token ends soon, or has ended, and was not renewed; counted every day, for all Pages.
    TokenExpiresSoon,
    /// An erasure is not complete an hour after it was asked for; counted by each run, for all Pages.
    ErasureOverdue,
}

impl Metric {
    /// The metric's name in `CloudWatch`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Logs only the place of a panic: its message may contain what a person wrote.
pub fn log_panics_by_place() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic");
    }));
}

/// Writes metrics to the functions' log.
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
    /// Writes one line of JSON per count to the standard output, which Lambda passes to `CloudWatch`.
    pub fn to_stdout(clock: SharedClock) -> Self {
        #[expect(
            clippy::print_stdout,
            reason = "this is how a function hands metrics to CloudWatch"
        )]
        Self::to(clock, |line| println!("{line}"))
    }

    /// Passes each count to a function.
    pub fn to(clock: SharedClock, write: impl Fn(&Value) + Send + Sync + 'static) -> Self {
        Self { clock, write: Arc::new(write) }
    }

    /// Counts what people have to put right at a Page.
    pub fn call_for_attention(&self, page_id: &str, reason: &str) {
        let details = [("of_page", page_id), ("reason", reason)];
        self.count(Metric::AttentionNeeded, ALL_PAGES, &details);
    }

    /// Counts one occurrence for a Page, with details that do not become dimensions.
    pub fn count(&self, metric: Metric, page_id: &str, details: &[(&str, &str)]) {
        self.count_many(&[(metric, 1)], page_id, details);
    }

    /// Counts several things for a Page at once.
    pub fn count_many(&self, metrics: &[(Metric, u64)], page_id: &str, details: &[(&str, &str)]) {
        let named: Vec<_> = metrics
            .iter()
            .map(|(metric, _)| json!({"Name": metric.name(), "Unit": "Count"}))
            .collect();
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
        for (metric, count) in metrics {
            line[metric.name()] = (*count).into();
        }
        (self.write)(&line);
    }
}
