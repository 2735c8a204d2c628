//! What begins: notifications, batches, sweeps and requests, each in a container.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use backend::signature::SIGNATURE_HEADER;
use lambda_http::Body;
use lambda_http::http::{Method, Request};
use messenger::clock::{SharedClock, Timestamp};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::task::spawn_local;

use super::{Answer, Container, Invocation, LARGEST_SKEW_MILLIS, PROCESSORS, SWEEPS, Work, World};
use crate::functions::Functions;
use crate::platform::{
    API_TIMEOUT, EVENTS, FORWARD, FORWARD_TIMEOUT, PROCESSOR_TIMEOUT, SWEEP_TIMEOUT, batch,
};
use crate::samples;
use crate::search::clock::{MachineClock, last_minute};
use crate::search::plan::{ApiCall, Plan};

/// How late the schedule may be, if it is punctual.
const TICK: Duration = Duration::from_secs(1);

impl World {
    /// Begins what is planned until now: whether there was anything.
    pub(super) async fn begin_planned(&mut self) -> bool {
        let mut any = false;
        while let Some((&(at, number), _)) = self.plan.first_key_value() {
            if at > self.now() {
                break;
            }
            any = true;
            match self.plan.remove(&(at, number)) {
                Some(Plan::Act(act)) => self.act(act),
                Some(Plan::Post { body, tries }) => self.begin_notification(body, tries),
                Some(Plan::Request { payload, tries }) => {
                    let work = Work::Request { payload: payload.clone(), tries };
                    self.begin(work, SWEEP_TIMEOUT, async move |functions, name, deadline| {
                        let answer = functions.follow_ups.handle(payload, &name, deadline).await;
                        Answer::Done(answer.map_err(|error| error.to_string()))
                    });
                }
                Some(Plan::Call { call, tries }) => self.begin_call(call, tries),
                Some(Plan::FillSecret) => self.fill_secret(),
                Some(Plan::ResetAppSecret) => self.reset_app_secret(),
                Some(Plan::Campaign { page_id, psid }) => {
                    self.begin_campaign(&page_id, &psid).await;
                }
                None => break,
            }
        }
        any
    }

    fn begin_notification(&mut self, body: Vec<u8>, tries: u32) {
        let signature = self.platform.meta.sign(&body);
        let request = Request::builder()
            .method(Method::POST)
            .uri("/webhook")
            .header(SIGNATURE_HEADER, signature)
            .body(Body::Binary(body.clone()));
        let Ok(request) = request else { return };
        let work = Work::Notification { body, tries };
        self.begin(work, PROCESSOR_TIMEOUT, async move |functions, _, _| {
            Answer::Status(functions.webhook.handle(request).await.status().as_u16())
        });
    }

    fn begin_call(&mut self, call: ApiCall, tries: u32) {
        let Some(event) = self.api_event(&call) else { return };
        let Ok(request) = lambda_http::request::from_str(&event.to_string()) else { return };
        let work = Work::Call { call, tries };
        self.begin(work, API_TIMEOUT, async move |functions, name, deadline| {
            let answer = functions.api.handle(&request, &name, deadline).await;
            let body = serde_json::from_slice(answer.body().as_ref()).unwrap_or_default();
            Answer::Called(answer.status().as_u16(), body)
        });
    }

    /// The event that API Gateway makes of a call.
    fn api_event(&self, call: &ApiCall) -> Option<Value> {
        Some(match call {
            ApiCall::Answer { body, key } => {
                let mut event = samples::read("api/create-message").ok()?;
                event["body"] = body.to_string().into();
                event["headers"]["idempotency-key"] = key.clone().into();
                event
            }
            ApiCall::Erase { page_id, psid } => {
                let mut event = samples::read("api/erase-person").ok()?;
                let path = format!("/people/{psid}");
                event["rawPath"] = path.clone().into();
                event["requestContext"]["http"]["path"] = path.into();
                event["rawQueryString"] = format!("page_id={page_id}").into();
                event["queryStringParameters"]["page_id"] = page_id.clone().into();
                event
            }
            ApiCall::Delete { user_id, asked_at } => {
                let mut event = samples::read("api/begin-deletion").ok()?;
                let signed = json!({
                    "algorithm": "HMAC-SHA256",
                    "issued_at": asked_at.millis() / 1000,
                    "expires": 0,
                    "user_id": user_id,
                });
                let signed = samples::sign_request(&signed, &self.secret.of_meta).ok()?;
                event["body"] = format!("signed_request={signed}").into();
                event
            }
        })
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

    /// One event at a time, so that what is posted tells which look at the mark came before it.
    pub(super) fn begin_forward(&mut self) -> bool {
        if self.running.iter().any(|running| matches!(running.work, Work::Forward(_))) {
            return false;
        }
        let received = self.platform.sqs.receive(FORWARD, 1);
        if received.is_empty() {
            return false;
        }
        let event = batch(&received);
        self.begin(Work::Forward(received), FORWARD_TIMEOUT, async move |functions, _, end| {
            let Some(forwarder) = &functions.forwarder else {
                return Answer::Failures(Vec::new());
            };
            let failures = forwarder.handle(event, end).await.batch_item_failures.into_iter();
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
        let is_punctual = self.weather.is_punctual || !self.is_troubled();
        let is_between = is_punctual && self.now() > last_minute(self.now()) + TICK;
        if !wanted || is_between || (self.next_sweep > self.now() && busy == 0) {
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
            Work::Call { .. } => "the API".to_owned(),
            Work::Forward(_) => "forward".to_owned(),
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
            container: number,
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
