//! Thread control: which app may write to a person, and the inbox and Business AI that take threads.
//!
//! Source: Meta's conversation routing, and its table of error codes for what is refused.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::people::id;
use super::{Meta, Platform, State, notification};

/// Meta: the Page inbox of Messenger, as handover events name it.
pub const INBOX: &str = "263902037430900";

/// Meta: the inbox of Instagram.
pub const INSTAGRAM_INBOX: &str = "1217981644879628";

/// The Business AI; Meta does not document its app id, so this one is made up.
pub const BUSINESS_AI: &str = "900000000000001";

/// Meta: "control of a thread ends after 24 hours of inactivity".
const CONTROL_LASTS: i64 = 24 * 60 * 60 * 1000;

/// Meta: control can be extended to at most 7 days, in seconds.
const LONGEST: u64 = 7 * 24 * 60 * 60;

/// The app that controls a thread.
#[derive(Clone)]
pub(super) struct Holder {
    app_id: String,
    until: i64,
}

impl Meta {
    /// Staff answer in the inbox, or move the conversation to Main, which gives the inbox control; returns
    /// the handover notification.
    pub fn inbox_takes(&self, page_id: &str, psid: &str) -> Vec<u8> {
        let inbox = self.inbox(page_id);
        let previous = self.holder_of(page_id, psid);
        self.state().hold(page_id, psid, inbox, self.now());
        self.handover(page_id, psid, "take_thread_control", previous.as_deref(), inbox)
    }

    /// Staff give the conversation to the Page's app; returns the handover notification.
    pub fn inbox_passes(&self, page_id: &str, psid: &str) -> Vec<u8> {
        let app_id = self.state().app_of(page_id).app_id.clone();
        self.state().hold(page_id, psid, &app_id, self.now());
        let inbox = self.inbox(page_id);
        self.handover(page_id, psid, "pass_thread_control", Some(inbox), &app_id)
    }

    /// The Business AI answers, which gives it control; no app is notified.
    pub fn business_ai_takes(&self, page_id: &str, psid: &str) {
        self.state().hold(page_id, psid, BUSINESS_AI, self.now());
    }

    /// Whoever controls the thread gives it up. Meta: a release sends no webhook.
    pub fn thread_is_released(&self, page_id: &str, psid: &str) {
        self.state().threads.remove(&(page_id.to_owned(), psid.to_owned()));
    }

    /// The app that controls a thread.
    pub fn holder_of(&self, page_id: &str, psid: &str) -> Option<String> {
        let now = self.now();
        self.state().holder_of_thread(page_id, psid, now).map(|holder| holder.app_id.clone())
    }

    /// The inbox or the Business AI that controls the thread writes to the person; returns the echo, which
    /// the Page's app gets under `standby`. `None` if neither controls it.
    pub fn holder_says(&self, page_id: &str, psid: &str, text: &str) -> Option<Vec<u8>> {
        let holder = self.holder_of(page_id, psid)?;
        if ![INBOX, INSTAGRAM_INBOX, BUSINESS_AI].contains(&holder.as_str()) {
            return None;
        }
        let app_id = holder.parse::<u64>().ok()?;
        let message = json!({"text": text, "is_echo": true, "app_id": app_id});
        let message = self.with_mid(page_id, message);
        let (sender, recipient) = (json!({"id": page_id}), json!({"id": psid}));
        let item = json!({"sender": sender, "recipient": recipient, "message": message});
        Some(self.person_does(page_id, psid, item))
    }

    fn inbox(&self, page_id: &str) -> &'static str {
        match self.state().platform(page_id) {
            Platform::Messenger => INBOX,
            Platform::Instagram => INSTAGRAM_INBOX,
        }
    }

    fn handover(
        &self,
        page_id: &str,
        psid: &str,
        kind: &str,
        previous: Option<&str>,
        new: &str,
    ) -> Vec<u8> {
        let now = self.now();
        let mut change = json!({"new_owner_app_id": new});
        if let Some(previous) = previous {
            change["previous_owner_app_id"] = previous.into();
        }
        let item = json!({
            "sender": {"id": psid},
            "recipient": {"id": page_id},
            "timestamp": now,
            kind: change,
        });
        let platform = self.state().platform(page_id);
        notification::bytes(&notification::of(platform, page_id, now, &item))
    }
}

impl State {
    fn hold(&mut self, page_id: &str, psid: &str, app_id: &str, now: i64) {
        let holder = Holder { app_id: app_id.to_owned(), until: now + CONTROL_LASTS };
        self.threads.insert((page_id.to_owned(), psid.to_owned()), holder);
    }

    fn holder_of_thread(&self, page_id: &str, psid: &str, now: i64) -> Option<&Holder> {
        let holder = self.threads.get(&(page_id.to_owned(), psid.to_owned()))?;
        (now < holder.until).then_some(holder)
    }

    /// Whether an app other than the Page's controls the thread.
    fn is_held_elsewhere(&self, page_id: &str, psid: &str, now: i64) -> bool {
        let own = &self.app_of(page_id).app_id;
        self.holder_of_thread(page_id, psid, now).is_some_and(|holder| holder.app_id != *own)
    }

    /// Something happens in a thread, so control does not end by inactivity: the container in which the
    /// Page's app hears of it. Meta: apps without control see events under `standby`.
    pub(super) fn happens_in(&mut self, page_id: &str, psid: &str, now: i64) -> &'static str {
        let is_held = self.is_held_elsewhere(page_id, psid, now);
        let key = (page_id.to_owned(), psid.to_owned());
        if let Some(holder) = self.threads.get_mut(&key).filter(|holder| now < holder.until) {
            holder.until = holder.until.max(now + CONTROL_LASTS);
        }
        if is_held { "standby" } else { "messaging" }
    }

    /// Meta: "Message failed to send because another app is controlling this thread now" (10/2018300);
    /// on Instagram "The action is invalid since it's not the thread owner" (100/2534037).
    pub(super) fn demand_thread(&self, page_id: &str, psid: &str, now: i64) -> Result<(), Refusal> {
        if !self.is_held_elsewhere(page_id, psid, now) {
            return Ok(());
        }
        Err(match self.platform(page_id) {
            Platform::Messenger => {
                let message = "(#10) Message failed to send because another app is controlling this thread now.";
                Refusal::new(400, 10, Some(2_018_300), message)
            }
            Platform::Instagram => not_the_owner(),
        })
    }

    /// Meta: `thread_control` beside a message hands the thread over in the same call.
    pub(super) fn hand_over(&mut self, page_id: &str, psid: &str, control: &Value, now: i64) {
        match (control["control_type"].as_str(), id(&control["app_id"])) {
            (Some("pass"), Some(app_id)) => self.hold(page_id, psid, &app_id, now),
            (Some("pass"), None) => {
                let inbox = match self.platform(page_id) {
                    Platform::Messenger => INBOX,
                    Platform::Instagram => INSTAGRAM_INBOX,
                };
                self.hold(page_id, psid, inbox, now);
            }
            _ => {
                self.threads.remove(&(page_id.to_owned(), psid.to_owned()));
            }
        }
    }

    /// `GET /{page}/thread_owner?recipient=…`: the app and the end of its control; nothing if nobody has it.
    pub(super) fn thread_owner(&self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        let page_id = self.account_asked_for(page_id, call)?;
        let Some(psid) = id(call.value("recipient")) else {
            return Err(Refusal::invalid("The parameter recipient is required"));
        };
        let owner = self.holder_of_thread(&page_id, &psid, now).map(|holder| {
            json!({"thread_owner": {"app_id": holder.app_id, "expiration": holder.until / 1000}})
        });
        Ok(json!({"data": owner.into_iter().collect::<Vec<_>>()}))
    }

    /// `POST /{page}/{pass,take,release,request,extend}_thread_control`.
    pub(super) fn control_thread(
        &mut self,
        node: &str,
        edge: &str,
        call: &NodeCall,
        now: i64,
    ) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        let page_id = self.account_asked_for(page_id, call)?;
        let Some(psid) = id(&call.value("recipient")["id"]) else {
            return Err(Refusal::invalid("The parameter recipient is required"));
        };
        let own = self.app_of(&page_id).app_id.clone();
        if matches!(
            edge,
            "pass_thread_control" | "release_thread_control" | "extend_thread_control"
        ) && self.is_held_elsewhere(&page_id, &psid, now)
        {
            return Err(not_the_owner());
        }
        match edge {
            "pass_thread_control" => {
                let Some(target) = id(call.value("target_app_id")) else {
                    return Err(Refusal::invalid("The parameter target_app_id is required"));
                };
                self.hold(&page_id, &psid, &target, now);
            }
            "take_thread_control" => self.hold(&page_id, &psid, &own, now),
            "release_thread_control" => {
                self.threads.remove(&(page_id, psid));
            }
            // The app that holds the thread is asked; whether it passes it is its own decision.
            "request_thread_control" => {}
            _ => {
                let span = id(call.value("duration")).and_then(|span| span.parse().ok());
                let span = span.filter(|span: &u64| (1..=LONGEST).contains(span));
                let Some(span) = span.and_then(|span| i64::try_from(span).ok()) else {
                    return Err(Refusal::invalid("Param duration must be 1 to 604800 seconds"));
                };
                let holder = Holder { app_id: own, until: now + span * 1000 };
                self.threads.insert((page_id, psid), holder);
            }
        }
        Ok(json!({"success": true}))
    }
}

/// Checks the `thread_control` beside a message.
pub(super) fn check_control(control: &Value) -> Result<(), Refusal> {
    match control["control_type"].as_str() {
        Some("pass" | "release") => Ok(()),
        None if control.is_null() => Ok(()),
        _ => Err(Refusal::invalid("Param thread_control[control_type] must be pass or release")),
    }
}

/// Meta: "The action is invalid since it's not the thread owner" (100/2534037).
fn not_the_owner() -> Refusal {
    let message = "(#100) The action is invalid since it's not the thread owner.";
    Refusal::new(400, 100, Some(2_534_037), message)
}
