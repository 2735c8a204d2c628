//! What people, the owner and Meta do.

use std::time::Duration;

use messenger::event::split;
use rand::RngExt;
use serde_json::{Value, json};

use super::World;
use crate::samples::APP_ID;
use crate::search::history::{Control, Said};
use crate::search::plan::{Act, Plan};

/// The app of a Page's inbox.
const INBOX: i64 = 26_390_203_743_090;

impl World {
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
                        ahead,
                        accepted: None,
                        received: None,
                        processed: None,
                    };
                    self.history.said.insert(event.id, said);
                }
                self.post_after(&body, &posted);
            }
            Act::TakeOver { page_id, psid, posted } => {
                self.tell(format!("people of {page_id} take over from the bot for {psid}"));
                self.numbers += 1;
                let mid = format!("m_inbox_{}", self.numbers);
                let echo = json!({"mid": mid, "is_echo": true, "app_id": INBOX, "text": "hello"});
                let body = self.page_does(&page_id, &psid, &json!({"message": echo}));
                self.control(&body, &page_id, &psid, false);
                self.post_after(&body, &posted);
            }
            Act::HandBack { page_id, psid } => {
                self.tell(format!("people of {page_id} hand {psid} back to the bot"));
                let pass =
                    json!({"previous_owner_app_id": INBOX.to_string(), "new_owner_app_id": APP_ID});
                let item = json!({"pass_thread_control": pass});
                let body = self.platform.meta.person_does(&page_id, &psid, item);
                self.control(&body, &page_id, &psid, true);
                self.post_after(&body, &[Duration::ZERO]);
            }
            Act::Ask { payload } => {
                self.tell(format!("somebody asks for {payload}"));
                self.plan_at(self.now(), Plan::Request { payload, tries: 0 });
            }
            Act::Call(call) => {
                self.tell(format!("somebody calls the API: {call:?}"));
                self.plan_at(self.now(), Plan::Call { call, tries: 0 });
            }
            Act::Outage { length } => {
                self.tell(format!("Graph does not say what it does for {} s", length.as_secs()));
                if self.outage_until <= self.now() {
                    self.outage += 1;
                }
                self.outage_until = self.now() + length;
                self.trouble_for(length + Duration::from_mins(10));
            }
            Act::RotateToken { page_id, filled_in_after } => {
                self.tell(format!("the token of {page_id} changes"));
                self.numbers += 1;
                let token = format!("token-{}-of-{page_id}", self.numbers);
                self.platform.meta.set_token(&page_id, &token);
                self.secret.tokens.insert(page_id, token);
                // A sweep comes within half an hour of the one before.
                self.trouble_for(filled_in_after + Duration::from_mins(40));
                self.plan_at(self.now() + filled_in_after, Plan::FillSecret);
            }
            Act::RotateAppSecret { is_reset_first, other_after, keeps_previous } => {
                self.numbers += 1;
                let next = format!("app-secret-{}", self.numbers);
                self.secret.previous = keeps_previous.then(|| self.secret.app_secret.clone());
                self.secret.app_secret = next;
                self.history.has_lost_secret |= !keeps_previous;
                self.trouble_for(other_after + Duration::from_mins(40));
                let (now, then) = (self.now(), self.now() + other_after);
                let (reset_at, filled_in_at) =
                    if is_reset_first { (now, then) } else { (then, now) };
                self.plan_at(reset_at, Plan::ResetAppSecret);
                self.plan_at(filled_in_at, Plan::FillSecret);
            }
        }
    }

    /// What happened may be felt for a while.
    fn trouble_for(&mut self, span: Duration) {
        let now = self.now();
        self.history.troubles.push((now, now + span));
    }

    /// The Page does something in its conversation with a person.
    pub(super) fn page_does(&self, page_id: &str, psid: &str, what: &Value) -> Vec<u8> {
        let mut item = json!({"sender": {"id": page_id}, "recipient": {"id": psid}});
        if let (Some(item), Some(what)) = (item.as_object_mut(), what.as_object()) {
            item.extend(what.clone());
        }
        self.platform.meta.person_does(page_id, psid, item)
    }

    fn control(&mut self, body: &[u8], page_id: &str, psid: &str, is_given_back: bool) {
        let at = self.now();
        for event in split(body, at).unwrap_or_default() {
            let (page_id, psid) = (page_id.to_owned(), psid.to_owned());
            let control = Control { page_id, psid, at, is_given_back, processed: None };
            self.history.controls.insert(event.id, control);
        }
    }

    fn post_after(&mut self, body: &[u8], delays: &[Duration]) {
        for delay in delays {
            self.plan_at(self.now() + *delay, Plan::Post { body: body.to_vec(), tries: 0 });
        }
    }

    pub(super) fn reset_app_secret(&mut self) {
        self.tell("the app secret is reset at Meta");
        self.platform.meta.set_app_secret(&self.secret.app_secret);
        self.secret.of_meta = self.secret.app_secret.clone();
    }

    pub(super) fn fill_secret(&mut self) {
        self.tell("the secret gets the present tokens and app secret");
        let present = self.secret.clone();
        self.platform.put_secret(|secret| {
            for (page, token) in present.tokens {
                secret["pages"][page]["access_token"] = token.into();
            }
            secret["app_secret"] = present.app_secret.into();
            if let Some(previous) = present.previous {
                secret["previous_app_secret"] = previous.into();
            }
        });
    }

    /// Somebody who knows the form of our metadata makes up an echo of a message that did not arrive.
    pub(super) fn forge(&mut self, page_id: &str, psid: &str, metadata: &str) {
        let Some((content, tag)) = metadata.rsplit_once('.') else { return };
        let made_up = format!("{content}.{}", "A".repeat(tag.len()));
        self.numbers += 1;
        let mid = format!("m_forged_{}", self.numbers);
        // Echoes often have no app_id. It is not ours, so somebody else has written.
        let echo = json!({"mid": mid, "is_echo": true, "metadata": made_up, "text": "hello"});
        let body = self.page_does(page_id, psid, &json!({"message": echo}));
        self.tell(format!("somebody makes up an echo for {psid}"));
        self.control(&body, page_id, psid, false);
        let delay = Duration::from_secs(self.rng.random_range(0..40));
        self.post_after(&body, &[delay]);
    }
}
