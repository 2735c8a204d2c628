//! What begins: what people do, notifications, batches, sweeps and requests, each in a container.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use backend::signature::SIGNATURE_HEADER;
use lambda_http::Body;
use lambda_http::http::{Method, Request};
use messenger::clock::{SharedClock, Timestamp};
use messenger::event::split;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::task::spawn_local;

use super::{Answer, Container, Invocation, LARGEST_SKEW_MILLIS, PROCESSORS, SWEEPS, Work, World};
use crate::functions::Functions;
use crate::platform::{API_TIMEOUT, EVENTS, PROCESSOR_TIMEOUT, SWEEP_TIMEOUT, batch};
use crate::search::clock::MachineClock;
use crate::search::history::Said;
use crate::search::plan::{Act, Plan};

impl World {
    /// Begins what is planned until now: whether there was anything.
    pub(super) fn begin_planned(&mut self) -> bool {
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
                Some(Plan::Answer { body, key, tries }) => self.begin_answer(body, key, tries),
                Some(Plan::FillSecret) => self.fill_secret(),
                None => break,
            }
        }
        any
    }

    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Outgoing { page_id, psid, script, ahead, posted } => {
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
            Act::Answer { body, key } => {
                self.tell(format!("an agent answers with {body}"));
                self.plan_at(self.now(), Plan::Answer { body, key, tries: 0 });
            }
            Act::Outage { length } => {
                self.tell(format!("Graph does not say what it does for {} s", length.as_secs()));
                self.outage_until = self.now() + length;
                self.history
                    .troubles
                    .push((self.now(), self.outage_until + Duration::from_mins(10)));
            }
            Act::RotateToken { page_id, filled_in_after } => {
                self.tell(format!("the token of {page_id} changes"));
                self.numbers += 1;
                let token = format!("token-{}-of-{page_id}", self.numbers);
                self.platform.meta.set_token(&page_id, &token);
                self.tokens.insert(page_id, token);
                let filled_in_at = self.now() + filled_in_after;
                // A sweep comes within half an hour of the one before.
                self.history.troubles.push((self.now(), filled_in_at + Duration::from_mins(40)));
                self.plan_at(filled_in_at, Plan::FillSecret);
            }
        }
    }

    fn begin_answer(&mut self, body: Value, key: String, tries: u32) {
        let Ok(mut sample) = crate::samples::read("api/create-message") else { return };
        sample["body"] = body.to_string().into();
        sample["headers"]["idempotency-key"] = key.clone().into();
        let Ok(request) = lambda_http::request::from_str(&sample.to_string()) else { return };
        let work = Work::Answer { body, key, tries };
        self.begin(work, API_TIMEOUT, async move |functions, name, deadline| {
            Answer::Status(functions.api.handle(&request, &name, deadline).await.status().as_u16())
        });
    }

    pub(super) fn fill_secret(&mut self) {
        self.tell("the secret gets the present tokens");
        let tokens = self.tokens.clone();
        self.platform.put_secret(|secret| {
            for (page, token) in tokens {
                secret["pages"][page]["access_token"] = token.into();
            }
        });
    }

    pub(super) fn begin_batch(&mut self) -> bool {
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

    /// A sweep starts on schedule, and occasionally while another one runs.
    pub(super) async fn begin_sweep(&mut self, nothing_else: bool) -> bool {
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

    pub(super) fn begin<F>(&mut self, work: Work, timeout: Duration, invoke: F)
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
        let mut name = format!("invocation-{number}");
        // Lambda may run an asynchronous event twice, under one request id.
        let same = |running: &Invocation| matches!(running.work, Work::Sweep);
        if matches!(work, Work::Sweep)
            && let Some(running) = self.running.iter().find(|running| same(running))
            && self.rng.random_bool(0.5)
        {
            name.clone_from(&running.name);
        }
        let own_name = name.clone();
        let what = match &work {
            Work::Notification { .. } => "webhook".to_owned(),
            Work::Batch(received) => format!("event processor with {} events", received.len()),
            Work::Sweep => "follow-ups by the schedule".to_owned(),
            Work::Request { .. } => "follow-ups by request".to_owned(),
            Work::Answer { .. } => "the API".to_owned(),
        };
        self.tell(format!("[{number}] begins in {container}: {what}"));
        let task = spawn_local(async move { invoke(functions, name, deadline).await });
        let began = self.point();
        let ends_at = self.now() + timeout;
        self.running.push(Invocation {
            number,
            name: own_name,
            container,
            work,
            task,
            began,
            ends_at,
        });
    }

    /// A container that is free: one that is there, or a new one.
    pub(super) fn container(&mut self) -> Option<usize> {
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
}
