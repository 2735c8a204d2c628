//! The search as tests: a thousand seeds keep every promise, and without any one of the guards a
//! promise is broken.
//!
//! A harness of its own, because the figures and the table of guards are a part of the result.
#![allow(clippy::print_stdout, missing_docs, reason = "its output is what it is for")]

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::ValueEnum;
use libtest_mimic::{Arguments, Failed, Trial};
use simulator::guard::Guard;
use simulator::search::{Summary, run, search};

/// How many seeds must keep every promise.
const SEEDS: u64 = 1000;

/// Within so many seeds the loss of a guard must be noticed.
const SEEDS_WITHOUT_A_GUARD: u64 = 1000;

/// A seed that has shown each guard's loss. A change of the search may make it another run: then the
/// search takes longer, and prints the seed to put here.
const SHOWN_BY: [(Guard, u64); 20] = [
    (Guard::Lease, 36),
    (Guard::Condition, 77),
    (Guard::Grace, 305),
    (Guard::MonotonicUpdate, 20),
    (Guard::Clamp, 35),
    (Guard::Order, 2),
    (Guard::BusyMark, 113),
    (Guard::ReceiptsGroup, 1),
    (Guard::StateRevision, 95),
    (Guard::HeldResend, 17),
    (Guard::Placeholder, 130),
    (Guard::MarkFirst, 6),
    (Guard::EchoTag, 22),
    (Guard::PeopleFirst, 6),
    (Guard::ServeBeforeRelease, 554),
    (Guard::EventTime, 108),
    (Guard::KeptUntilDone, 1),
    (Guard::SecondCheck, 246),
    (Guard::CoveredMarks, 33),
    (Guard::Memo, 42),
];

/// What is printed after the run: the figures, and a row of the table for each guard.
static FIGURES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static GUARDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A search takes every core, so two at once would only wait for each other.
    arguments.test_threads.get_or_insert(1);
    let mut tests = vec![
        Trial::test("search::a_seed_is_a_run", a_seed_is_a_run),
        Trial::test("search::every_promise_holds", every_promise_holds),
    ];
    for guard in Guard::value_variants() {
        let name = format!("search::without_{}", name(*guard).replace('-', "_"));
        tests.push(Trial::test(name, || is_needed(*guard)));
    }
    let conclusion = libtest_mimic::run(&arguments, tests);
    for line in FIGURES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{line}");
    }
    let guards = GUARDS.lock().unwrap_or_else(PoisonError::into_inner);
    if !guards.is_empty() {
        println!("\nguard removed        | seed | the promise that breaks");
        println!("---------------------|------|------------------------");
        guards.iter().for_each(|row| println!("{row}"));
    }
    conclusion.exit_code()
}

fn name(guard: Guard) -> String {
    guard.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn print_later(lines: &Mutex<Vec<String>>, line: String) {
    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

/// The same seed is the same run, line by line.
fn a_seed_is_a_run() -> Result<(), Failed> {
    let story = || run(1, None).map(|run| run.story).map_err(|error| error.to_string());
    let first = story()?;
    if first.is_empty() {
        return Err("seed 1 produced no output".into());
    }
    for again in [story()?, story()?] {
        if let Some(line) = first.iter().zip(&again).position(|(one, other)| one != other) {
            return Err(format!("line {line}: {:?} and {:?}", first[line], again[line]).into());
        }
        if first.len() != again.len() {
            return Err(format!("{} lines and {}", first.len(), again.len()).into());
        }
    }
    Ok(())
}

fn every_promise_holds() -> Result<(), Failed> {
    let began = Instant::now();
    let Summary { seeds, delivered, table_calls, broken, waits } =
        search(1..SEEDS + 1, None, |_| true)?;
    print_later(
        &FIGURES,
        format!(
            "{seeds} seeds in {} s, {delivered} messages delivered, {} calls to the table a seed",
            began.elapsed().as_secs(),
            table_calls / usize::try_from(seeds.max(1)).unwrap_or(1),
        ),
    );
    print_later(
        &FIGURES,
        format!(
            "{} messages were delivered while nothing failed; the longest wait was {:.1} s",
            waits.0,
            waits.1.as_secs_f64(),
        ),
    );
    let broken: Vec<_> = broken
        .iter()
        .flat_map(|(seed, broken)| broken.iter().map(move |broken| (seed, broken)))
        .map(|(seed, broken)| {
            format!("{broken}\n    replay: cargo run -p simulator -- search --seed {seed}")
        })
        .collect();
    if !broken.is_empty() {
        return Err(broken.join("\n").into());
    }
    if seeds != SEEDS || delivered == 0 {
        return Err(format!("{seeds} seeds were run and delivered {delivered} messages").into());
    }
    Ok(())
}

/// Finds a seed in which the guard's loss breaks a promise: the one that showed it last, or by a search.
fn is_needed(guard: Guard) -> Result<(), Failed> {
    let seed = SHOWN_BY.iter().find(|(one, _)| *one == guard).map_or(1, |(_, seed)| *seed);
    let shown = run(seed, Some(guard)).map_err(|error| error.to_string())?.broken;
    let mut found = (!shown.is_empty()).then_some((seed, shown));
    if found.is_none() {
        let until_found = |summary: &Summary| summary.broken.is_empty();
        let seeds = 1..SEEDS_WITHOUT_A_GUARD + 1;
        found = search(seeds, Some(guard), until_found)?.broken.into_iter().next();
    }
    let Some((seed, broken)) = found else {
        return Err(format!("nothing breaks in {SEEDS_WITHOUT_A_GUARD} seeds").into());
    };
    print_later(&GUARDS, format!("{:<20} | {seed:>4} | {}", name(guard), broken[0]));
    Ok(())
}
