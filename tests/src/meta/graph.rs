//! The Send API: checks and answers of a send request.
//!
//! Source: Meta's Send API (recipients, sender actions, one content), its private replies (one within 7 days,
//! 10900 and 10902) and Graph's errors of access tokens (190/460, 190/463).

use serde_json::Value;

use super::answer::{Answer, Refusal};
use super::conversations::Side;
use super::faults::MESSAGES;
use super::instagram::Host;
use super::node::NodeCall;
use super::people::{self, Person};
use super::{
    GraphRequest, Meta, Outcome, PublicPost, State, TokenEnd, hmac_hex, limits, notification,
    permits, threads, window,
};

/// A request as received.
pub(super) struct Arrival {
    pub(super) host: Host,
    /// The Page or `me`; absent when the path is not the Send API's.
    pub(super) node: Option<String>,
    pub(super) token: Option<String>,
    pub(super) proof: Option<String>,
    /// Its parameters.
    pub(super) body: Value,
}

impl Arrival {
    pub(super) fn at(node: &str, call: &NodeCall) -> Self {
        Self {
            host: call.host,
            node: Some(node.to_owned()),
            token: call.token.clone(),
            proof: call.proof.clone(),
            body: call.parameters.clone().into(),
        }
    }

    /// A request at a path that Graph does not know.
    pub(super) fn unknown(host: Host) -> Self {
        Self { host, node: None, token: None, proof: None, body: Value::Null }
    }
}

/// The result of a successful request.
struct Done {
    recipient_id: Option<String>,
    mid: Option<String>,
    attachment_id: Option<String>,
}

enum Recipient {
    Person(Person),
    PrivateReply(PublicPost),
    Token(permits::Kind, String),
    PhoneNumber(String),
}

impl Meta {
    /// Processes and records one request for the Send API.
    pub(super) fn receive(&self, arrival: &Arrival) -> Answer {
        let now = self.now();
        let mut state = self.state();
        let page_id = state.speaker(arrival);
        let body = &arrival.body;
        let psid = state.psid_of(&page_id, &body["recipient"]);
        let fault = state.take_fault(MESSAGES, psid.as_deref());
        let instead = fault.as_ref().and_then(|fault| state.instead(&page_id, fault));
        let (outcome, answer) = instead.unwrap_or_else(|| {
            let result = state.process(&page_id, arrival, now);
            let answer = match &result {
                Ok(done) => {
                    let (recipient_id, mid) = (done.recipient_id.as_deref(), done.mid.as_deref());
                    state.success(&page_id, recipient_id, mid, done.attachment_id.as_deref())
                }
                Err(refusal) => state.error(&page_id, 0, refusal),
            };
            let answer = match &fault {
                Some(fault) => state.afterwards(&page_id, fault, answer),
                None => answer,
            };
            (outcome(result), answer)
        });
        state.requests.push(GraphRequest {
            at: now,
            page_id,
            node: arrival.node.clone(),
            psid,
            recipient: body["recipient"].clone(),
            messaging_type: text(&body["messaging_type"]),
            tag: text(&body["tag"]),
            sender_action: text(&body["sender_action"]),
            payload: body["payload"].clone(),
            persona_id: text(&body["persona_id"]),
            reply_to: text(&body["reply_to"]["mid"]),
            notification_type: text(&body["notification_type"]),
            message: body["message"].clone(),
            metadata: text(&body["message"]["metadata"]),
            outcome,
        });
        answer
    }
}

impl State {
    /// The Page or Instagram account that a request speaks as.
    fn speaker(&self, arrival: &Arrival) -> String {
        let node = match arrival.node.as_deref() {
            Some("me") => {
                let token = arrival.token.as_deref();
                token.and_then(|token| self.token_owner(arrival.host, token)).unwrap_or("me")
            }
            Some(node) => node,
            None => return String::new(),
        };
        let knows = |account: &str| match read_recipient(&arrival.body["recipient"]) {
            Ok(Recipient::Person(person)) => self.record.find(account, &person).is_some(),
            Ok(Recipient::PrivateReply(post)) => {
                self.public_posts.contains_key(&(account.to_owned(), post))
            }
            Ok(Recipient::Token(kind, token)) => self.permits.psid(account, kind, &token).is_some(),
            Ok(Recipient::PhoneNumber(_)) => self.is_page(account),
            Err(_) => false,
        };
        let linked = self.linked_account(node).filter(|linked| !knows(node) && knows(linked));
        linked.unwrap_or(node).to_owned()
    }

    fn psid_of(&self, page_id: &str, recipient: &Value) -> Option<String> {
        match read_recipient(recipient).ok()? {
            Recipient::Person(Person::Psid(psid)) => Some(psid),
            Recipient::Person(Person::UserRef(_)) => None,
            Recipient::PrivateReply(post) => {
                let authorship = self.public_posts.get(&(page_id.to_owned(), post))?;
                Some(authorship.psid.clone())
            }
            Recipient::Token(kind, token) => self.permits.psid(page_id, kind, &token),
            Recipient::PhoneNumber(number) => permits::psid_of_number(&number).ok(),
        }
    }

    fn process(&mut self, page_id: &str, arrival: &Arrival, now: i64) -> Result<Done, Refusal> {
        if arrival.node.is_none() {
            let message = "Unknown path components or method";
            return Err(Refusal::new(400, 2_500, None, message));
        }
        self.authenticate(page_id, arrival)?;
        let body = &arrival.body;
        let recipient = read_recipient(&body["recipient"])?;
        if body["sender_action"].is_null() {
            self.deliver(page_id, recipient, body, now)
        } else {
            self.act(page_id, recipient, body, now)
        }
    }

    fn authenticate(&self, page_id: &str, arrival: &Arrival) -> Result<(), Refusal> {
        let dead = |subcode, message: &str| Err(Refusal::new(401, 190, subcode, message));
        let Some(token) = arrival.token.as_deref() else {
            return dead(None, "An access token is required to request this resource.");
        };
        match self.dead_tokens.get(token) {
            Some(TokenEnd::Replaced) => {
                return dead(
                    Some(460),
                    "Error validating access token: The session has been invalidated",
                );
            }
            Some(TokenEnd::Expired) => {
                return dead(Some(463), "Error validating access token: Session has expired");
            }
            None => {}
        }
        let Some(owner) = self.token_owner(arrival.host, token) else {
            return dead(None, "Invalid OAuth access token - Cannot parse access token");
        };
        let proof = hmac_hex(&self.app_of(owner).app_secret, token.as_bytes());
        let needs_proof = arrival.host == Host::Facebook || arrival.proof.is_some();
        if needs_proof && arrival.proof.as_deref() != Some(proof.as_str()) {
            return Err(Refusal::wrong_proof());
        }
        if arrival.node.as_deref().is_some_and(|node| self.is_no_sender(arrival.host, node)) {
            return Err(Refusal::no_capability());
        }
        if owner == self.sender_node(page_id) {
            Ok(())
        } else if self.pages.contains_key(page_id) {
            let message = "(#200) The access token does not belong to this Page";
            Err(Refusal::new(403, 200, None, message))
        } else {
            let message = "Unsupported post request. Object does not exist";
            Err(Refusal::new(400, 100, Some(33), message))
        }
    }

    fn act(
        &self,
        page_id: &str,
        recipient: Recipient,
        body: &Value,
        now: i64,
    ) -> Result<Done, Refusal> {
        if ["message", "messaging_type", "tag"].into_iter().any(|name| !body[name].is_null()) {
            return Err(Refusal::invalid(
                "Param sender_action cannot be sent together with message or its label",
            ));
        }
        self.check_persona(page_id, body)?;
        let payload = &body["payload"];
        let about_a_message = payload["message_id"].is_string();
        // Meta's own SDK writes them in capitals.
        let action = body["sender_action"].as_str().map(str::to_ascii_lowercase);
        let complete = match action.as_deref() {
            Some("typing_on" | "typing_off" | "mark_seen") => true,
            Some("react") => about_a_message && payload["reaction"].is_string(),
            Some("unreact") => about_a_message,
            _ => false,
        };
        if !complete {
            return Err(Refusal::invalid("Param sender_action is unknown or lacks its payload"));
        }
        let Recipient::Person(person) = recipient else {
            return Err(Refusal::invalid("Param sender_action is not for this recipient"));
        };
        if let Person::Psid(psid) = &person {
            self.demand_thread(page_id, psid, now)?;
        }
        let known = self.record.find(page_id, &person).ok_or_else(Refusal::no_matching_user)?;
        if !window::allows_action(known, self.ad_window, now) {
            return Err(Refusal::outside_the_window());
        }
        Ok(Done { recipient_id: psid(&person), mid: None, attachment_id: None })
    }

    fn deliver(
        &mut self,
        page_id: &str,
        recipient: Recipient,
        body: &Value,
        now: i64,
    ) -> Result<Done, Refusal> {
        let platform = self.platform(page_id);
        let message = &body["message"];
        if message.is_null() {
            return Err(Refusal::invalid("The parameter message is required"));
        }
        let reach = window::reach(platform, body, now)?;
        limits::check(platform, message, &body["filedata"])?;
        self.attachments.check(page_id, message, now)?;
        self.check_template_parameters(page_id, &message["template"])?;
        self.check_persona(page_id, body)?;
        threads::check_control(&body["thread_control"])?;
        check_options(body)?;
        let has_number = matches!(recipient, Recipient::PhoneNumber(_));
        let person = match recipient {
            Recipient::Person(person) => {
                if let Person::Psid(psid) = &person {
                    self.demand_thread(page_id, psid, now)?;
                }
                let known =
                    self.record.find(page_id, &person).ok_or_else(Refusal::no_matching_user)?;
                if !reach.allows(known, self.ad_window, now) {
                    return Err(Refusal::outside_the_window());
                }
                person
            }
            Recipient::PrivateReply(post) => self.reply_in_private(page_id, post, now)?,
            Recipient::Token(kind, token) => {
                Person::Psid(self.permits.use_token(page_id, kind, &token, now)?)
            }
            Recipient::PhoneNumber(number) => Person::Psid(permits::psid_of_number(&number)?),
        };
        if let Person::Psid(_) = &person {
            self.record.meet(page_id, person.clone());
        }
        self.sent += 1;
        let mid = notification::mid(platform, "sent", self.sent);
        self.notify(page_id, &person, &mid, message, now);
        if let Person::Psid(psid) = &person {
            self.happens_in(page_id, psid, now);
            if !body["thread_control"].is_null() {
                self.hand_over(page_id, psid, &body["thread_control"], now);
            }
        }
        self.write_line(page_id, &person, &mid, message, Side::Page, now);
        let attachment_id = self.attachments.save_sent(page_id, message, now);
        // Who is found by a phone number stays unnamed.
        let recipient_id = psid(&person).filter(|_| !has_number);
        Ok(Done { recipient_id, mid: Some(mid), attachment_id })
    }

    /// Uses up the one private reply that a comment or post allows, and returns its author.
    fn reply_in_private(
        &mut self,
        page_id: &str,
        post: PublicPost,
        now: i64,
    ) -> Result<Person, Refusal> {
        let Some(authorship) = self.public_posts.get_mut(&(page_id.to_owned(), post)) else {
            let message = "(#10902) This is not a replyable activity";
            return Err(Refusal::new(400, 10_902, None, message));
        };
        if authorship.replied {
            let message = "(#10900) Activity already replied to";
            return Err(Refusal::new(400, 10_900, None, message));
        }
        if !window::allows_private_reply(authorship.at, now) {
            return Err(Refusal::outside_the_window());
        }
        authorship.replied = true;
        let author = Person::Psid(authorship.psid.clone());
        self.record.meet(page_id, author.clone());
        Ok(author)
    }
}

fn read_recipient(recipient: &Value) -> Result<Recipient, Refusal> {
    let Some(fields) = recipient.as_object() else {
        return Err(Refusal::invalid("The parameter recipient is required"));
    };
    let mut given = fields.iter().filter(|(_, value)| !value.is_null());
    let (Some((kind, value)), None) = (given.next(), given.next()) else {
        return Err(Refusal::invalid("Param recipient must hold exactly one field"));
    };
    let Some(id) = people::id(value) else {
        return Err(Refusal::invalid(&format!(
            "Param recipient[{kind}] must be a non-empty string"
        )));
    };
    match kind.as_str() {
        "id" => Ok(Recipient::Person(Person::Psid(id))),
        "user_ref" => Ok(Recipient::Person(Person::UserRef(id))),
        "comment_id" => Ok(Recipient::PrivateReply(PublicPost::Comment(id))),
        "post_id" => Ok(Recipient::PrivateReply(PublicPost::Post(id))),
        "notification_messages_token" => Ok(Recipient::Token(permits::Kind::Notifications, id)),
        "one_time_notif_token" => Ok(Recipient::Token(permits::Kind::OneTime, id)),
        "phone_number" => Ok(Recipient::PhoneNumber(id)),
        _ => {
            Err(Refusal::invalid(&format!("Param recipient[{kind}] is not available to this app")))
        }
    }
}

fn check_options(body: &Value) -> Result<(), Refusal> {
    let reply_to = &body["reply_to"];
    if !reply_to.is_null() && !reply_to["mid"].is_string() {
        return Err(Refusal::invalid("Param reply_to must hold a mid"));
    }
    match &body["notification_type"] {
        Value::Null => Ok(()),
        kind if matches!(kind.as_str(), Some("REGULAR" | "SILENT_PUSH" | "NO_PUSH")) => Ok(()),
        _ => Err(Refusal::invalid(
            "Param notification_type must be one of REGULAR, SILENT_PUSH, NO_PUSH",
        )),
    }
}

fn outcome(result: Result<Done, Refusal>) -> Outcome {
    match result {
        Ok(Done { mid: Some(mid), .. }) => Outcome::Delivered { mid },
        Ok(Done { mid: None, .. }) => Outcome::Acted,
        Err(refusal) => refusal.outcome(),
    }
}

fn psid(person: &Person) -> Option<String> {
    match person {
        Person::Psid(psid) => Some(psid.clone()),
        Person::UserRef(_) => None,
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
