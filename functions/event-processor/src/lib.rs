//! The event processor: one event at a time, in order per person.
//!
//! Record the last message time, decide once, write the decision, apply it, send. A redelivered
//! event goes on where the first delivery stopped.

#[cfg(panic = "abort")]
compile_error!(
    "a panic of the bot must end one event, not the process: build without panic = \"abort\""
);

mod batch;
mod comment;
mod dead_letters;
mod driver;
mod event;
mod gathering;
mod report;
mod suspects;
mod thinking;
mod visibility;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use backend::correlation;
use backend::outbox::{Outbox, OutboxError, SendContext};
use backend::outside;
use backend::publish::PublishError;
use backend::reply::HttpBot;
use backend::runtime::{self, Environment, Error, receive_count};
use backend::settings::{TRACK_RECEIPTS, USER_PROFILES, Variables};
use backend::telemetry::{Metric, Telemetry};
use futures_util::FutureExt;
use messenger::bot::patience::DEFAULT_PATIENCE;
use messenger::bot::{Bot, Outside, Setup, SetupError, SharedBot, Trouble, shared};
use messenger::clock::SharedClock;
use messenger::event::{Event, Kind};
use messenger::limits::DEFAULT_BOT_TIMEOUT_SECONDS;

use batch::Lanes;
pub use driver::{Driver, Threads, Work};
use suspects::Delivery;

/// How long the bot may take to be built: Lambda ends an initialisation after 10 s.
const BUILD_TIMEOUT: Duration = Duration::from_secs(5);

/// An event that fails by itself so often is dead-lettered.
const MOST_FAILURES: u64 = 5;

/// The settings of the event processor.
#[derive(Clone, Debug)]
pub struct ProcessorSettings {
    /// The queue of events.
    pub queue_url: String,
    /// The dead-letter queue.
    pub dead_letter_queue_url: String,
    /// How long the bot may take to decide about an event.
    pub bot_timeout: Duration,
    /// Whether the person is shown that the bot is thinking.
    pub shows_typing: bool,
    /// How long a bot that fails by something that may pass is asked again for a person.
    pub bot_patience: Duration,
}

impl ProcessorSettings {
    /// Reads `QUEUE_URL`, `DEAD_LETTER_QUEUE_URL`, `BOT_TIMEOUT_SECONDS`, `BOT_PATIENCE_SECONDS`
    /// and `BOT_TYPING`.
    pub fn new(variables: &Variables) -> Self {
        Self {
            queue_url: variables.required("QUEUE_URL"),
            dead_letter_queue_url: variables.required("DEAD_LETTER_QUEUE_URL"),
            bot_timeout: variables.seconds(
                "BOT_TIMEOUT_SECONDS",
                DEFAULT_BOT_TIMEOUT_SECONDS,
                1..=30,
            ),
            shows_typing: variables.is_on_unless_off("BOT_TYPING"),
            bot_patience: variables.seconds(
                "BOT_PATIENCE_SECONDS",
                DEFAULT_PATIENCE.as_secs(),
                0..=3600,
            ),
        }
    }
}

/// Why a record was not processed.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    /// AWS or Meta failed: the event is tried again, however often.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// AWS failed: the event is tried again, however often.
    #[error(transparent)]
    Publisher(#[from] PublishError),
    /// The event's own fault, and how often it has failed by itself: it is given up after some.
    #[error("{0}, failure {1}")]
    Poisonous(&'static str, u64),
    /// The bot did not decide, and is asked again after this time.
    #[error("the bot is asked again after {} s", .0.as_secs())]
    PutOff(Duration),
    /// The bot did not decide, and has nothing to do instead.
    #[error("the bot did not decide: {0}")]
    GivenUp(Trouble),
    /// There was no time left to begin it.
    #[error("no time was left to begin this event")]
    NoTimeLeft,
}

/// When an event comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// As soon as the queue is asked.
    Now,
    /// After this time.
    After(Duration),
    /// The later the oftener it was received.
    InAWhile,
}

/// The event processor.
#[derive(Debug)]
pub struct Processor {
    outbox: Arc<Outbox>,
    sqs: Client,
    clock: SharedClock,
    bot: SharedBot,
    driver: Arc<dyn Driver>,
    outside: Arc<dyn Outside>,
    settings: ProcessorSettings,
    telemetry: Telemetry,
    tracks_receipts: bool,
    reads_profiles: bool,
}

impl Processor {
    /// Builds the function with a bot and what runs it; it reads its settings, those of publishing,
    /// `TRACK_RECEIPTS`, and `USER_PROFILES`.
    pub fn new(environment: &Environment, bot: SharedBot, driver: Arc<dyn Driver>) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(environment)),
            sqs: environment.aws.sqs(),
            clock: Arc::clone(&environment.clock),
            bot,
            driver,
            outside: outside::outside(environment),
            settings: ProcessorSettings::new(&environment.variables),
            telemetry: environment.telemetry.clone(),
            tracks_receipts: environment.variables.is_on(TRACK_RECEIPTS),
            reads_profiles: environment.variables.is_on(USER_PROFILES),
        }
    }

    /// Opens the connections while the function is initialised.
    pub async fn warm_up(&self) {
        self.outbox.warm_up().await;
    }

    /// Processes a message, or gives it up: an error if it is to be delivered again.
    async fn try_message(
        &self,
        message: &SqsMessage,
        delivery: &Delivery,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Result<(), Again> {
        if delivery.is_suspect {
            tracing::warn!(message_id = message.message_id, "an event is processed alone");
        }
        let Err(error) = self.process_message(message, delivery, lanes, context).await else {
            return Ok(());
        };
        let receives = receive_count(message);
        if matches!(error, RecordError::NoTimeLeft) {
            tracing::info!(
                message_id = message.message_id,
                receives,
                "no time was left for an event"
            );
            return Err(Again::Now);
        }
        tracing::error!(message_id = message.message_id, receives, %error, "an event failed");
        self.telemetry.count(Metric::EventsFailed, None, &[]);
        let reason = match error {
            RecordError::PutOff(pause) => return Err(Again::After(pause)),
            RecordError::GivenUp(trouble) => trouble.to_string(),
            RecordError::Poisonous(reason, MOST_FAILURES..) => reason.to_owned(),
            _ => return Err(Again::InAWhile),
        };
        if self.dead_letter(message, &reason).await { Ok(()) } else { Err(Again::InAWhile) }
    }

    async fn process_message(
        &self,
        message: &SqsMessage,
        delivery: &Delivery,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Result<(), RecordError> {
        if self.clock.now() + self.event_budget() > context.deadline {
            return Err(RecordError::NoTimeLeft);
        }
        let event = Event::from_queue_text(message.body.as_deref().unwrap_or_default())
            .map_err(|_| RecordError::Poisonous("not_a_record", receive_count(message).into()))?;
        let work = AssertUnwindSafe(self.process(&event, delivery, lanes, context));
        let outcome = self.judge(&event, delivery, work.catch_unwind().await, context).await?;
        // Last, so that a retry seldom repeats it; an event that the bot gives up on is passed on all the same.
        let is_over = match outcome {
            Ok(event::Processed::Done) | Err(RecordError::GivenUp(_)) => true,
            Err(RecordError::Poisonous(_, failures)) => failures >= MOST_FAILURES,
            Ok(event::Processed::OwnEcho | event::Processed::PersonErased) | Err(_) => false,
        };
        let is_receipt = matches!(event.kind, Kind::Delivery(_) | Kind::Read(_));
        let is_published = !event.is_own() && (!is_receipt || self.tracks_receipts);
        if is_over && is_published && !self.outbox.publisher().is_off() {
            self.outbox.publisher().publish(&event).await?;
        }
        outcome.map(drop)
    }
}

/// The correlation id of a message's event, which is known before the message can be read.
fn correlation_id(message: &SqsMessage) -> &str {
    correlation::of_event(attribute(message, "MessageDeduplicationId"))
}

fn attribute<'a>(message: &'a SqsMessage, name: &str) -> &'a str {
    message.attributes.get(name).map_or("", String::as_str)
}

/// Serves a bot as the program that Lambda starts, until Lambda ends it; with `REPLY_URL` the one behind that URL
/// instead.
///
/// # Errors
/// If a setting is missing or unusable, the bot cannot be built within 5 s, or Lambda's runtime API fails.
pub async fn serve<B: Bot>(
    build: impl AsyncFnOnce(&Setup) -> Result<B, SetupError>,
) -> Result<(), Error> {
    let environment = runtime::environment();
    let setup = outside::setup(&environment);
    let bot = if let Some(bot) = HttpBot::new(&environment) {
        shared(bot)
    } else {
        let bot = tokio::time::timeout(BUILD_TIMEOUT, build(&setup)).await;
        let too_slow = SetupError::Other("the bot was not built within 5 s");
        shared(runtime::logged(bot.unwrap_or(Err(too_slow)))?)
    };
    let threads = Threads::default();
    let driver = Arc::new(threads.clone());
    let processor = environment.build(|environment| Processor::new(environment, bot, driver));
    let processor = runtime::logged(processor)?;
    processor.warm_up().await;
    let handle = async |batch, invocation: runtime::Invocation| {
        processor.handle(batch, &invocation.id, invocation.deadline).await
    };
    runtime::run_sqs_until(handle, move || threads.is_stuck()).await
}
