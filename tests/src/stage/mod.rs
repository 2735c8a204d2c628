//! A stage for transcripts: the conversations of a `.chat` file on the real functions.
//!
//! It tells what happened in the words of the test kit, so that both can play the same files.

mod acts;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backend::store::{ConversationItem, Entry};
use messenger::chat::transcript::{
    Account, Check, Delivery, Driver, Fault, GraphFault, Happening, Passing, Refused, SOMEBODY,
    Scene, Step, Waiting, label_in_window,
};
use messenger::chat::{Screen, shown};
use messenger::clock::{Clock, Timestamp};
use messenger::event::Platform as Product;

use crate::meta;
use crate::platform::{DEAD_LETTERS, EVENTS, Options, Platform};
use told::{Told, timer};

/// What an act takes: no two of a person happen in the same instant.
const MOMENT: Duration = Duration::from_millis(1);

/// How often the schedule runs at most for what is due at one instant.
const MOST_RUNS: usize = 10;

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
    /// A notification that comes after the next one.
    held_back: Option<Vec<u8>>,
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
            held_back: None,
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
