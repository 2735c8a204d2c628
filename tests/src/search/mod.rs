//! A search for a run in which a promise is broken.
//!
//! A seed is a run: some people, Pages and weeks of virtual time, with messages that come late,
//! twice or out of order, answers that are lost, services that fail, tokens that change, clocks
//! that differ, functions that die, and people who take over. The functions are the real ones, on
//! the local AWS and the local Meta. Each of their calls waits at the gate and is released in an
//! order that the seed decides, so that the same seed is the same run.

mod author;
mod clock;
mod erasure;
mod faults;
mod habits;
mod history;
mod latency;
mod of_bot;
mod order;
mod passed_on;
mod plan;
mod promises;
mod receiver;
mod script;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::LocalSet;

use crate::guard::Guard;

pub use promises::Broken;
use world::World;

/// The result of a seed.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The promises that were broken.
    pub broken: Vec<Broken>,
    /// What happened, a line each.
    pub story: Vec<String>,
    /// What was asked for by the calls among those lines. It holds ports and tokens that differ from run to run.
    pub bodies: BTreeMap<usize, String>,
    /// How many calls the functions made to the table.
    pub table_calls: usize,
    /// How many messages were delivered.
    pub delivered: usize,
    /// How many of them were delivered while nothing failed, and the longest of their waits.
    pub waits: (usize, Duration),
}

/// Runs a seed, perhaps without one of the guards.
///
/// # Errors
/// If the local platform does not start.
pub fn run(seed: u64, without: Option<Guard>) -> Result<Run, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let mut world = World::new(seed, without).await?;
        let rests = world.run().await;
        let (broken, waits) = promises::check(&world, rests).await?;
        let calls = world.platform.aws.take_calls();
        let table_calls = calls.iter().filter(|call| call.target.starts_with("DynamoDB")).count();
        let delivered = world.history.attempts.iter().filter(|a| a.delivered).count();
        Ok(Run { broken, table_calls, delivered, waits, story: world.story, bodies: world.bodies })
    }))
}

/// The result of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// Calls to the table over all of them.
    pub table_calls: usize,
    /// Messages delivered over all of them.
    pub delivered: usize,
    /// How many of them were delivered while nothing failed, and the longest of their waits.
    pub waits: (usize, Duration),
    /// The seeds in which a promise was broken, and how.
    pub broken: Vec<(u64, Vec<Broken>)>,
}

/// Runs seeds on as many threads as there are cores, until `go_on` says no or there are none left.
///
/// # Errors
/// If the local platform does not start.
pub fn search(
    seeds: Range<u64>,
    without: Option<Guard>,
    go_on: impl Fn(&Summary) -> bool + Sync,
) -> Result<Summary, String> {
    let next = AtomicU64::new(seeds.start);
    let summary = Mutex::new(Summary::default());
    let look = || summary.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || -> Result<(), String> {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= seeds.end || !go_on(&look()) {
                return Ok(());
            }
            let run = run(seed, without).map_err(|error| format!("seed {seed}: {error}"))?;
            let mut summary = look();
            summary.seeds += 1;
            summary.table_calls += run.table_calls;
            summary.delivered += run.delivered;
            summary.waits.0 += run.waits.0;
            summary.waits.1 = summary.waits.1.max(run.waits.1);
            if !run.broken.is_empty() {
                summary.broken.push((seed, run.broken));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err("a thread of the search panicked".to_owned()))
        })
    })?;
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.broken.sort_by_key(|(seed, _)| *seed);
    Ok(summary)
}
