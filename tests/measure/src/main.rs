//! Measures the functions' release binaries beside a hello world.

mod cases;
mod container;
mod process;
mod report;
mod runtime;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::cases::{Case, FLOOR, FUNCTIONS, webhook_of};
use crate::container::{count_instructions, time};
use crate::report::{Figure, Figures, Machine, Metric, Report};

/// How many warm invocations are run under valgrind.
const WARM_UNDER_VALGRIND: usize = 20;

/// Measures the release binaries of the functions beside a hello world: time to the first poll and
/// the first answer, warm CPU, peak memory, size, and instructions where valgrind is installed.
#[derive(Parser)]
struct Arguments {
    /// The functions to measure; all if none is named.
    #[arg(value_parser = PossibleValuesParser::new(FUNCTIONS.map(|case| case.function)))]
    functions: Vec<String>,
    /// Measures the functions' binaries in this folder instead of building them.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Measures the webhook with a notification in which so many people write.
    #[arg(long, conflicts_with = "functions")]
    people: Option<usize>,
    /// How often each binary is started.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// How many invocations follow the first one of each start.
    #[arg(long, default_value_t = 100)]
    warm: usize,
    /// Writes the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Prints the change since the figures in this file.
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Ends with 1 if a size or a number of instructions has grown by more than so many per cent.
    #[arg(long, requires = "compare")]
    at_most: Option<f64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    // Read first: the measuring takes minutes, and `--json` may name the same file.
    let earlier = match &arguments.compare {
        None => None,
        Some(path) => Some(read(path)?),
    };
    let wanted = |case: &&Case| {
        arguments.functions.is_empty() || arguments.functions.iter().any(|one| one == case.function)
    };
    let of_people = arguments.people.map(webhook_of);
    let functions: Vec<_> = match &of_people {
        Some(case) => vec![case],
        None => FUNCTIONS.iter().filter(wanted).collect(),
    };
    let binaries = binaries(&functions, arguments.binaries.as_deref())?;
    let report = measure(&binaries, arguments.runs, arguments.warm).await?;
    let Report { machine, load, .. } = &report;
    writeln!(stdout(), "{}\n{machine:?}, load {load}", report.table())?;
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    match earlier {
        None => Ok(ExitCode::SUCCESS),
        Some(earlier) => compare(&earlier, &report, arguments.at_most),
    }
}

fn read(path: &Path) -> Result<Report, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn compare(
    earlier: &Report,
    now: &Report,
    at_most: Option<f64>,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = stdout();
    if earlier.machine != now.machine {
        writeln!(out, "Measured on {:?}, and earlier on {:?}.", now.machine, earlier.machine)?;
    }
    let mut is_exceeded = false;
    for change in report::compare(earlier, now)? {
        let exceeds = change.is_bound && at_most.is_some_and(|bound| change.percent > bound);
        is_exceeded |= exceeds;
        let mark = if exceeds { "  too much" } else { "" };
        let (function, metric) = (change.function, change.metric);
        writeln!(out, "{function:16} {metric:26} {:+8.2} %{mark}", change.percent)?;
    }
    Ok(if is_exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The binaries with their cases, the floor first.
fn binaries<'a>(
    functions: &[&'a Case],
    folder: Option<&Path>,
) -> Result<Vec<(&'a Case, PathBuf)>, Box<dyn Error>> {
    // On its own: together, cargo would give it the features that the functions' dependencies need.
    let mut found = build(&[FLOOR.function])?;
    // All of them, whichever are measured, so that a function's features are always the same.
    let all = FUNCTIONS.map(|case| case.function);
    match folder {
        None => found.extend(build(&all)?),
        Some(folder) => found.extend(all.map(|name| (name.to_owned(), folder.join(name)))),
    }
    let path = |case: &'a Case| {
        let path =
            found.get(case.function).ok_or_else(|| format!("no binary {}", case.function))?;
        Ok((case, path.clone()))
    };
    [&FLOOR].into_iter().chain(functions.iter().copied()).map(path).collect()
}

/// Builds packages with the release profile, and finds their binaries.
fn build(packages: &[&str]) -> Result<HashMap<String, PathBuf>, Box<dyn Error>> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"]);
    command.args(packages.iter().flat_map(|package| ["-p", *package]));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the release build failed".into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
    };
    Ok(messages.lines().filter_map(executable).collect())
}

async fn measure(
    binaries: &[(&Case, PathBuf)],
    runs: usize,
    warm: usize,
) -> Result<Report, Box<dyn Error>> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().parse()?;
    let mut figures = BTreeMap::new();
    let mut samples: BTreeMap<_, BTreeMap<_, Vec<u64>>> = BTreeMap::new();
    for run in 0..=runs {
        // In turn, so that whatever else the machine does meets all of them.
        for (case, binary) in binaries {
            let timed = time(case, binary, warm).await?;
            // The first start reads the binary from the disk.
            if run > 0 {
                for (metric, value) in timed {
                    let of_case = samples.entry(case.function).or_default();
                    of_case.entry(metric.key).or_default().push(value);
                }
            }
        }
    }
    let valgrind = process::first_line("valgrind", &["--version"]);
    for (case, binary) in binaries {
        let mut of_case = Figures::new();
        for (key, values) in samples.remove(case.function).unwrap_or_default() {
            of_case.extend(Figure::of_runs(values).map(|figure| (key.to_owned(), figure)));
        }
        let mut count = |metric: Metric, count| {
            of_case.insert(metric.key.to_owned(), Figure::Count(count));
        };
        count(report::SIZE, fs::metadata(binary)?.len());
        // Under valgrind a backlog takes longer than the webhook's own limit of time.
        if valgrind.is_some() && case.effects_of_each() == 1 {
            let poll = count_instructions(case, binary, 0).await?;
            let answer = count_instructions(case, binary, 1).await?;
            let warm = count_instructions(case, binary, 1 + WARM_UNDER_VALGRIND).await?;
            count(report::POLL_INSTRUCTIONS, poll);
            count(report::ANSWER_INSTRUCTIONS, answer);
            let warm = warm.saturating_sub(answer) / u64::try_from(WARM_UNDER_VALGRIND)?;
            count(report::WARM_INSTRUCTIONS, warm);
        }
        figures.insert(case.function.to_owned(), of_case);
    }
    let machine = Machine {
        arch: std::env::consts::ARCH.to_owned(),
        cpus: std::thread::available_parallelism()?.get(),
        rustc: process::first_line("rustc", &["--version"]),
        valgrind,
    };
    let ratios = report::ratios(&figures);
    Ok(Report { machine, load, runs, warm_invocations: warm, figures, ratios })
}
