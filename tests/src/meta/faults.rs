//! Faults on Meta's side, injected on demand.
//!
//! Source: for what a fault looks like, Meta's table of common error codes: error 1 / 1357046 may follow a
//! message that was sent. Pages of HTML and lost answers are what any server in between does.

use serde::Serialize;

use super::answer::{Answer, Refusal};
use super::{Meta, OtherLimit, Outcome, Platform, State, errors};

/// The edge of the Send API.
pub(super) const MESSAGES: &str = "messages";

/// A fault on Meta's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// The answer is this error and nothing is delivered.
    Error {
        /// The answer's HTTP status.
        http: u16,
        /// The Graph error's code.
        code: i64,
        /// The Graph error's subcode.
        subcode: Option<i64>,
    },
    /// The proof is taken for one of another app secret, as in a rotation; nothing is delivered.
    WrongProof,
    /// The Page's rate limit is used up: 80006 (Messenger) or 613 (Instagram), nothing is delivered.
    Throttled {
        /// The usage header's `estimated_time_to_regain_access`, in minutes.
        regain_minutes: u32,
    },
    /// The request is processed, then the connection is closed without an answer.
    LostAnswer,
    /// The connection is closed once the request has been read; nothing is delivered.
    LostRequest,
    /// The request is processed, and if that delivers, the answer is error 1 / 1357046.
    UnknownDelivered,
    /// A server in front of the Graph API answers 503 with an HTML page; nothing is delivered.
    Http5xx,
    /// A server in front of the Graph API answers with an HTML page; nothing is delivered.
    #[serde(rename = "html")]
    Edge {
        /// The answer's HTTP status.
        http: u16,
    },
    /// The request is processed at once and answered later, by the machine's clock.
    Slow {
        /// How much later, in ms.
        millis: u64,
    },
}

/// A fault, and the requests that it hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultRule {
    /// What happens to them.
    #[serde(flatten)]
    pub fault: Fault,
    /// Only requests about this person; all if absent.
    pub psid: Option<String>,
    /// The edge: `messages`, another one such as `thread_owner`, or `node` for `GET /{id}`.
    pub edge: String,
    /// How many requests it still hits; all until it is removed if absent.
    pub times: Option<u32>,
}

impl FaultRule {
    fn of_messages(psid: Option<&str>, fault: Fault, times: Option<u32>) -> Self {
        Self { fault, psid: psid.map(str::to_owned), edge: MESSAGES.to_owned(), times }
    }

    fn hits(&self, edge: &str, psid: Option<&str>) -> bool {
        self.edge == edge && (self.psid.is_none() || self.psid.as_deref() == psid)
    }
}

/// The faults in force: those that are counted come first, in their order; then those of the person.
#[derive(Default)]
pub(super) struct Faults(Vec<FaultRule>);

impl Faults {
    fn take(&mut self, edge: &str, psid: Option<&str>) -> Option<Fault> {
        let rank =
            |rule: &FaultRule| (rule.times.is_none(), rule.times.is_none() && rule.psid.is_none());
        let found = (0..self.0.len())
            .filter(|index| self.0[*index].hits(edge, psid))
            .min_by_key(|index| rank(&self.0[*index]))?;
        let fault = self.0[found].fault.clone();
        match &mut self.0[found].times {
            Some(1) => drop(self.0.remove(found)),
            Some(times) => *times -= 1,
            None => {}
        }
        Some(fault)
    }

    /// Puts a lasting fault in the place of the former one, or nothing.
    fn set(&mut self, psid: Option<&str>, fault: Option<Fault>) {
        self.0.retain(|rule| {
            rule.times.is_some() || rule.edge != MESSAGES || rule.psid.as_deref() != psid
        });
        self.0.extend(fault.map(|fault| FaultRule::of_messages(psid, fault, None)));
    }
}

impl Meta {
    /// Adds a fault.
    pub fn add_fault(&self, rule: FaultRule) {
        self.state().faults.0.push(rule);
    }

    /// The faults in force.
    pub fn faults(&self) -> Vec<FaultRule> {
        self.state().faults.0.clone()
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        self.state().faults.0.clear();
    }

    /// Queues a fault for the next request.
    pub fn fail_next(&self, fault: Fault) {
        self.add_fault(FaultRule::of_messages(None, fault, Some(1)));
    }

    /// Queues a fault for the next request to this person.
    pub fn fail_next_for(&self, psid: &str, fault: Fault) {
        self.add_fault(FaultRule::of_messages(Some(psid), fault, Some(1)));
    }

    /// Sets a fault for every request that no queued fault applies to, until set to `None`.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().faults.set(None, fault);
    }

    /// Sets a fault for every request to this person that no queued fault applies to, until set to
    /// `None`.
    pub fn set_fault_for(&self, psid: &str, fault: Option<Fault>) {
        self.state().faults.set(Some(psid), fault);
    }

    /// Reports from now on, beside every answer, that a limit of another business object, or of another
    /// type, is used up.
    ///
    /// Meta: `X-Business-Use-Case-Usage` lists entries per business object id and type.
    pub fn report_limit(&self, object_id: &str, kind: &str, regain_minutes: u32) {
        let (object_id, kind) = (object_id.to_owned(), kind.to_owned());
        self.state().other_limits.push(OtherLimit { object_id, kind, regain_minutes });
    }
}

impl State {
    pub(super) fn take_fault(&mut self, edge: &str, psid: Option<&str>) -> Option<Fault> {
        self.faults.take(edge, psid)
    }

    /// What a fault does in the place of the request; none if the request is processed.
    pub(super) fn instead(&mut self, page_id: &str, fault: &Fault) -> Option<(Outcome, Answer)> {
        let failed = |how: &str| Outcome::Failed { how: how.to_owned() };
        let mut regain = 0;
        let refusal = match fault {
            Fault::Error { http, code, subcode } => Refusal::of_fault(*http, *code, *subcode),
            Fault::WrongProof => Refusal::wrong_proof(),
            Fault::Throttled { regain_minutes } => {
                regain = *regain_minutes;
                let code = match self.platform(page_id) {
                    Platform::Messenger => 80_006,
                    Platform::Instagram => 613,
                };
                Refusal::of_fault(400, code, None)
            }
            Fault::LostRequest => return Some((failed("connection closed"), Answer::Closed)),
            Fault::Http5xx => return Some((failed("HTTP 503"), Answer::Html { http: 503 })),
            Fault::Edge { http } => {
                return Some((failed("an edge server"), Answer::Html { http: *http }));
            }
            Fault::LostAnswer | Fault::UnknownDelivered | Fault::Slow { .. } => return None,
        };
        Some((refusal.outcome(), self.error(page_id, regain, &refusal)))
    }

    /// What a fault makes of the answer to a request that was processed.
    pub(super) fn afterwards(&mut self, page_id: &str, fault: &Fault, answer: Answer) -> Answer {
        match (fault, answer) {
            (Fault::LostAnswer, _) => Answer::Closed,
            (Fault::UnknownDelivered, Answer::Json { http: 200, .. }) => {
                self.error(page_id, 0, &Refusal::of_fault(500, 1, Some(1_357_046)))
            }
            (Fault::Slow { millis }, answer) => {
                Answer::Late { millis: *millis, answer: Box::new(answer) }
            }
            (_, answer) => answer,
        }
    }
}

impl Fault {
    /// An error of the table, with its status there; 400 for one that is not in it.
    pub fn of_code(code: i64, subcode: Option<i64>) -> Self {
        let http = errors::known(code, subcode).map_or(400, |known| known.http);
        Self::Error { http, code, subcode }
    }
}
