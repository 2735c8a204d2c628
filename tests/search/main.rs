//! The search as a test: a thousand seeds keep every promise, and without any one of the guards a
//! promise is broken.
//!
//! A harness of its own, because what it prints is a part of the result.
#![allow(clippy::print_stdout, missing_docs, reason = "its output is what it is for")]

use std::process::ExitCode;
use std::time::Instant;

use simulator::guard::Guard;
use simulator::search::{Summary, run, search};

/// How many seeds must keep every promise.
const SEEDS: u64 = 1000;

/// Within so many seeds the loss of a guard must be noticed.
const SEEDS_WITHOUT_A_GUARD: u64 = 1000;

fn main() -> ExitCode {
    // What `cargo test` is asked to filter for, and `--list` of editors and runners.
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let filters: Vec<_> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(*f));
    if arguments.iter().any(|argument| argument == "--list") {
        println!("search: test");
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    let mut end = |good: bool| if good { passed += 1 } else { failed += 1 };
    if wanted("a_seed_is_a_run") {
        end(a_seed_is_a_run());
    }
    if wanted("every_promise_holds") {
        end(every_promise_holds());
    }
    if wanted("guards") {
        println!("\nguard removed     | seed | the promise that breaks");
        println!("------------------|------|------------------------");
        for guard in Guard::ALL {
            end(is_needed(guard));
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same seed tells the same story, to the last line.
fn a_seed_is_a_run() -> bool {
    let stories: Vec<_> = (0..3).filter_map(|_| run(1, None).ok()).map(|run| run.story).collect();
    let good = stories.len() == 3 && stories.windows(2).all(|pair| pair[0] == pair[1]);
    println!("test a_seed_is_a_run ... {}", if good { "ok" } else { "FAILED" });
    good
}

fn every_promise_holds() -> bool {
    let began = Instant::now();
    let summary = match search(1..SEEDS + 1, None, |_| true) {
        Ok(summary) => summary,
        Err(error) => {
            println!("test every_promise_holds ... FAILED: {error}");
            return false;
        }
    };
    for (seed, broken) in &summary.broken {
        for broken in broken {
            println!("  {broken}\n    replay: cargo run -p simulator -- search --seed {seed}");
        }
    }
    let Summary { seeds, delivered, table_calls, broken } = &summary;
    let good = broken.is_empty() && *seeds == SEEDS;
    println!(
        "test every_promise_holds ... {}: {seeds} seeds in {} s, {delivered} messages delivered, {} calls to the table a seed",
        if good { "ok" } else { "FAILED" },
        began.elapsed().as_secs(),
        table_calls / usize::try_from((*seeds).max(1)).unwrap_or(1),
    );
    good
}

/// Searches for the first seed in which the guard's loss breaks a promise.
fn is_needed(guard: Guard) -> bool {
    let until_found = |summary: &Summary| summary.broken.is_empty();
    let name = guard.name();
    match search(1..SEEDS_WITHOUT_A_GUARD + 1, Some(guard), until_found) {
        Ok(Summary { broken, .. }) if !broken.is_empty() => {
            let (seed, broken) = &broken[0];
            println!("{name:<17} | {seed:>4} | {}", broken[0]);
            true
        }
        Ok(_) => {
            println!("{name:<17} | none | FAILED: nothing breaks in {SEEDS_WITHOUT_A_GUARD} seeds");
            false
        }
        Err(error) => {
            println!("{name:<17} | none | FAILED: {error}");
            false
        }
    }
}
