//! The world outside of the platform, as a test makes it up.

use std::collections::BTreeMap;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use secrecy::SecretString;

use super::transcript::Outage;
use crate::bot::{NoAnswer, Outside, Pending};

type Answer = Result<Response<Vec<u8>>, NoAnswer>;
type Serve = Box<dyn FnMut(Request<Vec<u8>>) -> Answer + Send>;

/// A call that changes something: what it is, and its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) what: String,
    pub(super) key: Option<String>,
}

#[derive(Default)]
struct Things {
    services: BTreeMap<String, Serve>,
    secrets: BTreeMap<String, String>,
    /// The outages of services, and how many calls they still last.
    outages: BTreeMap<String, (Outage, u32)>,
    changes: Vec<Change>,
    missing: Option<&'static str>,
    broken: Option<&'static str>,
}

/// Services and secrets, shared by a conversation and its bot.
#[derive(Default)]
pub(super) struct World(Mutex<Things>);

impl World {
    pub(super) fn serve(
        &self,
        name: &str,
        serve: impl FnMut(Request<Vec<u8>>) -> Answer + Send + 'static,
    ) {
        self.things().services.insert(name.to_owned(), Box::new(serve));
    }

    pub(super) fn know(&self, name: &str, text: &str) {
        self.things().secrets.insert(name.to_owned(), text.to_owned());
    }

    pub(super) fn fail(&self, name: &str, outage: Outage, times: u32) {
        self.things().outages.insert(name.to_owned(), (outage, times));
    }

    pub(super) fn recover(&self) {
        self.things().outages.clear();
    }

    /// The calls since the last time that changed something.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.things().changes)
    }

    /// A service that was called and that the test does not have.
    pub(super) fn take_missing(&self) -> Option<&'static str> {
        self.things().missing.take()
    }

    /// A service of the test that panicked: what it was to check does not hold.
    pub(super) fn take_broken(&self) -> Option<&'static str> {
        self.things().broken.take()
    }

    /// A service of the test that panicked has left everything as it was.
    fn things(&self) -> MutexGuard<'_, Things> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Things {
    fn call(&mut self, name: &'static str, request: Request<Vec<u8>>) -> Answer {
        if !request.method().is_safe() {
            let key = request.headers().get("idempotency-key");
            let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
            let what = format!("{} {} of {name}", request.method(), request.uri().path());
            self.changes.push(Change { what, key });
        }
        if let Some((outage, times)) = self.outages.get_mut(name)
            && *times > 0
        {
            *times -= 1;
            return match outage {
                Outage::Busy => {
                    let mut busy = Response::new(Vec::new());
                    *busy.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    Ok(busy)
                }
                Outage::Lost => Err(NoAnswer::Lost),
                Outage::Unreachable => Err(NoAnswer::NotConnected),
            };
        }
        let Some(serve) = self.services.get_mut(name) else {
            self.missing = Some(name);
            return Err(NoAnswer::NotConnected);
        };
        catch_unwind(AssertUnwindSafe(|| serve(request))).unwrap_or_else(|_| {
            self.broken = Some(name);
            Err(NoAnswer::NotConnected)
        })
    }
}

impl Outside for World {
    fn call<'a>(
        &'a self,
        service: &'static str,
        request: Request<Vec<u8>>,
        _: Duration,
    ) -> Pending<'a, Answer> {
        Box::pin(ready(self.things().call(service, request)))
    }

    fn secret<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<SecretString>, NoAnswer>> {
        let text = self.things().secrets.get(name).cloned().map(SecretString::from);
        Box::pin(ready(Ok(text)))
    }
}
