//! A campaign: many follow-ups are due at once.

use std::error::Error;
use std::time::Duration;

use backend::store::{
    ConversationItem, ConversationKey, Entry, EntryKey, ExpiresAt, Heard, LastMessage, Step,
};
use messenger::clock::Timestamp;
use messenger::event::{Platform, TimeSource};
use messenger::message::Message;
use messenger::person::Person;
use messenger::window::{Purpose, STANDARD_WINDOW};
use serde_json::json;

use super::World;
use crate::search::clock::next_minute;
use crate::search::plan::answer;

/// How many people it goes to.
const PEOPLE: u64 = 30;

/// How long before the next run of the follow-ups it is due, by clocks that differ.
const BEFORE_A_RUN: Duration = Duration::from_secs(30);

impl World {
    /// Plans a campaign for people of a Page, and an agent's message to a person that is due just after it.
    ///
    /// Its entries are put into the table as they are, which costs the run no calls.
    pub(super) async fn begin_campaign(&mut self, page_id: &str, psid: &str) {
        self.tell(format!("a campaign of {page_id} goes to {PEOPLE} people"));
        let due_at = next_minute(self.now() + Duration::from_mins(2)) - BEFORE_A_RUN;
        for number in 0..PEOPLE {
            if let Err(error) = self.add_to_campaign(page_id, number, due_at).await {
                self.tell(format!("the campaign was not planned: {error}"));
                return;
            }
        }
        self.act(answer(2001, page_id, psid, Some(due_at + Duration::from_secs(1))));
    }

    async fn add_to_campaign(
        &self,
        page_id: &str,
        number: u64,
        due_at: Timestamp,
    ) -> Result<(), Box<dyn Error>> {
        let now = self.now();
        let psid = format!("75000000000{number:05}");
        let item =
            json!({"message": {"mid": format!("m_subscribed_{number}"), "text": "subscribe"}});
        self.platform.meta.person_does(page_id, &psid, item);
        let (page_id, person) = (page_id.to_owned(), Person::Psid(psid));
        let conversation_key = ConversationKey { page_id, person };
        let platform = Platform::Messenger;
        let free_until = now + STANDARD_WINDOW;
        let heard = Heard::Opening(LastMessage {
            platform,
            at: now,
            source: TimeSource::Event,
            free_until,
            ad_window: None,
        });
        let store = self.platform.store();
        store.record_activity(&conversation_key, &heard, now).await?;
        let key = EntryKey { conversation_key, id: format!("campaign-{number}") };
        let steps = vec![Step::planned(&Message::text("campaign")?.into())?];
        let give_up_at = due_at + Duration::from_hours(24);
        let mut entry = Entry::new(&key, Purpose::Update, steps, due_at, now, give_up_at);
        entry.due_at = Some(due_at);
        entry.expires_at = Some(ExpiresAt::after(give_up_at, Duration::from_hours(3650 * 24)));
        let nothing = ConversationItem::default();
        store.reserve(&key.conversation_key, &nothing, &entry.waiting()).await?;
        store.create_entry(&entry).await?;
        Ok(())
    }
}
