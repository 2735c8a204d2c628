//! The platform retold in memory: people act, time passes, and messages leave when they are due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::clock::VirtualClock;
use super::nearby::Memos;
use super::notification::{Notice, is_bot};
use super::person::{Entry, Known, Next};
use super::shown::{choices, shown, text};
use super::timers::SetTimer;
use super::transcript::{
    Account, Act, Check, Desk, Ending, Fault, Happening, Passing, Refused, Scene, StaffAct, Step,
    Waiting, What, label_in_window,
};
use super::world::World;
use crate::bot::{Gather, SharedBot, TurnData};
use crate::clock::{Clock, Timestamp};
use crate::event::{Event, Handover, Kind, split};
use crate::limits::{DEFAULT_QUIET_HOURS, MOST_GATHERED};
use crate::message::{Message, Outgoing};
use crate::window::{Allowed, Purpose};

/// Where the clock of a conversation stands at first: 22 November 2026, 09:00 UTC.
const BEGINNING: Timestamp = Timestamp::from_millis(1_795_338_000_000);

/// For how long the bot is quiet once people have answered.
pub(super) const QUIET: Duration = Duration::from_hours(DEFAULT_QUIET_HOURS);

/// What an act takes: no two of a person happen in the same instant.
const MOMENT: Duration = Duration::from_millis(1);

/// Something that happened, with what can be expected of it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) happening: Happening,
    /// The text as the person sees it.
    pub(super) text: String,
    /// The titles of what can be pressed.
    pub(super) choices: Vec<String>,
    /// Whether a test has to expect it: it is of the bot, and seen or missed by the person.
    pub(super) is_of_interest: bool,
}

/// The platform in memory.
pub(super) struct Kit {
    pub(super) bot: SharedBot,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) world: Arc<World>,
    pub(super) memos: Arc<Memos>,
    /// Where people write who are not introduced.
    pub(super) account: Account,
    pub(super) last_turn: Option<TurnData>,
    /// How many timers this step has fired.
    pub(super) fired: u32,
    people: BTreeMap<String, Known>,
    happened: Vec<Said>,
    count: u64,
}

impl Kit {
    pub(super) fn new(bot: SharedBot, world: Arc<World>) -> Self {
        Self {
            bot,
            clock: Arc::new(VirtualClock::new(BEGINNING)),
            world,
            memos: Arc::default(),
            account: Account::default(),
            last_turn: None,
            fired: 0,
            people: BTreeMap::new(),
            happened: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn person(&mut self, who: &str) -> &mut Known {
        let (account, count) = (self.account, self.people.len());
        let known = || Known::new(account, format!("{}", 7_000_000_000_000_001_u64 + count as u64));
        self.people.entry(who.to_owned()).or_insert_with(known)
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(super) fn begin(&mut self, scene: &Scene) {
        if let Some(at) = scene.start {
            self.clock.set(at);
        }
        for (who, account) in &scene.people {
            let known = self.person(who);
            known.write_at(account.unwrap_or(known.account));
        }
    }

    /// Does a step and everything that follows from it.
    pub(super) fn act(&mut self, step: &Step) -> Result<Vec<Said>, Refused> {
        self.fired = 0;
        match step {
            Step::Person { who, act } => self.person_acts(who, act)?,
            Step::Staff { desk, to, act } => {
                let who = to.as_deref().unwrap_or(super::transcript::SOMEBODY);
                self.staff_acts(desk, who, act)?;
            }
            Step::Time(passing) => {
                let to = self.instant(passing)?;
                if to < self.now() {
                    return Err(Refused(format!("it is {} already", self.now())));
                }
                self.pass_to(to)?;
            }
            Step::Fault(Fault::Off) => self.world.recover(),
            Step::Fault(Fault::Service { name, outage, times }) => {
                self.world.fail(name, *outage, *times);
            }
            Step::Fault(Fault::Graph { .. }) => {
                return Err(only_there("there is no Graph in memory that could fail"));
            }
            Step::Fault(Fault::Deliver(_)) => {
                return Err(only_there("there is no queue in memory that could deliver otherwise"));
            }
        }
        if !matches!(step, Step::Time(_)) {
            self.pass_to(self.now())?;
            self.clock.set(self.now() + MOMENT);
        }
        Ok(std::mem::take(&mut self.happened))
    }

    fn person_acts(&mut self, who: &str, act: &Act) -> Result<(), Refused> {
        if let Act::Quickly(texts) = act {
            return self.says_quickly(who, texts);
        }
        let (number, at) = (self.next_number(), self.now());
        let mid = format!("m_{number}");
        let known = self.person(who);
        let fields = |field: &str, value: Value| Map::from_iter([(field.to_owned(), value)]);
        let fields = match act {
            Act::Says(text) => fields("message", json!({"mid": mid, "text": text})),
            Act::Quickly(_) => Map::new(),
            Act::Taps(title) => {
                known.screen.tap(title, &mid, known.account.platform).map_err(Refused)?
            }
            Act::SendsImage => {
                let url = "https://example.com/image.jpg";
                let image = json!({"type": "image", "payload": {"url": url}});
                fields("message", json!({"mid": mid, "attachments": [image]}))
            }
            Act::Reacts(reaction) => {
                let about = known.screen.newest_of_page();
                let about = about.ok_or(Refused("there is no message to react to".to_owned()))?;
                fields("reaction", json!({"mid": about, "action": "react", "reaction": reaction}))
            }
            Act::Unsends => {
                let about = known.screen.newest_of_person();
                let about = about.ok_or(Refused("there is no message to take back".to_owned()))?;
                fields("message", json!({"mid": about, "is_deleted": true}))
            }
            Act::FollowsLink(reference) => {
                let link = json!({"ref": reference, "source": "SHORTLINK", "type": "OPEN_THREAD"});
                fields("referral", link)
            }
            Act::Raw(fields) => fields.clone(),
            Act::Comments(text) => {
                let notice = Notice { account: known.account, psid: &known.psid, at };
                let body = notice.comment(&format!("c_{number}"), text);
                return self.receive(who, &body);
            }
        };
        if matches!(act, Act::Says(_) | Act::Taps(_) | Act::SendsImage) {
            known.screen.write(&mid);
        }
        let notice = Notice { account: known.account, psid: &known.psid, at };
        let body = notice.by_person(fields);
        self.receive(who, &body)
    }

    /// All messages have arrived before the bot is asked about the first.
    fn says_quickly(&mut self, who: &str, texts: &[String]) -> Result<(), Refused> {
        let mut events = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                self.clock.set(self.now() + MOMENT);
            }
            let (mid, at) = (format!("m_{}", self.next_number()), self.now());
            let known = self.person(who);
            known.screen.write(&mid);
            let message = json!({"mid": mid, "text": text});
            let notice = Notice { account: known.account, psid: &known.psid, at };
            let body = notice.by_person(Map::from_iter([("message".to_owned(), message)]));
            events.extend(self.arrive(who, &body)?);
        }
        let together = if self.bot.gather() == Gather::Off { 1 } else { MOST_GATHERED };
        events.chunks(together).try_for_each(|events| self.answer(who, events))
    }

    fn staff_acts(&mut self, desk: &Desk, who: &str, act: &StaffAct) -> Result<(), Refused> {
        let (number, now) = (self.next_number(), self.now());
        let known = self.person(who);
        let notice = Notice { account: known.account, psid: &known.psid, at: now };
        let body = match (desk, act) {
            (_, StaffAct::ReturnsControl) => notice.control_returned(),
            (_, StaffAct::Asks(_)) => return Err(only_there("there is no API in memory")),
            (Desk::Inbox, StaffAct::Says(text)) => {
                let mid = format!("m_{number}");
                let body = notice.echo(&mid, text);
                known.screen.show(mid, &json!({"text": text}));
                body
            }
            (Desk::Api(author), StaffAct::Says(text)) => {
                let message = Message::text(text.as_str())
                    .and_then(|message| message.check(known.account.platform).map(|()| message));
                let message = message
                    .map_err(|invalid| Refused(format!("the API refuses this: {invalid}")))?;
                let mut entry = Entry::new(vec![message.into()], Purpose::Human, now, number);
                entry.author = Some(author.clone());
                known.waiting.push(entry);
                return Ok(());
            }
        };
        self.receive(who, &body)
    }

    /// What a notification is about happens.
    fn receive(&mut self, who: &str, body: &[u8]) -> Result<(), Refused> {
        let events = self.arrive(who, body)?;
        events.into_iter().try_for_each(|event| self.process(who, event))
    }

    /// The events of a notification, which are in the conversation from now on.
    fn arrive(&mut self, who: &str, body: &[u8]) -> Result<Vec<Event>, Refused> {
        let events = split(body, self.now())
            .map_err(|error| Refused(format!("Meta sends nothing of this form: {error}")))?;
        self.forget_last_turn();
        let history = &mut self.person(who).history;
        for event in &events {
            history.hear(event);
        }
        Ok(events)
    }

    /// What was asked and changed before is none of what happens now.
    pub(super) fn forget_last_turn(&mut self) {
        self.last_turn = None;
        self.world.take_changes();
    }

    fn process(&mut self, who: &str, event: Event) -> Result<(), Refused> {
        let at = event.happened_at();
        match &event.kind {
            Kind::Echo(echo) if !echo.is_post => self.person(who).silence(at + QUIET),
            Kind::Handover(Handover::Pass { to } | Handover::Take { to }) => {
                if is_bot(to.as_deref()) {
                    self.resume(who, &event);
                } else {
                    self.person(who).silence(at + QUIET);
                }
            }
            Kind::Echo(_) | Kind::Handover(_) | Kind::Delivery(_) | Kind::Read(_) => {}
            _ if event.by_page => {}
            Kind::Comment(_) | Kind::Post(_) => return self.answer_in_private(who, &event),
            _ if event.is_standby() => self.person(who).hear(&event),
            _ if event.container != "messaging" => {}
            _ => return self.answer(who, &[event]),
        }
        Ok(())
    }

    /// Records what a person did, and cancels what that makes unnecessary.
    pub(super) fn hear(&mut self, who: &str, event: &Event) {
        let known = self.person(who);
        known.hear(event);
        if event.opens_window() {
            for entry in known.take_answered(event.happened_at()) {
                self.end(who, Ending::Cancelled, "answered", entry.messages.first());
            }
        }
    }

    fn instant(&self, passing: &Passing) -> Result<Timestamp, Refused> {
        let refused = |why: String| Err(Refused(why));
        match passing {
            Passing::For(span) => Ok(self.now() + *span),
            Passing::To(at) => Ok(*at),
            Passing::UntilDue => match self.next_due() {
                Some((due_at, ..)) => Ok(due_at.max(self.now())),
                None => refused("nothing is waiting".to_owned()),
            },
            Passing::Edge { who, window, offset } => {
                let known = self.people.get(who);
                let last = known.and_then(|known| known.conversation.standing.last_message_at);
                let Some(last) = last else {
                    return refused(format!("{who} has not opened a window"));
                };
                Ok(Timestamp::from_millis((last + *window).millis().saturating_add(*offset)))
            }
        }
    }

    /// What is due next: when, its number, and for whom.
    fn next_due(&self) -> Option<(Timestamp, u64, String)> {
        let waiting = self.people.iter().flat_map(|(who, known)| {
            let timers = if known.is_in_turn { &[][..] } else { &known.timers };
            let timers = timers.iter().map(|timer| (timer.due.due_at, timer.number));
            let entries = known.waiting.iter().map(|entry| (entry.due_at, entry.number));
            entries.chain(timers).map(move |(due_at, number)| (due_at, number, who))
        });
        waiting.min().map(|(due_at, number, who)| (due_at, number, who.clone()))
    }

    /// Time passes, and what falls due on the way happens at its time.
    pub(super) fn pass_to(&mut self, to: Timestamp) -> Result<(), Refused> {
        while let Some((due_at, number, who)) = self.next_due().filter(|(due, ..)| *due <= to) {
            self.clock.set(due_at.max(self.now()));
            let is_due = |entry: &mut Entry| entry.number == number;
            let due: Vec<_> = self.person(&who).waiting.extract_if(.., is_due).collect();
            for entry in due {
                self.deliver(&who, entry);
            }
            let is_due = |timer: &mut SetTimer| timer.number == number;
            let due: Vec<_> = self.person(&who).timers.extract_if(.., is_due).collect();
            due.into_iter().try_for_each(|timer| self.fire(&who, timer))?;
        }
        self.clock.set(to.max(self.now()));
        Ok(())
    }

    /// Sends an entry that is due, or does what its time asks for instead.
    pub(super) fn deliver(&mut self, who: &str, mut entry: Entry) {
        let now = self.now();
        let known = self.person(who);
        match known.next(&entry, now) {
            Next::End(ending, reason) => self.end(who, ending, reason, entry.messages.first()),
            Next::WaitUntil(until) => {
                entry.due_at = until;
                entry.waits_for_end_of_quiet = true;
                known.waiting.push(entry);
            }
            Next::Send(allowed) => {
                if entry.purpose == Purpose::Human {
                    known.silence(now + QUIET);
                }
                match (allowed, entry.fallback) {
                    (Allowed::Fallback(_), Some(template)) => {
                        self.send(who, entry.purpose, allowed, &Outgoing::from(template));
                    }
                    _ => {
                        for say in &entry.messages {
                            self.send(who, entry.purpose, allowed, say);
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, who: &str, purpose: Purpose, allowed: Allowed, say: &Outgoing) {
        let label = allowed.label();
        let Some(message) = say.message() else {
            // A sender action has no label, so it leaves only where none is needed.
            if label.is_standard() {
                self.happen(who, What::Sent { label: None, text: shown(say) }, false);
            }
            return;
        };
        let (mid, now) = (format!("m_{}", self.next_number()), self.now());
        let known = self.person(who);
        known.history.say(&mid, now, message);
        known.screen.show(mid, message);
        let what = What::Sent { label: Some(label), text: shown(say) };
        let said = self.happen(who, what, purpose != Purpose::Human);
        said.text = text(message);
        said.choices = choices(message).into_iter().map(|choice| choice.title).collect();
    }

    pub(super) fn end(
        &mut self,
        who: &str,
        ending: Ending,
        reason: &str,
        about: Option<&Outgoing>,
    ) {
        self.end_as(who, ending, reason, about.map(shown).unwrap_or_default());
    }

    pub(super) fn end_as(&mut self, who: &str, ending: Ending, reason: &str, text: String) {
        let what = What::Ended { ending, reason: reason.to_owned(), text };
        self.happen(who, what, ending != Ending::Cancelled);
    }

    /// An event ends without a decision.
    pub(super) fn fail(&mut self, who: &str, reason: &str, details: &str) {
        let text = super::transcript::escaped(details);
        let what = What::Ended { ending: Ending::Failed, reason: reason.to_owned(), text };
        self.happen(who, what, true);
    }

    pub(super) fn happen(&mut self, who: &str, what: What, is_of_interest: bool) -> &mut Said {
        let happening = Happening { who: Some(who.to_owned()), what };
        let (text, choices) = (String::new(), Vec::new());
        self.happened.push_mut(Said { happening, text, choices, is_of_interest })
    }

    /// What waits, in the order in which it is due; what leaves then stands before what wakes the bot.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.people.iter().flat_map(|(who, known)| {
            let waiting = |due_at: Timestamp, label, text| Waiting {
                who: Some(who.clone()),
                due_in: due_at.since(self.now()),
                label,
                text,
            };
            let entries = known.waiting.iter().map(move |entry| {
                let text = entry.messages.first().map(shown).unwrap_or_default();
                let label = Some(label_in_window(entry.purpose));
                ((entry.due_at, false, entry.number), waiting(entry.due_at, label, text))
            });
            let timers = known.timers.iter().map(move |timer| {
                let due_at = timer.due.due_at;
                ((due_at, true, timer.number), waiting(due_at, None, timer.shown()))
            });
            entries.chain(timers)
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|(place, _)| *place);
        waiting.into_iter().map(|(_, waiting)| waiting).collect()
    }

    pub(super) fn measure(&mut self, who: &str, check: &Check) -> Result<Check, Refused> {
        let now = self.now();
        let known = self.person(who);
        match check {
            Check::State(_) => Ok(Check::State(known.conversation.state.clone())),
            Check::Quiet(_) => {
                let left = known.quiet_until.map(|until| until.since(now));
                Ok(Check::Quiet(left.unwrap_or_default()))
            }
            Check::Writes(_) => Err(only_there("there is no table in memory that counts writes")),
            Check::DeadLetters(_) => Err(only_there("there is no dead-letter queue in memory")),
        }
    }
}

fn only_there(why: &str) -> Refused {
    Refused(format!("{why}; only the full platform can do this"))
}
