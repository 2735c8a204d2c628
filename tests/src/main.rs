//! The local platform as a program.

use std::error::Error;
use std::fmt::Display;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::clock::SystemClock;
use clap::{Args, Parser, Subcommand, ValueEnum};
use messenger::bot::{Setup, SetupError, SharedBot, plain, shared};
use messenger::chat::transcript::{self, Report};
use messenger::clock::Clock;
use serde_json::Value;
use simulator::guard::Guard;
use simulator::platform::{Options, Platform};
use simulator::stage::Stage;
use simulator::{http, samples, search};

/// The conversations of the README's first command.
const NINE_DAYS: &str = include_str!("../scenarios/nine-days.chat");

/// A Messenger on this machine: the real functions on a local AWS and a local Meta.
///
/// Without a command it plays nine days of conversations with a sample bot, prints what was sent and
/// what was not, and then serves your own bot.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    values: Values,
}

#[derive(Subcommand)]
enum Command {
    /// Plays conversations and exits, with status 1 if something happens otherwise than it is written.
    Play(Play),
    /// Serves a bot by the machine's clock, without playing anything.
    Serve,
    /// Searches for a run that breaks a promise; each seed is one run.
    Search(Search),
    /// Prints a sample with its times moved to now, and signed anew.
    Fresh {
        /// Such as events/webhook/text.json.
        file: PathBuf,
    },
}

#[derive(Args)]
struct Play {
    /// Files in the format of transcripts, played with the bot that `--bot` names; the nine days if none is given.
    files: Vec<PathBuf>,
    /// Writes what happened into the files, to be read in the diff.
    #[arg(long)]
    accept: bool,
}

#[derive(Args)]
struct Search {
    /// Runs only this seed, and prints what happens in it.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs seeds for this many minutes instead.
    #[arg(long)]
    minutes: Option<u64>,
    /// Removes a guard, and stops when that has broken a promise.
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
    /// The id of a Page; may be repeated.
    #[arg(long = "page", global = true, default_values_t = [samples::PAGE.to_owned()])]
    pages: Vec<String>,
    /// The id of the Instagram account that is linked to the first Page, the second, and so on.
    #[arg(long, global = true, default_values_t = [samples::INSTAGRAM.to_owned()])]
    instagram: Vec<String>,
    /// The id of an Instagram account with a login of its own; may be repeated.
    #[arg(long, global = true, default_values_t = [samples::INSTAGRAM_LOGIN.to_owned()])]
    instagram_login: Vec<String>,
    /// Where Meta sends its signed notifications instead of this project's webhook, such as
    /// <http://127.0.0.1:3000/webhook>; the functions then get none.
    #[arg(long, global = true, value_parser = webhook)]
    webhook: Option<String>,
    /// The bot to serve. What is played is always played with the sample bot `booking`.
    #[arg(long, global = true, value_enum, default_value_t = Bot::Own)]
    bot: Bot,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bot {
    /// Your bot, functions/bot.
    Own,
    /// The sample bot that takes bookings, tests/bots/booking.
    Booking,
}

impl Bot {
    async fn built(self) -> Result<SharedBot, SetupError> {
        Ok(match self {
            Self::Own => shared(bot::bot(&Setup::new(Value::Null, Arc::new(()))).await?),
            Self::Booking => shared(plain(booking::reply)),
        })
    }
}

/// Reads the address of another program's webhook, which is reached without TLS.
fn webhook(url: &str) -> Result<String, String> {
    let host = url.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
    match host {
        Some(host) if !host.is_empty() => Ok(url.to_owned()),
        _ => Err("it must begin with http:// and name a host".to_owned()),
    }
}

impl Values {
    async fn options(&self) -> Result<Options, SetupError> {
        Ok(Options {
            app_secret: self.app_secret.clone(),
            verify_token: self.verify_token.clone(),
            pages: self.pages.clone(),
            instagram: self.instagram.clone(),
            instagram_login: self.instagram_login.clone(),
            port: self.port,
            data: self.data.clone(),
            now: SystemClock.now(),
            bot: Some(self.bot.built().await?),
            has_threads: true,
            webhook: self.webhook.clone(),
            ..Options::default()
        })
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    log_to_stderr();
    let Arguments { command, values } = Arguments::parse();
    match command {
        None => {
            let played = play(NINE_DAYS, Bot::Booking).await?;
            serve(&*Platform::start(values.options().await?).await?).await?;
            Ok(exit_code(played.is_as_written()))
        }
        Some(Command::Play(wanted)) if wanted.files.is_empty() => {
            Ok(exit_code(play(NINE_DAYS, Bot::Booking).await?.is_as_written()))
        }
        Some(Command::Play(wanted)) => play_files(&wanted, &values).await,
        Some(Command::Serve) => {
            serve(&*Platform::start(values.options().await?).await?).await?;
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

/// Runs the seeds and prints the result.
fn look(wanted: &Search) -> Result<ExitCode, String> {
    let mut out = stdout();
    let mut print = |line: String| writeln!(out, "{line}").map_err(|error| error.to_string());
    if let Some(seed) = wanted.seed {
        let run = search::run(seed, wanted.without).map_err(|error| error.to_string())?;
        for (number, line) in run.story.iter().enumerate() {
            let body = run.bodies.get(&number).map_or("", String::as_str);
            print(format!("{line} {body}").trim_end().to_owned())?;
        }
        for broken in &run.broken {
            print(format!("broken: {broken}"))?;
        }
        return Ok(if run.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let began = Instant::now();
    let time = wanted.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let end = if time.is_some() { u64::MAX } else { wanted.from + wanted.seeds };
    let summary = search::search(wanted.from..end, wanted.without, |summary| {
        let is_shown = wanted.without.is_some() && !summary.broken.is_empty();
        !is_shown && time.is_none_or(|time| began.elapsed() < time)
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

/// The functions' own log goes to standard error; `RUST_LOG=info` shows more of it.
fn log_to_stderr() {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    let level = level.unwrap_or(lambda_http::tracing::Level::ERROR);
    let log = lambda_http::tracing::subscriber::fmt().with_writer(std::io::stderr);
    log.with_max_level(level).without_time().init();
}

/// Plays a transcript on a platform of its own, so that what is served afterwards starts empty.
async fn play(text: &str, bot: Bot) -> Result<Report, Box<dyn Error>> {
    let options = Options { bot: Some(bot.built().await?), ..Options::default() };
    let report = transcript::play(text, &mut Stage::new(options)).await?;
    writeln!(stdout(), "{report}")?;
    Ok(report)
}

/// Plays transcripts, each on a platform of its own.
async fn play_files(wanted: &Play, values: &Values) -> Result<ExitCode, Box<dyn Error>> {
    let mut is_as_written = true;
    for file in &wanted.files {
        let named = |error: &dyn Display| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
        writeln!(stdout(), "{}", file.display())?;
        let report = play(&text, values.bot).await.map_err(|misread| named(&misread))?;
        if wanted.accept && report.refused.is_none() {
            std::fs::write(file, &report.accepted).map_err(|error| named(&error))?;
        } else {
            is_as_written &= report.is_as_written();
        }
    }
    Ok(exit_code(is_as_written))
}

async fn serve(platform: &Platform) -> Result<(), Box<dyn Error>> {
    let url = platform.url();
    let page = &platform.options().pages[0];
    writeln!(
        stdout(),
        "
Serving, from {now} by this machine's clock, until Ctrl-C:
  {url}/webhook                 for Meta: GET verification, signed POST
  {url}/messages                and the rest of the API, with Authorization: Bearer {key}
  {url}/_simulator/people/PSID  POST a text: a person writes to Page {page}
  {url}/_simulator              GET everything else that can be made to happen: comments, threads, faults
  {url}/_simulator/environment  GET the variables that a function under cargo lambda watch needs:
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

fn exit_code(is_as_written: bool) -> ExitCode {
    if is_as_written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
