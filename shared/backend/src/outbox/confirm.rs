//! Echoes: Meta's word that a message was delivered.

use std::collections::BTreeSet;

use crate::correlation::CORRELATION_ID;
use crate::secrets::Secret;
use crate::store::{
    Change, ConversationKey, ConversationUpdate, Entry, EntryKey, Guard, NextState, PersonErasure,
    Status, Step, StepKey, StepState,
};
use crate::telemetry::Metric;
use messenger::clock::Timestamp;
use messenger::event::Echo;
use messenger::person::Person;
use serde_json::Value;

use super::next::Halt;
use super::{Outbox, OutboxError};

impl Outbox {
    /// The step whose message an echo is of, if this deployment sent it; `to` is the conversation that
    /// the echo came in.
    ///
    /// A container may hold an older secret than the sender had, so metadata with our mark that does
    /// not fit is compared with a fresh read of it: an own message must not count as another app's.
    ///
    /// # Errors
    /// [`OutboxError`] if the secret cannot be read.
    pub async fn own_step(
        &self,
        to: &ConversationKey,
        echo: &Echo,
    ) -> Result<Option<StepKey>, OutboxError> {
        let secret = self.secrets.current().await?;
        let step = own_step(&secret, to, echo);
        if step.is_some() || !echo.has_our_mark() {
            return Ok(step);
        }
        let fresh = self.secrets.after(&secret.version).await?;
        Ok(own_step(&fresh, to, echo))
    }

    /// The step whose message an echo is of although it carries no metadata, which Meta may leave out as it
    /// may the app id: by its mid, or by what it says while the outcome of the step is not known.
    ///
    /// `is_of_another_app` says whether the echo names another app than ours. What went to the person
    /// under another name, as a private reply to a comment does, counts as well.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn step_like(
        &self,
        to: &ConversationKey,
        echo: &Echo,
        is_of_another_app: bool,
    ) -> Result<Option<StepKey>, OutboxError> {
        let known_as = self.store.conversation(to).await?.unwrap_or_default().known_as;
        let other_name = |person| ConversationKey { page_id: to.page_id.clone(), person };
        for name in std::iter::once(to.clone()).chain(known_as.into_iter().map(other_name)) {
            let entries = self.store.entries(&name).await?;
            if let Some((entry, step)) = find_step(&entries, echo, is_of_another_app) {
                return Ok(Some(StepKey { entry: entry.key()?, step }));
            }
        }
        Ok(None)
    }

    /// Notes as whom Meta knows the person of an entry that went to a `user_ref`, a comment or a post:
    /// whether they were not erased since.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub(super) async fn name_person(
        &self,
        entry: &Entry,
        key: &EntryKey,
        named: &ConversationKey,
    ) -> Result<bool, OutboxError> {
        let person = &key.conversation_key.person;
        if named.page_id != key.conversation_key.page_id
            || !named.person.is_psid()
            || person.is_psid()
            || entry.psid.is_some()
        {
            return Ok(true);
        }
        if let Some(erased_at) = self.store.add_known_as(named, person, entry.decided_at).await? {
            self.erase_unnamed(entry, key, erased_at).await?;
            return Ok(false);
        }
        self.store.set_psid(key, &named.person.to_string()).await?;
        Ok(true)
    }

    /// Lets an entry be erased of whose person this is the first word, if they were erased after it.
    async fn erase_unnamed(
        &self,
        entry: &Entry,
        key: &EntryKey,
        erased_at: Timestamp,
    ) -> Result<(), OutboxError> {
        if erased_at < entry.decided_at {
            return Ok(());
        }
        let conversation_key = key.conversation_key.clone();
        let erasure = PersonErasure { conversation_key, known_as: BTreeSet::new(), erased_at };
        Ok(self.store.queue_erasure(&erasure, self.clock.now()).await?)
    }

    /// Learns from an echo, or from a late answer, that a step was delivered.
    ///
    /// Most echoes tell what is known: they cost a read. An entry that waited for this echo ends,
    /// or goes on with its next step.
    ///
    /// `to` is the person whom the echo names: of an entry that went to a `user_ref`, a comment or a
    /// post, it names the PSID.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn confirm(
        &self,
        step: &StepKey,
        mid: Option<&str>,
        to: Option<&ConversationKey>,
    ) -> Result<(), OutboxError> {
        let key = &step.entry;
        let Some(entry) = self.store.entry(key).await? else {
            return Ok(());
        };
        if let Some(to) = to
            && !self.name_person(&entry, key, to).await?
        {
            return Ok(());
        }
        let state = entry.steps.get(step.step).map(|step| step.state);
        if !matches!(state, Some(StepState::Sending | StepState::Unconfirmed)) {
            return Ok(());
        }
        let Some(entry) = self.store.confirm_step(step, mid).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        let (true, Some(due_at), false) = (entry.is_open(), entry.due_at, entry.is_leased(now))
        else {
            return Ok(());
        };
        let page_id = key.conversation_key.page_id.as_str();
        let details = [(CORRELATION_ID, &*key.correlation_id())];
        self.telemetry.count(Metric::ConfirmedByEcho, page_id, &details);
        let guard = Guard::Free { due_at: Some(due_at), now };
        if entry.next_step().is_some() {
            let next_state = NextState::Waits { due_at: now, reason: None, rescheduled: false };
            self.store.change_entry(key, guard, Change::to(next_state)).await?;
        } else if entry.unapplied.is_none()
            && self
                .store
                .change_entry(
                    key,
                    guard,
                    Change::to(self.next_state(Halt::End(Status::Sent, None))),
                )
                .await?
                .is_some()
        {
            self.count_end(key, entry.purpose, Status::Sent, None);
            let changes = ConversationUpdate {
                forget: vec![entry.waiting()],
                ..ConversationUpdate::default()
            };
            self.store.settle(&key.conversation_key, &changes).await?;
            self.unlist(std::slice::from_ref(key)).await?;
        }
        Ok(())
    }
}

/// The step of an echo's metadata: made with the Page's own app secret, for this Page and this person,
/// and not sent by another app.
///
/// Another app can read the metadata of our messages in their echoes, and send it in messages of its
/// own; so the tag alone does not do.
fn own_step(secret: &Secret, to: &ConversationKey, echo: &Echo) -> Option<StepKey> {
    let application = secret.application_of(&to.page_id).ok()?;
    let step = StepKey::from_metadata(echo.metadata.as_deref()?, application.app_secrets())?;
    let sent_to = &step.entry.conversation_key;
    let is_of_person = sent_to.person == to.person
        || !matches!((&sent_to.person, &to.person), (Person::Psid(_), Person::Psid(_)));
    let own = application.app_id().ok();
    let is_of_another_app = own.is_some() && echo.app_id.is_some() && echo.app_id.as_deref() != own;
    (sent_to.page_id == to.page_id && is_of_person && !is_of_another_app).then_some(step)
}

/// The entry and the step of an echo that carries no metadata of ours.
///
/// Another app, or a person who has seen our metadata, can say the same as an unclear step: only an echo
/// that names nobody else is compared by what it says.
fn find_step<'a>(
    entries: &'a [Entry],
    echo: &Echo,
    is_of_another_app: bool,
) -> Option<(&'a Entry, usize)> {
    let find = |is_it: &dyn Fn(&Step) -> bool| {
        entries.iter().find_map(|entry| Some((entry, entry.steps.iter().position(is_it)?)))
    };
    let has_its_mid = |step: &Step| echo.mid.is_some() && step.mid == echo.mid;
    let may_be_it = |step: &Step| {
        let is_unclear = matches!(step.state, StepState::Sending | StepState::Unconfirmed);
        let say = step.say();
        let says_it = |message: &Value| message["text"].as_str() == echo.text.as_deref();
        is_unclear && say.message().is_some_and(says_it)
    };
    let may_be_ours = !is_of_another_app && echo.metadata.is_none();
    find(&has_its_mid).or_else(|| find(&may_be_it).filter(|_| may_be_ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger::window::Purpose;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn entry(state: StepState, body: &str, mid: Option<&str>) -> Entry {
        let conversation_key =
            ConversationKey { page_id: "1".into(), person: Person::Psid("2".into()) };
        let key = EntryKey { conversation_key, id: "e".into() };
        let step = Step {
            body: body.into(),
            state,
            sends: 1,
            mid: mid.map(str::to_owned),
            attachment_id: None,
        };
        Entry::new(&key, Purpose::Reply, vec![step], NOW, NOW, NOW)
    }

    #[test]
    fn an_echo_without_metadata_is_known_by_its_mid_or_by_what_an_unclear_step_says() {
        use StepState::{Planned, Sending, Sent, Unconfirmed};
        const TEXT: &str = r#"{"message":{"text":"hi"}}"#;
        const IMAGE: &str = r#"{"message":{"attachment":{"type":"image"}}}"#;
        const TYPING: &str = r#"{"sender_action":"typing_on"}"#;
        let echo = |mid: Option<&str>, text: Option<&str>, metadata: Option<&str>| Echo {
            mid: mid.map(str::to_owned),
            text: text.map(str::to_owned),
            metadata: metadata.map(str::to_owned),
            ..Echo::default()
        };
        let (hi, mid) = (Some("hi"), Some("m"));
        for (state, body, known, echo, is_of_another_app, is_ours) in [
            (Sent, TEXT, mid, echo(mid, hi, None), false, true),
            (Sent, TEXT, mid, echo(mid, hi, None), true, true),
            (Sent, TEXT, mid, echo(mid, None, Some("x")), true, true),
            (Sent, TEXT, mid, echo(Some("n"), hi, None), false, false),
            (Sent, TEXT, None, echo(None, hi, None), false, false),
            (Sending, TEXT, None, echo(mid, hi, None), false, true),
            (Unconfirmed, TEXT, None, echo(mid, hi, None), false, true),
            (Unconfirmed, TEXT, None, echo(mid, hi, None), true, false),
            (Unconfirmed, TEXT, None, echo(mid, hi, Some("x")), false, false),
            (Unconfirmed, TEXT, None, echo(mid, Some("ho"), None), false, false),
            (Unconfirmed, TEXT, None, echo(mid, None, None), false, false),
            (Unconfirmed, IMAGE, None, echo(mid, None, None), false, true),
            (Sending, TYPING, None, echo(mid, None, None), false, false),
            (Planned, TEXT, None, echo(mid, hi, None), false, false),
        ] {
            let entries = [entry(state, body, known)];
            let found = find_step(&entries, &echo, is_of_another_app).is_some();
            assert_eq!(found, is_ours, "{state:?} {body} {known:?} {echo:?} {is_of_another_app}");
        }
    }
}
