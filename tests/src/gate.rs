//! Every external call of a function, to AWS or Graph, passes here.
//!
//! An open gate lets calls through at once and numbers them, so that a function can be made to die
//! at any of them. A closed one holds every call until it is released, so that whoever drives the
//! functions decides what happens in which order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{Notify, oneshot};

/// The target of a request to Graph.
pub const GRAPH: &str = "Graph";

/// At which side of a call a function dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the call is carried out.
    Before,
    /// After it was carried out, before the function learns of it.
    After,
}

/// A call at the gate; calls are compared by who makes them and what they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The function instance that makes it; 0 if it is not one of several.
    pub instance: u64,
    /// Such as `DynamoDB_20120810.UpdateItem` or `Graph`.
    pub target: String,
    /// What is asked for.
    pub body: String,
}

impl Call {
    /// A call as it came in; its body's members are put in order, because clients do not.
    pub fn new(instance: u64, target: &str, body: &[u8]) -> Self {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default().to_string();
        Self { instance, target: target.to_owned(), body }
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out and answered.
    Go,
    /// It is not carried out; the service says that it failed.
    Refused,
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// It is carried out twice, as when a client repeats what was not answered; the second answer
    /// counts.
    Twice,
    /// It is carried out, but its caller has died.
    CallerDies,
}

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    counts: Arc<Counts>,
    crashed: Notify,
}

/// What a rule does to a call.
#[derive(Clone, Copy, Debug)]
enum Ruling {
    /// Its function dies of it.
    Death,
    /// The service says that it failed.
    Refusal,
}

/// What happens to calls of a kind.
struct Rule {
    applies: Box<dyn FnMut(&Call) -> bool + Send>,
    ruling: Ruling,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("ruling", &self.ruling).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    crash: Option<(usize, Moment)>,
    rule: Option<Rule>,
    next: u64,
    held: BTreeMap<(Call, u64), oneshot::Sender<(Verdict, Inside)>>,
}

/// What is counted of a closed gate.
#[derive(Debug, Default)]
struct Counts {
    inside: AtomicUsize,
    movements: AtomicU64,
}

impl Counts {
    fn moved(&self) {
        self.movements.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call that is being carried out, until it leaves or its caller gives it up.
#[derive(Debug)]
struct Inside(Arc<Counts>);

impl Inside {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.inside.fetch_add(1, Ordering::Relaxed);
        counts.moved();
        Self(Arc::clone(counts))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
        self.0.moved();
    }
}

/// A call that went through the gate and has not left it.
#[derive(Debug)]
pub struct Passed {
    /// What happens to it.
    pub verdict: Verdict,
    _inside: Option<Inside>,
}

impl Gate {
    /// Lets a call in: at once, when it is released, or never if its function dies of it.
    pub async fn enter(&self, call: Call) -> Passed {
        if call.instance == 0 || !self.state().closed {
            match self.rule_for(&call) {
                Some(Ruling::Refusal) => {
                    return Passed { verdict: Verdict::Refused, _inside: None };
                }
                Some(Ruling::Death) => {
                    self.crashed.notify_one();
                    std::future::pending::<()>().await;
                }
                None => {}
            }
            let verdict = match self.count_down() {
                Some(Moment::Before) => {
                    self.crashed.notify_one();
                    std::future::pending().await
                }
                Some(Moment::After) => Verdict::CallerDies,
                None => Verdict::Go,
            };
            return Passed { verdict, _inside: None };
        }
        let released = {
            let mut state = self.state();
            let (release, released) = oneshot::channel();
            state.next += 1;
            self.counts.moved();
            let number = state.next;
            state.held.insert((call, number), release);
            released
        };
        match released.await {
            Ok((verdict, inside)) => Passed { verdict, _inside: Some(inside) },
            // The caller is dead.
            Err(_) => std::future::pending().await,
        }
    }

    /// Lets a call's answer out, unless its caller has died.
    pub async fn leave(&self, passed: Passed) {
        let verdict = passed.verdict;
        drop(passed);
        self.counts.moved();
        if verdict == Verdict::CallerDies {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Closes the gate: from now on calls of numbered instances wait for [`Self::release`].
    pub fn close(&self) {
        self.state().closed = true;
    }

    /// The calls that wait, in an order that depends on nothing but themselves. One that its caller gave
    /// up is no longer among them.
    pub fn held(&self) -> Vec<Call> {
        let mut state = self.state();
        state.held.retain(|_, release| !release.is_closed());
        state.held.keys().map(|(call, _)| call.clone()).collect()
    }

    /// How many calls wait.
    pub fn held_count(&self) -> usize {
        let mut state = self.state();
        state.held.retain(|_, release| !release.is_closed());
        state.held.len()
    }

    /// Whether a call of an instance waits.
    pub fn holds(&self, instance: u64) -> bool {
        self.state().held.keys().any(|(call, _)| call.instance == instance)
    }

    /// Releases the call at this place of [`Self::held`].
    pub fn release(&self, place: usize, verdict: Verdict) {
        let mut state = self.state();
        let Some(key) = state.held.keys().nth(place).cloned() else { return };
        let Some(release) = state.held.remove(&key) else { return };
        let _ = release.send((verdict, Inside::new(&self.counts)));
    }

    /// Forgets the calls of an instance that is dead.
    pub fn forget(&self, instance: u64) {
        self.state().held.retain(|(call, _), _| call.instance != instance);
    }

    /// How many calls are being carried out.
    pub fn inside(&self) -> usize {
        self.counts.inside.load(Ordering::Relaxed)
    }

    /// A number that grows whenever a call comes, is released, or goes.
    pub fn movements(&self) -> u64 {
        self.counts.movements.load(Ordering::Relaxed)
    }

    /// Kills every function that makes a call like this, until [`Self::spare`].
    pub fn crash_at_each(&self, is_fatal: impl FnMut(&Call) -> bool + Send + 'static) {
        self.state().rule = Some(Rule { applies: Box::new(is_fatal), ruling: Ruling::Death });
    }

    /// Refuses every call like this, until [`Self::spare`].
    pub fn refuse_each(&self, is_refused: impl FnMut(&Call) -> bool + Send + 'static) {
        self.state().rule = Some(Rule { applies: Box::new(is_refused), ruling: Ruling::Refusal });
    }

    /// Kills the function that makes the call with this number, counted from 1 from now on.
    pub fn crash_at(&self, call: usize, moment: Moment) {
        self.state().crash = Some((call, moment));
    }

    /// Cancels what was planned; returns whether a death at a numbered call was pending.
    pub fn spare(&self) -> bool {
        let mut state = self.state();
        state.rule = None;
        state.crash.take().is_some()
    }

    /// Completes when the planned death occurs; the caller then drops the function.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// What the rule says about a call that it applies to.
    fn rule_for(&self, call: &Call) -> Option<Ruling> {
        let mut state = self.state();
        let rule = state.rule.as_mut()?;
        (rule.applies)(call).then_some(rule.ruling)
    }

    /// Whether this call is the one that its function does not survive.
    fn count_down(&self) -> Option<Moment> {
        let mut state = self.state();
        let (left, moment) = state.crash.as_mut()?;
        *left -= 1;
        let (left, moment) = (*left, *moment);
        (left == 0).then(|| {
            state.crash = None;
            moment
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
