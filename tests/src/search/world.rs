//! One run: people, Pages, functions and faults, in an order that the seed alone decides.

use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use backend::signature::SIGNATURE_HEADER;
use futures_util::FutureExt;
use lambda_http::Body;
use lambda_http::http::{Method, Request};
use messenger::clock::{Clock, SharedClock, Timestamp};
use messenger::event::split;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_local, yield_now};

use super::clock::{MachineClock, Sleepers};
use super::history::{History, Point, Said};
use super::plan::{self, Act, Plan};
use super::script::obey;
use crate::functions::Functions;
use crate::gate::{GRAPH, Verdict};
use crate::guard::Guard;
use crate::meta::Fault;
use crate::platform::{
    EVENTS, Options, PROCESSOR_TIMEOUT, Platform, SWEEP_TIMEOUT, batch, page_token,
};
use crate::sqs::Received;

/// Machines differ from the world's time by at most this, so by less than the safety margin from
/// each other.
const LARGEST_SKEW_MILLIS: i64 = 25_000;

/// After so many turns in which nothing moved, everything waits at the gate.
const CALM_TURNS: u32 = 24;

/// A run that takes more steps than this does not come to rest.
const MOST_STEPS: u64 = 20_000;

/// After the last thing that people do, entries have so long to end.
const TIME_TO_END: Duration = Duration::from_hours(40 * 24);

const PROCESSORS: usize = 3;
const SWEEPS: usize = 2;

/// A container: it runs one invocation at a time, and remembers.
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
}

enum Answer {
    Status(u16),
    Failures(Vec<String>),
    Done(Result<Value, String>),
}

struct Invocation {
    number: u64,
    container: u64,
    work: Work,
    task: JoinHandle<Answer>,
    began: Point,
    ends_at: Timestamp,
}

/// The call that was released last.
struct Released {
    invocation: u64,
    is_faulty: bool,
    unclear: bool,
    verdict: Verdict,
}

/// The world of one seed.
pub(super) struct World {
    rng: Xoshiro256PlusPlus,
    pub(super) platform: Arc<Platform>,
    sleepers: Arc<Sleepers>,
    containers: Vec<Container>,
    running: Vec<Invocation>,
    plan: BTreeMap<(Timestamp, u64), Plan>,
    pub(super) history: History,
    pub(super) story: Vec<String>,
    tokens: BTreeMap<String, String>,
    numbers: u64,
    points: u64,
    requests_seen: usize,
    due: Option<(u64, Option<Timestamp>)>,
    released: Option<Released>,
    trouble_until: Timestamp,
    next_sweep: Timestamp,
    idle_sweeps: u32,
}

impl World {
    /// Makes a world and plans what people will do in it.
    pub(super) async fn new(seed: u64, without: Option<Guard>) -> Result<Self, Box<dyn Error>> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let cast = plan::cast(&mut rng);
        let mut options =
            Options { pages: cast.pages.clone(), replies: obey, ..Options::default() };
        options.variables.insert("RETENTION_DAYS".to_owned(), "3650".to_owned());
        if without == Some(Guard::Grace) {
            options.variables.insert("ECHO_GRACE_SECONDS".to_owned(), "1".to_owned());
        }
        let platform = Platform::start(options).await?;
        if let Some(guard) = without {
            platform.aws.without(guard);
        }
        platform.gate.close();
        platform.meta.set_receipts(rng.random_bool(0.2));
        let now = platform.clock.now();
        let mut world = Self {
            platform,
            sleepers: Arc::default(),
            containers: Vec::new(),
            running: Vec::new(),
            plan: BTreeMap::new(),
            history: History::default(),
            story: Vec::new(),
            tokens: cast.pages.iter().map(|page| (page.clone(), page_token(page))).collect(),
            numbers: 0,
            points: 0,
            requests_seen: 0,
            due: None,
            released: None,
            trouble_until: now,
            next_sweep: now,
            idle_sweeps: 0,
            rng: rng.clone(),
        };
        for (at, act) in plan::acts(&mut rng, &cast, now) {
            world.trouble_until = world.trouble_until.max(at + Duration::from_hours(2));
            world.plan_at(at, Plan::Act(act));
        }
        world.rng = rng;
        Ok(world)
    }

    /// Runs until nothing is left to happen; whether it came to rest.
    pub(super) async fn run(&mut self) -> bool {
        let end = self.trouble_until + TIME_TO_END;
        for _ in 0..MOST_STEPS {
            self.come_to_rest().await;
            self.reap();
            self.stop_overdue();
            self.take_metas_notifications();
            if self.begin_planned() || self.step().await {
                continue;
            }
            match self.next_instant().await {
                Some(next) if next <= end => {
                    self.platform.clock.move_forward_to(next);
                    self.sleepers.wake(next);
                }
                next => {
                    let (running, held) = (self.running.len(), self.platform.gate.held().len());
                    self.tell(format!(
                        "the end: {running} run, {held} calls wait, next is {next:?}"
                    ));
                    return running == 0;
                }
            }
        }
        false
    }

    /// Does one thing that can be done at this instant: whether there was one.
    async fn step(&mut self) -> bool {
        let held = self.platform.gate.held().len();
        if held > 0 && self.rng.random_bool(0.85) {
            self.release(held);
            return true;
        }
        if self.begin_batch() || self.begin_sweep(held == 0).await {
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
            (self.platform.gate.movements(), done)
        };
        let (mut calm, mut seen) = (0, look());
        while calm < CALM_TURNS {
            yield_now().await;
            let now = look();
            let rests = now == seen && self.platform.gate.inside() == 0 && self.all_wait();
            calm = if rests { calm + 1 } else { 0 };
            seen = now;
        }
    }

    /// Whether every function that runs waits for something, if only for its death.
    fn all_wait(&self) -> bool {
        let held = self.platform.gate.held();
        let dying = self.released.as_ref().filter(|call| call.verdict == Verdict::CallerDies);
        self.sleepers.next().is_some()
            || self.running.iter().all(|running| {
                running.task.is_finished()
                    || dying.is_some_and(|call| call.invocation == running.number)
                    || held.iter().any(|call| call.instance == running.container)
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

    /// Begins what is planned until now: whether there was anything.
    fn begin_planned(&mut self) -> bool {
        let mut any = false;
        while let Some((&(at, number), _)) = self.plan.first_key_value() {
            if at > self.now() {
                break;
            }
            any = true;
            match self.plan.remove(&(at, number)) {
                Some(Plan::Act(act)) => self.act(act),
                Some(Plan::Post { body, tries }) => {
                    let signature = self.platform.meta.sign(&body);
                    let request = Request::builder()
                        .method(Method::POST)
                        .uri("/webhook")
                        .header(SIGNATURE_HEADER, signature)
                        .body(Body::Binary(body.clone()));
                    let Ok(request) = request else { continue };
                    let work = Work::Notification { body, tries };
                    self.begin(work, PROCESSOR_TIMEOUT, async move |functions, _, _| {
                        Answer::Status(functions.webhook.handle(request).await.status().as_u16())
                    });
                }
                Some(Plan::Request { payload, tries }) => {
                    let work = Work::Request { payload: payload.clone(), tries };
                    self.begin(work, SWEEP_TIMEOUT, async move |functions, name, deadline| {
                        let answer = functions.follow_ups.handle(payload, &name, deadline).await;
                        Answer::Done(answer.map_err(|error| error.to_string()))
                    });
                }
                Some(Plan::FillSecret) => self.fill_secret(),
                None => break,
            }
        }
        any
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Say { page_id, psid, script, ahead, posted } => {
                let at = self.now();
                self.tell(format!("{psid} says {} to {page_id}", script.text()));
                let item = json!({
                    "message": {"mid": format!("m_said_{}", script.number), "text": script.text()},
                    "timestamp": (at + ahead).millis(),
                });
                let body = self.platform.meta.person_does(&page_id, &psid, item);
                for event in split(&body, at).unwrap_or_default() {
                    let said = Said {
                        page_id: page_id.clone(),
                        psid: psid.clone(),
                        script: script.clone(),
                        at,
                        accepted: None,
                        received: None,
                        processed: None,
                    };
                    self.history.said.insert(event.id, said);
                }
                for delay in posted {
                    self.plan_at(at + delay, Plan::Post { body: body.clone(), tries: 0 });
                }
            }
            Act::TakeOver { page_id, psid, delay } => {
                let at = self.now();
                self.tell(format!("people of {page_id} take over from the bot for {psid}"));
                self.numbers += 1;
                let mid = format!("m_inbox_{}", self.numbers);
                let echo = json!({"mid": mid, "is_echo": true, "app_id": 26_390_203_743_090_i64, "text": "hello"});
                let item =
                    json!({"sender": {"id": page_id}, "recipient": {"id": psid}, "message": echo});
                let body = self.platform.meta.person_does(&page_id, &psid, item);
                self.history.taken_over.push((page_id, psid, at));
                self.plan_at(at + delay, Plan::Post { body, tries: 0 });
            }
            Act::HandBack { page_id, psid } => {
                self.tell(format!("people of {page_id} hand {psid} back to the bot"));
                let pass = json!({"previous_owner_app_id": "26390203743090", "new_owner_app_id": crate::samples::APP_ID});
                let item = json!({"pass_thread_control": pass});
                let body = self.platform.meta.person_does(&page_id, &psid, item);
                self.plan_at(self.now(), Plan::Post { body, tries: 0 });
            }
            Act::Ask { payload } => {
                self.tell(format!("somebody asks for {payload}"));
                self.plan_at(self.now(), Plan::Request { payload, tries: 0 });
            }
            Act::RotateToken { page_id, filled_in_after } => {
                self.tell(format!("the token of {page_id} changes"));
                self.numbers += 1;
                let token = format!("token-{}-of-{page_id}", self.numbers);
                self.platform.meta.set_token(&page_id, &token);
                self.tokens.insert(page_id, token);
                self.plan_at(self.now() + filled_in_after, Plan::FillSecret);
            }
        }
    }

    fn fill_secret(&mut self) {
        self.tell("the secret gets the present tokens");
        let tokens = self.tokens.clone();
        self.platform.put_secret(|secret| {
            for (page, token) in tokens {
                secret["pages"][page]["access_token"] = token.into();
            }
        });
    }

    fn begin_batch(&mut self) -> bool {
        let busy = self.running.iter().filter(|r| matches!(r.work, Work::Batch(_))).count();
        if busy == PROCESSORS {
            return false;
        }
        let most = self.rng.random_range(1..=10);
        let received = self.platform.sqs.receive(EVENTS, most);
        if received.is_empty() {
            return false;
        }
        for message in &received {
            let point = self.point();
            self.history.received(&message.body, point);
        }
        let event = batch(&received);
        self.begin(Work::Batch(received), PROCESSOR_TIMEOUT, async move |functions, name, end| {
            let answer = functions.processor.handle(event, &name, end).await;
            let failures = answer.batch_item_failures.into_iter();
            Answer::Failures(failures.map(|failure| failure.item_identifier).collect())
        });
        true
    }

    /// A sweep begins when the schedule comes, and now and then beside another one.
    async fn begin_sweep(&mut self, nothing_else: bool) -> bool {
        let busy = self.running.iter().filter(|r| matches!(r.work, Work::Sweep)).count();
        let wanted = match busy {
            0 => nothing_else || self.rng.random_bool(0.1),
            busy => busy < SWEEPS && self.rng.random_bool(0.05),
        };
        if !wanted || (self.next_sweep > self.now() && busy == 0) {
            return false;
        }
        if self.next_due().await.is_none_or(|due| due > self.now()) {
            return false;
        }
        self.begin(Work::Sweep, SWEEP_TIMEOUT, async move |functions, name, deadline| {
            let tick = json!({"source": "schedule"});
            let answer = functions.follow_ups.handle(tick, &name, deadline).await;
            Answer::Done(answer.map_err(|error| error.to_string()))
        });
        true
    }

    fn begin<F>(&mut self, work: Work, timeout: Duration, invoke: F)
    where
        F: AsyncFnOnce(Rc<Functions>, String, Timestamp) -> Answer + 'static,
    {
        let Some(container) = self.container() else { return };
        self.numbers += 1;
        let number = self.numbers;
        let (functions, deadline) = {
            let container = &self.containers[container];
            (Rc::clone(&container.functions), container.clock.now() + timeout)
        };
        let container = self.containers[container].number;
        let name = format!("invocation-{number}");
        let what = match &work {
            Work::Notification { .. } => "webhook".to_owned(),
            Work::Batch(received) => format!("event processor with {} events", received.len()),
            Work::Sweep => "follow-ups by the schedule".to_owned(),
            Work::Request { .. } => "follow-ups by request".to_owned(),
        };
        self.tell(format!("[{number}] begins in {container}: {what}"));
        let task = spawn_local(async move { invoke(functions, name, deadline).await });
        let began = self.point();
        let ends_at = self.now() + timeout;
        self.running.push(Invocation { number, container, work, task, began, ends_at });
    }

    /// A container that is free: one that is there, or a new one.
    fn container(&mut self) -> Option<usize> {
        let free: Vec<_> =
            (0..self.containers.len()).filter(|place| self.containers[*place].is_free).collect();
        if !free.is_empty() && self.rng.random_bool(0.9) {
            let place = free[self.rng.random_range(0..free.len())];
            self.containers[place].is_free = false;
            return Some(place);
        }
        self.numbers += 1;
        let number = self.numbers;
        let ahead_millis = self.rng.random_range(-LARGEST_SKEW_MILLIS..=LARGEST_SKEW_MILLIS);
        let clock: SharedClock = Arc::new(MachineClock {
            world: Arc::clone(&self.platform.clock),
            ahead_millis,
            sleepers: Arc::clone(&self.sleepers),
        });
        let functions = self.platform.instance(number, &clock).ok()?;
        self.tell(format!("container {number}, whose clock is {ahead_millis} ms ahead"));
        let functions = Rc::new(functions);
        self.containers.push(Container { number, functions, clock, is_free: false });
        Some(self.containers.len() - 1)
    }

    // What goes on.

    /// Releases one of the calls that wait, with or without a fault.
    fn release(&mut self, held: usize) {
        let place = self.rng.random_range(0..held);
        let call = self.platform.gate.held().swap_remove(place);
        let latency = [0, 5, 40, 300, 1500][self.rng.random_range(0..5)];
        self.platform.clock.forward(Duration::from_millis(latency));
        self.sleepers.wake(self.now());
        let Some(index) = self.running.iter().position(|r| r.container == call.instance) else {
            return;
        };
        if self.is_troubled() && self.rng.random_bool(0.008) {
            self.tell(format!("[{}] dies before {}", self.running[index].number, call.target));
            self.kill(index);
            return;
        }
        let fault = self.fault(&call.target);
        let verdict = self.verdict(&call.target, fault.is_some());
        let number = self.running[index].number;
        self.tell(format!("[{number}] {} {verdict:?} {fault:?}", call.target));
        let unclear = match &fault {
            Some(Fault::Error { .. } | Fault::Throttled { .. }) => false,
            Some(_) => true,
            None => verdict == Verdict::CallerDies,
        };
        let is_faulty = fault.is_some();
        if let Some(fault) = fault {
            self.platform.meta.fail_next(fault);
        }
        if verdict != Verdict::Go && verdict != Verdict::Twice {
            self.history.troubled(number);
        }
        self.platform.gate.release(place, verdict);
        self.released = Some(Released { invocation: number, is_faulty, unclear, verdict });
    }

    fn verdict(&mut self, target: &str, has_fault: bool) -> Verdict {
        if !self.is_troubled() || has_fault {
            return Verdict::Go;
        }
        let chance = self.rng.random_range(0..1000);
        match chance {
            0..8 => Verdict::CallerDies,
            _ if target == GRAPH => Verdict::Go,
            8..20 => Verdict::Refused,
            20..30 => Verdict::AnswerLost,
            30..40 => Verdict::Twice,
            _ => Verdict::Go,
        }
    }

    fn fault(&mut self, target: &str) -> Option<Fault> {
        if target != GRAPH || !self.is_troubled() || self.rng.random_bool(0.82) {
            return None;
        }
        let error = |http, code, subcode| Fault::Error { http, code, subcode };
        Some(match self.rng.random_range(0..20) {
            0..7 => Fault::LostAnswer,
            7..9 => Fault::LostRequest,
            9..13 => Fault::UnknownDelivered,
            13..15 => Fault::Http5xx,
            15..17 => error(500, 2, None),
            17 => Fault::Throttled { regain_minutes: self.rng.random_range(1..90) },
            18 => error(400, 10, Some(1_893_063)),
            _ => error(400, 368, None),
        })
    }

    /// Looks at what the released call has led to.
    fn look(&mut self) {
        let Some(released) = self.released.take() else { return };
        let requests = self.platform.meta.requests();
        for request in requests.iter().skip(self.requests_seen) {
            let point = self.point();
            self.tell(format!("    Graph: {} {:?}", request.message["text"], request.outcome));
            let began = self.running.iter().find(|r| r.number == released.invocation);
            let began = began.map_or(point, |invocation| invocation.began);
            let invocation = (released.invocation, began);
            let (faulty, unclear) = (released.is_faulty, released.unclear);
            self.history.requested(request, faulty, unclear, invocation, point);
        }
        self.requests_seen = requests.len();
        if released.verdict == Verdict::CallerDies {
            let dying = self.running.iter().position(|r| r.number == released.invocation);
            if let Some(index) = dying {
                self.tell(format!("[{}] dies after it", released.invocation));
                self.kill(index);
            }
        }
    }

    /// Lambda ends what takes too long.
    fn stop_overdue(&mut self) {
        while let Some(index) = self.running.iter().position(|r| r.ends_at < self.now()) {
            self.tell(format!("[{}] has run out of time", self.running[index].number));
            self.kill(index);
        }
    }

    fn kill(&mut self, index: usize) {
        let invocation = self.running.swap_remove(index);
        invocation.task.abort();
        self.platform.gate.forget(invocation.container);
        self.containers.retain(|container| container.number != invocation.container);
        self.history.troubled(invocation.number);
        self.failed(invocation.work);
    }

    // What ends.

    fn reap(&mut self) {
        self.look();
        while let Some(index) = self.running.iter().position(|r| r.task.is_finished()) {
            let invocation = self.running.swap_remove(index);
            let answer = invocation.task.now_or_never();
            let place = self.containers.iter_mut().find(|c| c.number == invocation.container);
            if let Some(container) = place {
                container.is_free = true;
            }
            self.tell(format!("[{}] is done", invocation.number));
            match answer {
                Some(Ok(answer)) => self.answered(invocation.work, answer),
                _ => self.failed(invocation.work),
            }
        }
    }

    fn answered(&mut self, work: Work, answer: Answer) {
        match (work, answer) {
            (Work::Notification { body, .. }, Answer::Status(200)) => {
                let point = self.point();
                self.history.accepted(&body, point);
            }
            (Work::Batch(received), Answer::Failures(failures)) => {
                for message in received {
                    let done = !failures.contains(&message.message_id);
                    let point = self.point();
                    self.history.processed(&message.body, done, point);
                    if done {
                        self.platform.sqs.delete(EVENTS, &message.receipt_handle);
                    }
                }
            }
            (Work::Sweep, Answer::Done(summary)) => {
                let sent = summary.ok().and_then(|summary| summary["claimed"].as_u64());
                self.idle_sweeps = if sent > Some(0) { 0 } else { self.idle_sweeps + 1 };
                let wait = 1 << self.idle_sweeps.min(5);
                self.next_sweep = next_minute(self.now()) + Duration::from_mins(wait - 1);
            }
            (Work::Request { .. }, Answer::Done(Ok(_))) => {}
            (work, _) => self.failed(work),
        }
    }

    /// What was not done is done again: by Meta, by the queue, by the schedule, by who asked.
    fn failed(&mut self, work: Work) {
        let again = self.now() + Duration::from_secs(self.rng.random_range(0..4));
        match work {
            Work::Notification { body, tries } => {
                self.plan_at(again, Plan::Post { body, tries: tries + 1 });
            }
            Work::Batch(received) => {
                for message in received {
                    let point = self.point();
                    self.history.processed(&message.body, false, point);
                }
            }
            Work::Sweep => self.next_sweep = next_minute(self.now()),
            Work::Request { payload, tries } => {
                let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
                self.history.hindered_requests.push((text("page_id"), text("psid")));
                self.plan_at(again, Plan::Request { payload, tries: tries + 1 });
            }
        }
    }

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
        let visible = self.platform.sqs.next_visible_at(EVENTS).map(Timestamp::from_millis);
        let due = match self.next_due().await {
            Some(due) => Some(next_minute(due).max(self.next_sweep)),
            None => None,
        };
        let next = [planned, visible, due, self.sleepers.next()].into_iter().flatten().min();
        next.map(|next| next.max(self.now() + Duration::from_millis(1)))
    }
}

fn next_minute(at: Timestamp) -> Timestamp {
    const MINUTE: i64 = 60_000;
    Timestamp::from_millis((at.millis() + MINUTE - 1).div_euclid(MINUTE) * MINUTE)
}
