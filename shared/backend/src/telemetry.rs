//! Metrics for `CloudWatch`, in embedded metric format; they never contain a person or a text.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use strum::{IntoStaticStr, VariantArray};

use crate::correlation::{self, CORRELATION_ID};
use crate::settings::Variables;
use messenger::clock::SharedClock;

/// The namespace of the metrics.
pub const NAMESPACE: &str = "MessengerBackend";

/// The variable that makes a dimension of the Page: `on` or `off`.
const METRICS_BY_PAGE: &str = "METRICS_BY_PAGE";

/// The variable with the stack's name, by which stacks of one account are told apart.
const STACK_NAME: &str = "STACK_NAME";

/// Something that is counted or measured.
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
    /// Meta refuses something that only people can put right, or warns.
    AttentionNeeded,
    /// Meta warned that a person gets too many tagged messages, which may restrict the Page.
    AbuseWarning,
    /// The Page's token lacks a permission that a message needs.
    PermissionMissing,
    /// A person's profile could not be read from the table or from Meta, or not be kept.
    ProfileMissed,
    /// The webhook queued an event.
    EventsReceived,
    /// The webhook refused a request with a signature that no app secret makes.
    SignaturesRefused,
    /// The webhook set aside an event for a Page that the application's secret does not name; of no Page,
    /// because anybody can name one.
    ForeignEvents,
    /// The webhook queued an event of a kind that this version does not know.
    UnknownEvents,
    /// The webhook queued only the envelope of an event that is too large for the queue.
    TruncatedEvents,
    /// The event processor failed at an event; it is tried again, or kept in the dead-letter queue.
    EventsFailed,
    /// The bot did not decide about an event: an error of its own, a panic, no time left; by kind and label.
    BotFailed,
    /// The bot did something else instead of deciding, because it failed; by kind and label.
    BotGaveUp,
    /// How long a reply's first message took, from the event's time until Graph had it, in milliseconds.
    ReplyTime,
    /// Meta warned or blocked a Page because of its policies.
    PolicyEnforced,
    /// Meta's review rejected, paused or disabled a utility template.
    TemplateUnusable,
    /// An event was delivered to one of the forward URLs.
    Forwarded,
    /// An attempt to deliver an event to a forward URL failed; it is repeated.
    ForwardFailed,
    /// An event was not forwarded because its URL is no longer configured, or its person is erased.
    ForwardDropped,
    /// A person's data were erased.
    Erased,
    /// A token ends soon, or has ended, and was not renewed; counted every day.
    TokenExpiresSoon,
    /// An erasure is not complete an hour after it was asked for; counted by each run.
    ErasureOverdue,
}

impl Metric {
    /// The metric's name in `CloudWatch`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn unit(self) -> &'static str {
        match self {
            Self::ReplyTime => "Milliseconds",
            _ => "Count",
        }
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
    stack: Option<String>,
    by_page: bool,
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
        Self { clock, stack: None, by_page: false, write: Arc::new(write) }
    }

    /// Reads `STACK_NAME`, which becomes the dimension, and `METRICS_BY_PAGE`, with which each Page has
    /// metrics of its own too, which `CloudWatch` charges for.
    #[must_use]
    pub fn with(self, variables: &Variables) -> Self {
        let stack = variables.optional(STACK_NAME);
        Self { stack, by_page: variables.is_on(METRICS_BY_PAGE), ..self }
    }

    /// Counts what people have to put right at a Page.
    pub fn call_for_attention(&self, page_id: &str, reason: &str) {
        self.count(Metric::AttentionNeeded, page_id, &[("reason", reason)]);
    }

    /// Counts one occurrence, with details that never become dimensions; of a Page, if it is of one.
    pub fn count<'a>(
        &self,
        metric: Metric,
        page_id: impl Into<Option<&'a str>>,
        details: &[(&str, &str)],
    ) {
        self.record(&[(metric, 1)], page_id, details);
    }

    /// Records several values at once, as [`count`](Self::count) does.
    pub fn record<'a>(
        &self,
        values: &[(Metric, u64)],
        page_id: impl Into<Option<&'a str>>,
        details: &[(&str, &str)],
    ) {
        let named: Vec<_> = values
            .iter()
            .map(|(metric, _)| json!({"Name": metric.name(), "Unit": metric.unit()}))
            .collect();
        let page_id = page_id.into();
        let overall: Vec<_> = self.stack.iter().map(|_| "stack").collect();
        let mut dimensions = vec![overall.clone()];
        if self.by_page && page_id.is_some() {
            dimensions.push([overall, vec!["page"]].concat());
        }
        let mut line = json!({
            "_aws": {
                "Timestamp": self.clock.now().millis(),
                "CloudWatchMetrics": [
                    {"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": named},
                ],
            },
        });
        let current = correlation::current();
        for (name, value) in [
            ("stack", self.stack.as_deref()),
            ("page", page_id),
            (CORRELATION_ID, current.as_deref()),
        ] {
            if let Some(value) = value {
                line[name] = value.into();
            }
        }
        for (name, value) in details {
            line[name] = (*value).into();
        }
        for (metric, value) in values {
            line[metric.name()] = (*value).into();
        }
        (self.write)(&line);
    }
}
