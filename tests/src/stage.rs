//! A stage for transcripts: the conversations of a `.chat` file on the real functions.
//!
//! It tells what happened in the words of the test kit, so that both can play the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backend::store::{ConversationItem, Entry, Reason, Status};
use messenger::chat::transcript::{
    Account, Act, Check, Delivery, Desk, Driver, Ending, Fault, GraphFault, Happening, Passing,
    Refused, SOMEBODY, Scene, StaffAct, Step, Waiting, What, label_in_window,
};
use messenger::chat::{Screen, shown};
use messenger::clock::{Clock, Timestamp};
use messenger::event::{Event, Platform as Product};
use messenger::message::Outgoing;
use messenger::window::{Label, Tag};
use serde_json::{Map, Value, json};

use crate::meta::{self, GraphRequest, Outcome};
use crate::platform::{DEAD_LETTERS, EVENTS, Options, Platform};
use crate::samples;

/// What an act takes: no two of a person happen in the same instant.
const MOMENT: Duration = Duration::from_millis(1);

/// How often the schedule runs at most for what is due at one instant.
const MOST_RUNS: usize = 10;

/// How it is told that the bot hands over.
const HANDS_OVER: &str = "(hands over: ";

/// The app of a Page's inbox.
const INBOX: i64 = 26_390_203_743_090;

/// Somebody who takes part.
#[derive(Debug)]
struct Known {
    page_id: String,
    product: Product,
    psid: String,
    screen: Screen,
}

/// The real functions, on which conversations are played.
pub struct Stage {
    options: Options,
    platform: Option<Arc<Platform>>,
    people: BTreeMap<String, Known>,
    numbers: u64,
    requests_seen: usize,
    ended: BTreeSet<String>,
    handed_over: BTreeSet<String>,
    dead_letters_seen: usize,
    /// What the API refused since the last look.
    refused: Vec<Told>,
    deliver: Option<Delivery>,
}

/// Something that happened, and when.
struct Told {
    at: i64,
    happening: Happening,
}

impl Told {
    /// Its place among what happens in one instant.
    fn rank(&self) -> u8 {
        match &self.happening.what {
            What::Ended { ending: Ending::Cancelled, .. } => 0,
            What::Sent { label: None, text } if text.starts_with(HANDS_OVER) => 2,
            _ => 1,
        }
    }
}

impl Stage {
    /// A stage with these options; the Pages, the accounts and the clock are those of the transcript.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            platform: None,
            people: BTreeMap::new(),
            numbers: 0,
            requests_seen: 0,
            ended: BTreeSet::new(),
            handed_over: BTreeSet::new(),
            dead_letters_seen: 0,
            refused: Vec::new(),
            deliver: None,
        }
    }

    fn platform(&self) -> Result<Arc<Platform>, Refused> {
        self.platform.clone().ok_or_else(|| Refused("the stage is not set".to_owned()))
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn known(&self, who: &str) -> Result<&Known, Refused> {
        self.people.get(who).ok_or_else(|| Refused(format!("nobody knows {who}")))
    }

    fn name_of(&self, page_id: &str, psid: &str) -> Option<String> {
        let mut people = self.people.iter();
        let found = people.find(|(_, known)| known.page_id == page_id && known.psid == psid);
        found.map(|(who, _)| who.clone())
    }

    async fn person_acts(&mut self, who: &str, act: &Act) -> Result<(), Refused> {
        let platform = self.platform()?;
        let mid = format!("m_said_{}", self.number());
        let number = self.numbers;
        let known = self.known(who)?;
        let (page_id, psid) = (known.page_id.clone(), known.psid.clone());
        let fields = |field: &str, value: Value| Map::from_iter([(field.to_owned(), value)]);
        let about = |mid: Option<&str>, what: &str| {
            mid.map(str::to_owned).ok_or_else(|| Refused(format!("there is no message to {what}")))
        };
        let fields = match act {
            Act::Says(text) => fields("message", json!({"mid": mid, "text": text})),
            Act::Quickly(texts) => return self.says_quickly(&platform, who, texts).await,
            Act::Taps(title) => known.screen.tap(title, &mid, known.product).map_err(Refused)?,
            Act::SendsImage => {
                let image =
                    json!({"type": "image", "payload": {"url": "https://example.com/image.jpg"}});
                fields("message", json!({"mid": mid, "attachments": [image]}))
            }
            Act::Reacts(reaction) => {
                let about = about(known.screen.newest_of_page(), "react to")?;
                fields("reaction", json!({"mid": about, "action": "react", "reaction": reaction}))
            }
            Act::Unsends => {
                let about = about(known.screen.newest_of_person(), "take back")?;
                fields("message", json!({"mid": about, "is_deleted": true}))
            }
            Act::FollowsLink(reference) => {
                let link = json!({"ref": reference, "source": "SHORTLINK", "type": "OPEN_THREAD"});
                fields("referral", link)
            }
            Act::Raw(fields) => fields.clone(),
            Act::Comments(text) => {
                let id = format!("{page_id}_{number}");
                let body = platform.meta.person_comments(&page_id, &psid, &id, text);
                return self.deliver(&platform, &body).await;
            }
        };
        if matches!(act, Act::Says(_) | Act::Taps(_) | Act::SendsImage)
            && let Some(known) = self.people.get_mut(who)
        {
            known.screen.write(&mid);
        }
        let body = platform.meta.person_does(&page_id, &psid, Value::Object(fields));
        self.deliver(&platform, &body).await
    }

    /// Several messages arrive before the bot is asked about the first.
    async fn says_quickly(
        &mut self,
        platform: &Platform,
        who: &str,
        texts: &[String],
    ) -> Result<(), Refused> {
        for text in texts {
            let mid = format!("m_said_{}", self.number());
            let known =
                self.people.get_mut(who).ok_or_else(|| Refused(format!("nobody knows {who}")))?;
            known.screen.write(&mid);
            let item = json!({"message": {"mid": mid, "text": text}});
            let body = platform.meta.person_does(&known.page_id, &known.psid, item);
            platform.post(&body).await;
            platform.clock.forward(MOMENT);
        }
        platform.settle().await;
        Ok(())
    }

    /// Meta delivers a notification, in the way that was asked for.
    async fn deliver(&mut self, platform: &Platform, body: &[u8]) -> Result<(), Refused> {
        match self.deliver.take() {
            None => {
                platform.deliver(body).await;
            }
            Some(Delivery::Twice) => {
                platform.deliver(body).await;
                platform.deliver(body).await;
            }
            Some(Delivery::Late(span)) => {
                platform.advance(span).await;
                platform.deliver(body).await;
            }
            Some(delivery @ (Delivery::OutOfOrder | Delivery::Forged)) => {
                return Err(Refused(format!("{delivery:?} cannot be played yet")));
            }
        }
        Ok(())
    }

    async fn staff_acts(&mut self, desk: &Desk, who: &str, act: &StaffAct) -> Result<(), Refused> {
        let platform = self.platform()?;
        let mid = format!("m_inbox_{}", self.number());
        let known = self.known(who)?;
        let (page_id, psid) = (known.page_id.clone(), known.psid.clone());
        match (desk, act) {
            (_, StaffAct::ReturnsControl) => {
                let body = platform.meta.inbox_passes(&page_id, &psid);
                self.deliver(&platform, &body).await
            }
            (Desk::Inbox, StaffAct::Says(text)) => {
                let message = json!({"mid": mid, "is_echo": true, "app_id": INBOX, "text": text});
                if let Some(known) = self.people.get_mut(who) {
                    known.screen.show(mid, &json!({"text": text}));
                }
                let item = json!({"sender": {"id": page_id}, "recipient": {"id": psid}, "message": message});
                let body = platform.meta.person_does(&page_id, &psid, item);
                self.deliver(&platform, &body).await
            }
            (Desk::Api(author), StaffAct::Says(text)) => {
                let wanted = json!({"page_id": page_id, "psid": psid, "message": text, "purpose": "human", "author": author});
                self.ask_the_api(&platform, &wanted, who).await
            }
        }
    }

    async fn ask_the_api(
        &mut self,
        platform: &Platform,
        wanted: &Value,
        who: &str,
    ) -> Result<(), Refused> {
        let failed = |error: String| Refused(format!("the API was not asked: {error}"));
        let mut event =
            samples::read("api/create-message").map_err(|error| failed(error.to_string()))?;
        event["body"] = wanted.to_string().into();
        event["isBase64Encoded"] = false.into();
        if let Some(headers) = event["headers"].as_object_mut() {
            headers.remove("idempotency-key");
        }
        let request = lambda_http::request::from_str(&event.to_string());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let answer = platform.invoke_api(&request).await;
        platform.settle().await;
        if answer.status().is_success() {
            return Ok(());
        }
        let problem: Value = serde_json::from_slice(answer.body().as_ref()).unwrap_or_default();
        let text = |field: &str| problem["error"][field].as_str().unwrap_or_default().to_owned();
        if problem["error"]["allowed"].is_null() {
            return Err(Refused(format!("the API refuses this: {}", text("message"))));
        }
        // The windows refuse it, so it never becomes an entry.
        let said = wanted["message"].as_str().unwrap_or_default().to_owned();
        let what = What::Ended { ending: Ending::Refused, reason: text("code"), text: said };
        let happening = Happening { who: Some(who.to_owned()), what };
        self.refused.push(Told { at: platform.clock.now().millis(), happening });
        Ok(())
    }

    async fn instant(&self, platform: &Platform, passing: &Passing) -> Result<Timestamp, Refused> {
        match passing {
            Passing::For(span) => Ok(platform.clock.now() + *span),
            Passing::To(at) => Ok(*at),
            Passing::UntilDue => match platform.next_due().await {
                Some(due_at) => Ok(due_at.max(platform.clock.now())),
                None => Err(Refused("nothing is waiting".to_owned())),
            },
            Passing::Edge { who, window, offset } => {
                let last = self.conversation(platform, who).await?.standing().last_message_at;
                let last = last.ok_or_else(|| Refused(format!("{who} has not opened a window")))?;
                Ok(Timestamp::from_millis((last + *window).millis().saturating_add(*offset)))
            }
        }
    }

    async fn conversation(
        &self,
        platform: &Platform,
        who: &str,
    ) -> Result<ConversationItem, Refused> {
        let known = self.known(who)?;
        let key = backend::store::ConversationKey {
            page_id: known.page_id.clone(),
            person: messenger::person::Person::Psid(known.psid.clone()),
        };
        let there = platform.store().conversation(&key).await;
        Ok(there.map_err(|error| Refused(error.to_string()))?.unwrap_or_default())
    }

    /// What left and what ended since the last look, in the order in which it happened.
    async fn happened(&mut self, platform: &Platform) -> Result<Vec<Happening>, Refused> {
        let mut told = Vec::new();
        let requests = platform.meta.requests();
        for request in requests.iter().skip(self.requests_seen) {
            told.extend(self.sent(request));
        }
        self.requests_seen = requests.len();
        for entry in self.entries(platform).await? {
            told.extend(self.ended(&entry));
            told.extend(self.handed_over(&entry));
        }
        let dead = platform.sqs.messages(DEAD_LETTERS);
        for message in dead.iter().skip(self.dead_letters_seen) {
            let reason = message.attributes.get("reason").map(|reason| reason.value.as_str());
            told.extend(self.given_up(&message.body, reason.unwrap_or_default(), platform));
        }
        self.dead_letters_seen = dead.len();
        told.append(&mut self.refused);
        // On a clock that stands, what an answer cancels ends before the reply to it, and the bot hands over after its
        // last words.
        told.sort_by_key(|told| (told.at, told.rank()));
        Ok(told.into_iter().map(|told| told.happening).collect())
    }

    fn sent(&mut self, request: &GraphRequest) -> Option<Told> {
        let body = if request.message.is_null() {
            json!({"sender_action": request.sender_action})
        } else {
            json!({"message": without_metadata(request.message.clone())})
        };
        let label = match &request.outcome {
            Outcome::Delivered { mid } => {
                let psid = request.psid.as_deref()?;
                let who = self.name_of(&request.page_id, psid)?;
                self.people.get_mut(&who)?.screen.show(mid.clone(), &request.message);
                Some(label(request))
            }
            Outcome::Acted => None,
            _ => return None,
        };
        let say: Outgoing = serde_json::from_value(body).ok()?;
        let who = self.name_of(&request.page_id, request.psid.as_deref()?);
        let what = What::Sent { label, text: shown(&say) };
        Some(Told { at: request.at, happening: Happening { who, what } })
    }

    fn ended(&mut self, entry: &Entry) -> Option<Told> {
        let key = entry.key().ok()?;
        let ending = match entry.status {
            Status::Open | Status::Sent => return None,
            Status::Refused => Ending::Refused,
            Status::Failed => Ending::Failed,
            Status::Cancelled => Ending::Cancelled,
        };
        if entry.reason == Some(Reason::Placeholder) || !self.ended.insert(key.to_string()) {
            return None;
        }
        let reason = entry.reason.as_ref().map(Reason::code).unwrap_or_default();
        let text = match (&entry.reason, entry.steps.first()) {
            (_, Some(step)) => shown(&step.say()),
            _ if entry.timer.is_some() => timer(entry).filter(|_| ending == Ending::Failed)?,
            (Some(Reason::Invalid(why)), None) => why.clone(),
            _ => String::new(),
        };
        let conversation = &key.conversation_key;
        let who = self.name_of(&conversation.page_id, &conversation.person.to_string());
        let what = What::Ended { ending, reason: reason.to_string(), text };
        let at = entry.ended_at.map_or(0, Timestamp::millis);
        Some(Told { at, happening: Happening { who, what } })
    }

    fn handed_over(&mut self, entry: &Entry) -> Option<Told> {
        let (key, reason) = (entry.key().ok()?, entry.handed_over.as_ref()?);
        if !self.handed_over.insert(key.to_string()) {
            return None;
        }
        let conversation = &key.conversation_key;
        let who = self.name_of(&conversation.page_id, &conversation.person.to_string());
        let text = format!("{HANDS_OVER}{reason})");
        let what = What::Sent { label: None, text };
        Some(Told { at: entry.decided_at.millis(), happening: Happening { who, what } })
    }

    /// An event that the bot gave up on without a decision.
    fn given_up(&self, body: &str, reason: &str, platform: &Platform) -> Option<Told> {
        let event = Event::from_queue_text(body).ok()?;
        let who = self.name_of(&event.page_id, &event.person.as_ref()?.to_string());
        let (reason, text) = reason.split_once(": ").unwrap_or((reason, ""));
        let (reason, text) = (reason.to_owned(), text.to_owned());
        let what = What::Ended { ending: Ending::Failed, reason, text };
        Some(Told { at: platform.clock.now().millis(), happening: Happening { who, what } })
    }

    async fn entries(&self, platform: &Platform) -> Result<Vec<Entry>, Refused> {
        let items = platform.items().await.map_err(|error| Refused(error.to_string()))?;
        let entries = items.into_iter().filter(|item| {
            item.get("sk").and_then(Value::as_str).is_some_and(|sk| sk.starts_with("outbox#"))
        });
        let mut entries: Vec<Entry> =
            entries.filter_map(|item| serde_json::from_value(Value::Object(item)).ok()).collect();
        entries.sort_by_key(|entry| (entry.first_due, entry.decided_at));
        Ok(entries)
    }
}

impl Driver for Stage {
    async fn begin(&mut self, scene: &Scene) -> Result<(), Refused> {
        let mut options = self.options.clone();
        let account_of = |account: &Option<Account>| account.unwrap_or_default();
        let most = |product: Product| {
            let pages = scene.people.iter().map(|(_, account)| account_of(account));
            pages.filter(|it| it.platform == product).map(|it| it.page).max().unwrap_or(0)
        };
        let instagram = most(Product::Instagram);
        let pages = most(Product::Messenger).max(instagram).max(1);
        let page = |number: u32| (100_000_000_000_000 + u64::from(number)).to_string();
        let account = |number: u32| (17_800_000_000_000_000 + u64::from(number)).to_string();
        options.pages = (1..=pages).map(page).collect();
        options.instagram = (1..=instagram).map(account).collect();
        if let Some(start) = scene.start {
            options.now = start;
        }
        let named = scene.people.iter().map(|(who, account)| (who.as_str(), account_of(account)));
        let nobody = [(SOMEBODY, Account::default())];
        let somebody = nobody.into_iter().filter(|_| scene.people.is_empty());
        for (number, (who, at)) in named.chain(somebody).enumerate() {
            let page_id =
                if at.platform == Product::Instagram { account(at.page) } else { page(at.page) };
            let psid = (7_000_000_000_000_001 + number as u64).to_string();
            let known = Known { page_id, product: at.platform, psid, screen: Screen::default() };
            self.people.insert(who.to_owned(), known);
        }
        let platform = Platform::start(options).await;
        let platform = platform.map_err(|error| Refused(error.to_string()))?;
        platform.meta.set_receipts(false);
        self.platform = Some(platform);
        Ok(())
    }

    async fn act(&mut self, step: &Step) -> Result<Vec<Happening>, Refused> {
        let platform = self.platform()?;
        platform.aws.take_calls();
        match step {
            Step::Person { who, act } => Box::pin(self.person_acts(who, act)).await?,
            Step::Staff { desk, to, act } => {
                let who = to.as_deref().unwrap_or(SOMEBODY);
                Box::pin(self.staff_acts(desk, who, act)).await?;
            }
            Step::Time(passing) => {
                let to = self.instant(&platform, passing).await?;
                if to < platform.clock.now() {
                    return Err(Refused(format!("it is {} already", platform.clock.now())));
                }
                platform.advance_to(to).await;
            }
            Step::Fault(Fault::Deliver(delivery)) => self.deliver = Some(*delivery),
            Step::Fault(Fault::Graph { fault, who }) => {
                let fault = match fault {
                    GraphFault::LostAnswer => meta::Fault::LostAnswer,
                    GraphFault::Error { code, subcode } => meta::Fault::of_code(
                        i64::from(*code),
                        Some(i64::from(*subcode)).filter(|it| *it != 0),
                    ),
                };
                match who {
                    Some(who) => platform.meta.fail_next_for(&self.known(who)?.psid, fault),
                    None => platform.meta.fail_next(fault),
                }
            }
            Step::Fault(Fault::Off) => self.deliver = None,
            Step::Fault(Fault::Service { .. }) => {
                return Err(Refused(
                    "services are called over HTTP here, and cannot be made to fail yet".to_owned(),
                ));
            }
        }
        if !matches!(step, Step::Time(_) | Step::Fault(_)) {
            // A bot that failed is asked again before anything else happens.
            while let Some(visible_at) = platform.sqs.next_visible_at(EVENTS) {
                platform.advance_to(Timestamp::from_millis(visible_at)).await;
            }
        }
        // What is due now leaves with the schedule's next run, within the minute: here at once.
        for _ in 0..MOST_RUNS {
            let now = platform.clock.now();
            if platform.next_due().await.is_none_or(|due_at| due_at > now) {
                break;
            }
            platform.tick().await.map_err(Refused)?;
        }
        if !matches!(step, Step::Time(_) | Step::Fault(_)) {
            platform.clock.forward(MOMENT);
        }
        self.happened(&platform).await
    }

    async fn waiting(&mut self) -> Result<Vec<Waiting>, Refused> {
        let platform = self.platform()?;
        let now = platform.clock.now();
        let open = self.entries(&platform).await?.into_iter().filter(Entry::is_open);
        let waiting = open.filter_map(|entry| {
            let key = entry.key().ok()?.conversation_key;
            Some(Waiting {
                who: self.name_of(&key.page_id, &key.person.to_string()),
                due_in: entry.due_at?.since(now),
                label: entry.timer.is_none().then(|| label_in_window(entry.purpose)),
                text: timer(&entry).unwrap_or_else(|| {
                    entry.steps.first().map(|step| shown(&step.say())).unwrap_or_default()
                }),
            })
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|waiting| waiting.due_in);
        Ok(waiting)
    }

    async fn measure(&mut self, who: &str, check: &Check) -> Result<Check, Refused> {
        let platform = self.platform()?;
        Ok(match check {
            Check::State(_) => {
                let state = self.conversation(&platform, who).await?.state;
                Check::State(
                    state.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
                )
            }
            Check::Quiet(_) => {
                let until = self.conversation(&platform, who).await?.quiet_until;
                Check::Quiet(
                    until.map(|until| until.since(platform.clock.now())).unwrap_or_default(),
                )
            }
            Check::Writes(_) => {
                let calls = platform.aws.take_calls();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole units"
                )]
                Check::Writes(calls.iter().map(|call| call.writes).sum::<f64>() as u64)
            }
            Check::DeadLetters(_) => {
                Check::DeadLetters(platform.sqs.messages(DEAD_LETTERS).len() as u64)
            }
        })
    }
}

/// What a timer is called where messages show their text.
fn timer(entry: &Entry) -> Option<String> {
    entry.timer.as_ref().map(|timer| format!("(timer {})", timer.key))
}

/// What a message was before it was tagged for its echo.
fn without_metadata(mut message: Value) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.remove("metadata");
    }
    message
}

fn label(request: &GraphRequest) -> Label {
    match (request.tag.as_deref(), request.messaging_type.as_deref()) {
        (Some("HUMAN_AGENT"), _) => Label::Tagged(Tag::HumanAgent),
        (Some(_), _) => Label::Tagged(Tag::CustomerFeedback),
        (None, Some("UPDATE")) => Label::Update,
        (None, Some("UTILITY")) => Label::Utility,
        _ => Label::Response,
    }
}
