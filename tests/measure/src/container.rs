//! A function's process with everything that it needs, from its start to its end.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::clock::SystemClock;
use messenger::clock::Clock;
use simulator::platform::{Options, Platform};
use simulator::samples;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::cases::Case;
use crate::process::{Process, instructions};
use crate::report::{self, Metric};
use crate::runtime::Runtime;

/// How long a process may take to its next poll or answer; valgrind makes it some 50 times slower.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts a binary and invokes it, by the clock.
pub(crate) async fn time(
    case: &Case,
    binary: &Path,
    warm: usize,
) -> Result<[(Metric, u64); 4], Box<dyn Error>> {
    let mut container = Container::start(case, binary, None).await?;
    let first_poll = container.polled - container.process.started;
    let first_answer = container.invoke().await? - container.process.started;
    let before = container.process.cpu()?;
    for _ in 0..warm {
        container.invoke().await?;
    }
    let cpu = container.process.cpu()?.saturating_sub(before);
    let peak_rss = container.process.peak_rss()?;
    container.check_effects()?;
    let micros = |span: Duration| u64::try_from(span.as_micros());
    Ok([
        (report::FIRST_POLL, micros(first_poll)?),
        (report::FIRST_ANSWER, micros(first_answer)?),
        (report::WARM_CPU, micros(cpu)? / u64::try_from(warm.max(1))?),
        (report::PEAK_RSS, peak_rss),
    ])
}

/// Counts the instructions from the start until the process waits after so many invocations.
pub(crate) async fn count_instructions(
    case: &Case,
    binary: &Path,
    invocations: usize,
) -> Result<u64, Box<dyn Error>> {
    let file = format!("measure-{}-{}.callgrind", std::process::id(), case.function);
    let file = std::env::temp_dir().join(file);
    let mut container = Container::start(case, binary, Some(&file)).await?;
    for _ in 0..invocations {
        container.invoke().await?;
    }
    container.check_effects()?;
    container.process.idle().await?;
    container.process.terminate()?;
    let text = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    instructions(&text).ok_or_else(|| "callgrind's file has no totals".into())
}

/// A process that waits for an event.
struct Container<'a> {
    case: &'a Case,
    process: Process,
    /// When it last began to wait.
    polled: Instant,
    runtime: Runtime,
    platform: Arc<Platform>,
    invocations: usize,
}

impl<'a> Container<'a> {
    /// Starts the process on a platform of its own, and waits for the first poll.
    async fn start(
        case: &'a Case,
        binary: &Path,
        callgrind: Option<&Path>,
    ) -> Result<Self, Box<dyn Error>> {
        let options = Options { now: SystemClock.now(), ..Options::default() };
        let platform = Platform::start(options).await?;
        platform.clock.run();
        // By Meta's record too the person has written, or it would refuse every reply.
        platform.meta.person_says(samples::PAGE, samples::PSID, "hello");
        let mut runtime = Runtime::start().await?;
        let mut variables = platform.environment().clone();
        let of_lambda = [
            ("AWS_LAMBDA_RUNTIME_API", runtime.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", case.function.to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ];
        if case.is_forwarder() {
            variables.insert("FORWARD_URLS".to_owned(), runtime.inbound_url());
            variables.insert("FORWARD_ALLOW_LOCAL".to_owned(), "true".to_owned());
        }
        variables.extend(of_lambda.map(|(name, value)| (name.to_owned(), value)));
        let mut process = Process::start(binary, &variables, callgrind)
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let polled = next(case, &mut process, &mut runtime.polls).await?;
        Ok(Self { case, process, polled, runtime, platform, invocations: 0 })
    }

    /// Hands the process an event and waits until it polls again: when it answered.
    async fn invoke(&mut self) -> Result<Instant, Box<dyn Error>> {
        let Self { case, process, runtime, .. } = self;
        runtime.events.send(case.event(self.invocations, &self.platform, runtime)?)?;
        let answer = next(case, process, &mut runtime.answers).await?;
        let body = answer.body.map_err(|error| format!("{} reported {error}", case.function))?;
        if !(case.succeeded)(&serde_json::from_str(&body)?) {
            return Err(format!("{} answered {body}", case.function).into());
        }
        self.polled = next(case, process, &mut runtime.polls).await?;
        self.invocations += 1;
        Ok(answer.at)
    }

    /// Makes sure that every invocation did its work, which an answer need not show.
    fn check_effects(&self) -> Result<(), String> {
        let function = self.case.function;
        match self.case.effects.map(|count| count(&self.platform, &self.runtime)) {
            Some(count) if count < self.invocations * self.case.effects_of_each() => {
                Err(format!("{function}: {} invocations had {count} effects", self.invocations))
            }
            _ => Ok(()),
        }
    }
}

/// Waits for something from a process.
async fn next<T>(
    case: &Case,
    process: &mut Process,
    receiver: &mut UnboundedReceiver<T>,
) -> Result<T, String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Ok(Some(received)) = timeout(Duration::from_secs(1), receiver.recv()).await {
            return Ok(received);
        }
        if let Some(status) = process.ended() {
            return Err(format!("{} ended too early: {status}", case.function));
        }
    }
    Err(format!("{}: neither a poll nor an answer in {PATIENCE:?}", case.function))
}
