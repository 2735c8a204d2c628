//! What must hold about the feed, and about what other systems receive.

use std::collections::{BTreeMap, BTreeSet};

use backend::publish::end_id;
use serde_json::Value;

use super::erasure::SKEW;
use super::promises::Onlooker;

impl Onlooker<'_> {
    /// Everything that people did, and each end of a requested message, is in the feed once, and came to
    /// the other system at least once; an echo of an own message did not.
    pub(super) fn everything_is_passed_on(&self) {
        let mut in_feed = BTreeMap::<&str, usize>::new();
        for item in &self.items {
            let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
            if text("pk").starts_with("feed#")
                && let Some((_, event_id)) = text("sk").split_once('.')
            {
                *in_feed.entry(event_id).or_default() += 1;
            }
        }
        for (event_id, inbound) in &self.history.inbound {
            let until = self.erased_until(&inbound.conversation_key);
            if until.is_some_and(|until| inbound.happened_at <= until) {
                continue;
            }
            let count = in_feed.get(event_id.as_str()).copied().unwrap_or(0);
            if count != 1 {
                self.breaks("the feed is complete", format!("{event_id} is in it {count} times"));
            }
            if !self.history.posts.iter().any(|post| post.event_id == *event_id) {
                self.breaks("everything is forwarded", format!("{event_id} was not posted"));
            }
        }
        for (key, entry) in self.entries.iter().filter(|(key, _)| key.is_of_request()) {
            let erased_until = self.erased_until(&key.conversation_key);
            if entry.is_open() || erased_until.is_some_and(|until| entry.decided_at <= until + SKEW)
            {
                continue;
            }
            let id = end_id(key);
            let count = in_feed.get(id.as_str()).copied().unwrap_or(0);
            let is_posted = self.history.posts.iter().any(|post| post.event_id == id);
            if count != 1 || !is_posted {
                let how = format!(
                    "the end of {} is in the feed {count} times, posted: {is_posted}",
                    key.id
                );
                self.breaks("callers learn how it ended", how);
            }
        }
        let ends: BTreeSet<_> =
            self.history.put.keys().filter(|key| key.is_of_request()).map(end_id).collect();
        // Without the app secret that it was signed with, nobody can tell that an echo is an own one.
        if self.history.has_lost_secret {
            return;
        }
        let passed_on = in_feed.into_keys();
        let posted = self.history.posts.iter().map(|post| post.event_id.as_str());
        for event_id in passed_on.chain(posted) {
            if !self.history.inbound.contains_key(event_id) && !ends.contains(event_id) {
                let how = format!("{event_id} is an own echo, or nothing that was processed");
                self.breaks("only inbound events are passed on", how);
            }
        }
    }
}
