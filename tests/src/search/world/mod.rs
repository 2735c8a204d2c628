//! One run: people, Pages, functions and faults, in an order that the seed alone decides.

mod acts;
mod begin;
mod calls;
mod campaign;
mod ends;
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use backend::store::{ConversationKey, EntryKey};
use messenger::bot::shared;
use messenger::clock::{Clock, SharedClock, Timestamp};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::task::{JoinHandle, yield_now};

use super::author::Author;
use super::clock::{Sleepers, next_minute};
use super::habits::Habits;
use super::history::{History, Point};
use super::plan::{self, ApiCall, Cast, Plan};
use super::receiver::Receiver;
use super::script::Obedient;
use super::weather::Weather;
use crate::driver::AtWork;
use crate::functions::Functions;
use crate::gate::{Call, Verdict};
use crate::guard::{Guard, MEMO};
use crate::index::LaggingIndex;
use crate::platform::{EVENTS, FORWARD, Options, Platform, page_token};
use crate::samples::APP_SECRET;
use crate::sqs::Received;

/// Machines differ from the world's time by at most this, so by less than leases and windows allow
/// from each other.
const LARGEST_SKEW_MILLIS: i64 = 4_900;

/// After this many idle turns, everything waits at the gate.
const CALM_TURNS: u32 = 6;

/// A run with more steps than this counts as never settling.
const MOST_STEPS: u64 = 20_000;

/// How long after the last fault nothing of it can be felt: pauses of Pages have ended, tokens are filled
/// in.
const CALM_AFTER: Duration = Duration::from_hours(12);

/// How long entries may take to end after the last planned act.
const TIME_TO_END: Duration = Duration::from_hours(40 * 24);

const READ_SECRET: &str = ".GetSecretValue";

/// Of so many seeds one is recorded, if records are asked for: all of them would be gigabytes.
const RECORDED_SEEDS: u64 = 50;
const PROCESSORS: usize = 3;
const SWEEPS: usize = 2;

/// A container: one invocation at a time, with its memory kept between them.
struct Container {
    number: u64,
    functions: Rc<Functions>,
    clock: SharedClock,
    is_free: bool,
}

enum Work {
    Notification { body: Vec<u8>, tries: u32 },
    Batch(Vec<Received>),
    Sweep,
    Request { payload: Value, tries: u32 },
    Call { call: ApiCall, tries: u32 },
    Forward(Vec<Received>),
}

enum Answer {
    Status(u16),
    Called(u16, Value),
    Failures(Vec<String>),
    Done(Result<Value, String>),
}

struct Invocation {
    number: u64,
    name: String,
    container: u64,
    work: Work,
    task: JoinHandle<Answer>,
    began: Point,
    ends_at: Timestamp,
}

/// The call that was released last.
struct Released {
    call: Call,
    invocation: u64,
    is_faulty: bool,
    unclear: bool,
    outage: Option<u64>,
    verdict: Verdict,
}

/// What the owner fills into the secret.
#[derive(Clone)]
struct Credentials {
    tokens: BTreeMap<String, String>,
    app_secret: String,
    previous: Option<String>,
    /// The app secret that Meta signs with.
    of_meta: String,
}

/// Whether a call is one that a bot waits for: its memos are read and kept while it is asked.
fn is_of_memo(call: &Call) -> bool {
    let reads_or_keeps = call.target.ends_with(".GetItem") || call.target.ends_with(".PutItem");
    reads_or_keeps && call.body.contains(MEMO)
}

/// The world of one seed.
pub(super) struct World {
    rng: Xoshiro256PlusPlus,
    weather: Weather,
    receiver: Option<Receiver>,
    /// The bot, if it is a program of its own.
    _author: Option<Author>,
    is_remote: bool,
    /// The bots of containers that died: their threads end when they notice.
    orphans: Vec<AtWork>,
    pub(super) platform: Arc<Platform>,
    sleepers: Arc<Sleepers>,
    containers: Vec<Container>,
    running: Vec<Invocation>,
    plan: BTreeMap<(Timestamp, u64), Plan>,
    pub(super) history: History,
    pub(super) story: Vec<String>,
    /// What was asked for by the calls among the lines of the story.
    pub(super) bodies: BTreeMap<usize, String>,
    secret: Credentials,
    /// The entry of the event that an invocation opened last for a person.
    thinking: BTreeMap<(u64, String), EntryKey>,
    /// When each invocation last asked the table about a conversation.
    asked: BTreeMap<(u64, String), Point>,
    /// Marks of erasures that are being written, each by an invocation.
    marking: Vec<(ConversationKey, Timestamp, u64, Point)>,
    /// Since when messages have been at the gate.
    arrivals: BTreeMap<Call, Timestamp>,
    numbers: u64,
    points: u64,
    requests_seen: usize,
    due: Option<(u64, Option<Timestamp>)>,
    released: Option<Released>,
    trouble_until: Timestamp,
    outage_until: Timestamp,
    /// The number of the latest outage.
    outage: u64,
    dropped_at: Timestamp,
    next_sweep: Timestamp,
    idle_sweeps: u32,
}

impl World {
    /// Makes a world and plans what people will do in it.
    pub(super) async fn new(seed: u64, without: Option<Guard>) -> Result<Self, Box<dyn Error>> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let cast = plan::cast(&mut rng);
        let weather = Weather::draw(&mut rng);
        let receiver = if weather.publishes { Some(Receiver::start().await?) } else { None };
        // Without a guard, what comes in is not what a function asked for.
        let is_recorded = without.is_none() && seed.is_multiple_of(RECORDED_SEEDS);
        let habits = Habits::draw(seed);
        let name = format!("seed-{seed}");
        let author = if habits.is_remote {
            Some(Author::start(without.is_none().then_some(&*name)).await?)
        } else {
            None
        };
        let mut options = Options {
            pages: cast.pages.clone(),
            bot: author.is_none().then(|| shared(Obedient { habits })),
            has_threads: habits.does_io(),
            bot_lets_time_pass: true,
            record: is_recorded.then_some(name),
            ..Options::default()
        };
        let url = receiver.as_ref().map_or("", |receiver| &receiver.url);
        options.variables.extend(weather.variables(url));
        if let Some(author) = &author {
            options.variables.extend(habits.variables(&author.url));
        }
        if without == Some(Guard::Grace) {
            options.variables.insert("ECHO_GRACE_SECONDS".to_owned(), "1".to_owned());
        }
        let platform = Platform::start(options).await?;
        if let Some(guard) = without {
            platform.aws.without(guard);
        }
        if !weather.index_lag.is_zero() {
            let clock = Arc::clone(&platform.clock);
            platform.aws.delay_index(LaggingIndex::new(clock, weather.index_lag));
        }
        platform.gate.close();
        for (page_id, psid) in &cast.people {
            platform.meta.add_app_scoped_id(&Cast::user_id(psid), page_id, psid);
        }
        platform.meta.set_receipts(rng.random_bool(0.2));
        let now = platform.clock.now();
        let mut world = Self {
            platform,
            sleepers: Arc::default(),
            containers: Vec::new(),
            running: Vec::new(),
            plan: BTreeMap::new(),
            history: History { index_lag: weather.index_lag, ..History::default() },
            story: Vec::new(),
            bodies: BTreeMap::new(),
            secret: Credentials {
                tokens: cast.pages.iter().map(|page| (page.clone(), page_token(page))).collect(),
                app_secret: APP_SECRET.to_owned(),
                previous: None,
                of_meta: APP_SECRET.to_owned(),
            },
            thinking: BTreeMap::new(),
            asked: BTreeMap::new(),
            marking: Vec::new(),
            arrivals: BTreeMap::new(),
            weather,
            receiver,
            _author: author,
            is_remote: habits.is_remote,
            orphans: Vec::new(),
            numbers: 0,
            points: 0,
            requests_seen: 0,
            due: None,
            released: None,
            trouble_until: now,
            outage_until: now,
            outage: 0,
            dropped_at: now,
            next_sweep: now,
            idle_sweeps: 0,
            rng: rng.clone(),
        };
        for (at, act) in plan::acts(&mut rng, &cast, habits, now) {
            world.trouble_until = world.trouble_until.max(at + Duration::from_hours(2));
            world.plan_at(at, Plan::Act(act));
        }
        let calm = world.trouble_until + CALM_AFTER;
        for (at, plan) in plan::calm(&mut rng, &cast, weather.has_campaign, habits, calm) {
            world.plan_at(at, plan);
        }
        world.rng = rng;
        Ok(world)
    }

    /// Whether inbound events are passed on.
    pub(super) fn publishes(&self) -> bool {
        self.weather.publishes
    }

    /// Runs until nothing is left to happen; whether it came to rest.
    pub(super) async fn run(&mut self) -> bool {
        let end = self.trouble_until + TIME_TO_END;
        for _ in 0..MOST_STEPS {
            self.come_to_rest().await;
            self.note_marks().await;
            self.take_posts();
            self.note_arrivals();
            self.reap();
            self.stop_overdue();
            self.take_metas_notifications();
            if self.begin_planned().await || self.step().await {
                continue;
            }
            match self.next_instant().await {
                Some(next) if next <= end => {
                    self.platform.clock.move_forward_to(next);
                    self.sleepers.wake(next);
                    self.drop_expired().await;
                }
                next => {
                    let (running, held) = (self.running.len(), self.platform.gate.held_count());
                    self.tell(format!(
                        "the end: {running} run, {held} calls wait, next is {next:?}"
                    ));
                    return running == 0;
                }
            }
        }
        false
    }

    /// Performs one possible action at this instant; returns whether there was one.
    async fn step(&mut self) -> bool {
        self.lose_patience();
        let held = self.platform.gate.held_count();
        if held > 0 && self.rng.random_bool(0.85) {
            self.release(held);
            return true;
        }
        if self.begin_batch() || self.begin_forward() || self.begin_sweep(held == 0).await {
            return true;
        }
        if held > 0 {
            self.release(held);
        }
        held > 0
    }

    /// Waits until every function waits at the gate, sleeps, or is done.
    async fn come_to_rest(&self) {
        let look = || {
            let done = self.running.iter().filter(|running| running.task.is_finished()).count();
            (self.platform.gate.movements(), done, self.platform.gate.held_count())
        };
        let (mut calm, mut seen) = (0, look());
        while calm < CALM_TURNS {
            yield_now().await;
            let now = look();
            let rests = now == seen
                && self.platform.gate.inside() == 0
                && self.all_wait()
                && self.no_bot_is_at_work();
            calm = if rests { calm + 1 } else { 0 };
            seen = now;
        }
    }

    /// Whether every function that runs waits for something, if only for its death.
    fn all_wait(&self) -> bool {
        let dying = self.released.as_ref().filter(|call| call.verdict == Verdict::CallerDies);
        self.running.iter().all(|running| {
            running.task.is_finished()
                || dying.is_some_and(|call| call.invocation == running.number)
                || self.platform.gate.holds(running.container)
                || self.sleepers.are_in(running.container)
        })
    }

    /// Whether every bot that has a thread waits at the gate, or has none any more.
    fn no_bot_is_at_work(&self) -> bool {
        if self.orphans.iter().any(|orphans| orphans.count() > 0) {
            return false;
        }
        if self.containers.iter().all(|it| it.functions.bots_at_work.count() == 0) {
            return true;
        }
        let held = self.platform.gate.held();
        // Nobody hears of a call whose caller dies.
        let dying = self.released.iter().filter(|it| it.verdict == Verdict::CallerDies);
        let unheard: Vec<_> = held.iter().chain(dying.map(|it| &it.call)).collect();
        self.containers.iter().all(|container| {
            let at_work = container.functions.bots_at_work.count();
            let unheard = unheard.iter().filter(|call| call.instance == container.number);
            // Whoever needs the secret while somebody reads it waits for that.
            let reads_secret = unheard.clone().any(|call| call.target.ends_with(READ_SECRET));
            at_work == 0
                || (self.is_remote && reads_secret)
                || unheard.filter(|call| is_of_memo(call)).count() == at_work
        })
    }

    fn now(&self) -> Timestamp {
        self.platform.clock.now()
    }

    fn point(&mut self) -> Point {
        self.points += 1;
        Point { number: self.points, at: self.now() }
    }

    fn tell(&mut self, what: impl AsRef<str>) {
        self.story.push(format!("{} {}", self.now(), what.as_ref()));
    }

    fn plan_at(&mut self, at: Timestamp, plan: Plan) {
        self.numbers += 1;
        self.plan.insert((at, self.numbers), plan);
    }

    fn is_troubled(&self) -> bool {
        self.now() < self.trouble_until
    }

    // What begins.

    /// Meta posts its own notifications: mostly at once, sometimes late, twice or never.
    fn take_metas_notifications(&mut self) {
        for body in self.platform.meta.pending_webhooks() {
            let seconds = match self.rng.random_range(0..20) {
                _ if !self.is_troubled() => 0,
                0..9 => 0,
                9..14 => self.rng.random_range(1..20),
                14..18 => self.rng.random_range(20..300),
                18 => self.rng.random_range(300..7200),
                _ => continue,
            };
            let at = self.now() + Duration::from_secs(seconds);
            if self.rng.random_bool(0.1) {
                let later = Duration::from_secs(self.rng.random_range(1..1000));
                self.plan_at(at + later, Plan::Post { body: body.clone(), tries: 0 });
            }
            self.plan_at(at, Plan::Post { body, tries: 0 });
        }
    }

    /// When the next entry is due; the table is asked only if a function has called since.
    async fn next_due(&mut self) -> Option<Timestamp> {
        let movements = self.platform.gate.movements();
        match self.due {
            Some((seen_at, due)) if seen_at == movements => due,
            _ => {
                let due = self.platform.next_due().await;
                self.due = Some((movements, due));
                due
            }
        }
    }

    /// The next instant at which something happens.
    async fn next_instant(&mut self) -> Option<Timestamp> {
        let planned = self.plan.first_key_value().map(|(&(at, _), _)| at);
        let visible = [EVENTS, FORWARD].into_iter().filter_map(|queue| {
            self.platform.sqs.next_visible_at(queue).map(Timestamp::from_millis)
        });
        let visible = visible.min();
        let due = self.next_due().await.map(|due| {
            // A run that a punctual schedule missed is gone.
            let is_punctual = self.weather.is_punctual || !self.is_troubled();
            let due = if is_punctual { due.max(self.now()) } else { due };
            next_minute(due).max(self.next_sweep)
        });
        let next = [planned, visible, due, self.sleepers.next()].into_iter().flatten().min();
        next.map(|next| next.max(self.now() + Duration::from_millis(1)))
    }
}
