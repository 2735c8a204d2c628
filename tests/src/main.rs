//! The local platform as a program.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use backend::clock::SystemClock;
use clap::{Args, Parser, Subcommand};
use messenger::clock::Clock;
use simulator::guard::Guard;
use simulator::platform::{Options, Platform};
use simulator::{http, samples, scenario, search};

/// A Messenger on this machine: the real functions on a local AWS and a local Meta.
///
/// Without a command it plays a conversation of nine days, prints what left and what did not, and
/// then keeps serving.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    values: Values,
}

#[derive(Subcommand)]
enum Command {
    /// Plays the conversation and ends: with 1 if anything differs from what must come of it.
    Play,
    /// Serves the platform by the machine's clock, without playing anything.
    Serve,
    /// Searches for a run in which a promise is broken; a seed is a run.
    Search(Search),
    /// Prints a sample with its times moved to now, and signed anew.
    Fresh {
        /// Such as events/webhook/text.json.
        file: PathBuf,
    },
}

#[derive(Args)]
struct Search {
    /// Runs this seed alone, and tells what happens in it.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Goes on for so many minutes, however many seeds that is.
    #[arg(long)]
    minutes: Option<u64>,
    /// Takes a guard away.
    #[arg(long)]
    without: Option<Guard>,
}

#[derive(Args)]
struct Values {
    /// The port on 127.0.0.1; `DynamoDB` and Graph take the two after it.
    #[arg(long, global = true, default_value_t = 8080)]
    port: u16,
    /// Keeps the table in this file.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// The app secret that signs notifications.
    #[arg(long, global = true, default_value = samples::APP_SECRET)]
    app_secret: String,
    /// The token of the webhook's verification.
    #[arg(long, global = true, default_value = samples::VERIFY_TOKEN)]
    verify_token: String,
    /// A Page's id; may be given several times.
    #[arg(long = "page", global = true, default_values_t = [samples::PAGE.to_owned()])]
    pages: Vec<String>,
    /// An Instagram account's id; may be given several times.
    #[arg(long, global = true, default_values_t = [samples::INSTAGRAM.to_owned()])]
    instagram: Vec<String>,
}

impl Values {
    fn options(&self) -> Options {
        Options {
            app_secret: self.app_secret.clone(),
            verify_token: self.verify_token.clone(),
            pages: self.pages.clone(),
            port: self.port,
            data: self.data.clone(),
            ..Options::default()
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    log_to_stderr();
    let Arguments { command, values } = Arguments::parse();
    match command {
        None => {
            let platform = Platform::start(with_sample_page(values.options())).await?;
            let differences = play(&platform).await?;
            serve(&platform).await?;
            Ok(exit_code(&differences))
        }
        Some(Command::Play) => {
            let options = Options { port: 0, ..with_sample_page(values.options()) };
            let platform = Platform::start(options).await?;
            Ok(exit_code(&play(&platform).await?))
        }
        Some(Command::Serve) => {
            let instagram = values.instagram.clone();
            let options = Options { now: SystemClock.now(), instagram, ..values.options() };
            serve(&*Platform::start(options).await?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Search(wanted)) => {
            Ok(tokio::task::spawn_blocking(move || look(&wanted)).await??)
        }
        Some(Command::Fresh { file }) => {
            let sample = std::fs::read_to_string(&file)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let fresh = samples::refresh(&sample, SystemClock.now(), &values.app_secret)?;
            writeln!(stdout(), "{}", serde_json::to_string_pretty(&fresh)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs the seeds and prints what came of them.
fn look(wanted: &Search) -> Result<ExitCode, String> {
    let mut out = stdout();
    let mut print = |line: String| writeln!(out, "{line}").map_err(|error| error.to_string());
    if let Some(seed) = wanted.seed {
        let run = search::run(seed, wanted.without).map_err(|error| error.to_string())?;
        for line in &run.story {
            print(line.clone())?;
        }
        for broken in &run.broken {
            print(format!("broken: {broken}"))?;
        }
        return Ok(if run.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let began = Instant::now();
    let time = wanted.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let end = if time.is_some() { u64::MAX } else { wanted.from + wanted.seeds };
    let summary = search::search(wanted.from..end, wanted.without, |_| {
        time.is_none_or(|time| began.elapsed() < time)
    })?;
    for (seed, broken) in &summary.broken {
        for broken in broken {
            print(format!("seed {seed}: {broken}"))?;
        }
    }
    print(format!(
        "{} seeds from {} in {} s: {} messages delivered, {} calls to the table, {} seeds with a broken promise",
        summary.seeds,
        wanted.from,
        began.elapsed().as_secs(),
        summary.delivered,
        summary.table_calls,
        summary.broken.len(),
    ))?;
    Ok(if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The functions' own log, beside the timeline; `RUST_LOG=info` shows more of it.
fn log_to_stderr() {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    let level = level.unwrap_or(lambda_http::tracing::Level::ERROR);
    let log = lambda_http::tracing::subscriber::fmt().with_writer(std::io::stderr);
    log.with_max_level(level).without_time().init();
}

/// The samples are of one Page, so playing them needs it.
fn with_sample_page(mut options: Options) -> Options {
    if !options.pages.iter().any(|page| page == samples::PAGE) {
        options.pages.push(samples::PAGE.to_owned());
    }
    options
}

async fn play(platform: &Platform) -> Result<Vec<String>, Box<dyn Error>> {
    let mut out = stdout();
    let differences = scenario::play(platform, &mut out).await?;
    if differences.is_empty() {
        writeln!(out, "\nEverything is as it must be.")?;
    } else {
        writeln!(out, "\n{} things differ from what must come of it:", differences.len())?;
        for difference in &differences {
            writeln!(out, "  {difference}")?;
        }
    }
    Ok(differences)
}

async fn serve(platform: &Platform) -> Result<(), Box<dyn Error>> {
    let url = platform.url();
    let page = &platform.options().pages[0];
    writeln!(
        stdout(),
        "
Serving, by the clock of this machine from {now}, until Ctrl-C:
  {url}/webhook                 Meta's side: GET verification, signed POST
  {url}/messages                and the rest of the API, for Authorization: Bearer {key}
  {url}/_simulator/state        conversations, outbox, requests to Graph, dead letters
  {url}/_simulator/clock        GET reads it; POST {{\"forward_seconds\": 3600}} moves it
  {url}/_simulator/people/PSID  POST a text: a person writes to Page {page}
  {url}/_simulator/observe      POST a notification: it happened at Meta, another webhook got it
  {url}/_simulator/environment  what a function under cargo lambda watch needs:
",
        now = platform.clock.now(),
        key = samples::API_KEY,
    )?;
    for (name, value) in platform.environment() {
        writeln!(stdout(), "  {name}={value}")?;
    }
    tokio::select! {
        () = http::live(platform) => Ok(()),
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
    }
}

fn exit_code(differences: &[String]) -> ExitCode {
    if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
