//! Whether messages leave: the Pages' pauses, and how far the follow-ups have come.

use std::collections::BTreeMap;
use std::time::Duration;

use backend::graph::Fault;
use backend::secrets::{Application, Login, Secret};
use backend::store::{DueClass, PageItem, StoreError};
use futures_util::future::{join, try_join};
use futures_util::{StreamExt, stream};
use messenger::clock::Timestamp;

use crate::Setup;
use crate::app::{name_of, remedy_of};
use crate::commands::show_metric;
use crate::report::Report;

const FOLLOW_UPS: &str = "follow-ups";

/// How many Pages are read at once.
const PAGES_AT_ONCE: usize = 16;

/// How long something may be due before it is reported: as long as the alarm waits for a run.
const TOLERATED_DELAY: Duration = Duration::from_mins(5);

/// How recent a run is that shows that the schedule works: it runs every minute, for five at most.
const RECENT: Duration = Duration::from_mins(5);

/// What to do about messages that are overdue.
const RUN_FOLLOW_UPS: &str = "look at the log group of the follow-ups and at their schedule in EventBridge Scheduler; to run them now: aws lambda invoke --function-name \"$FOLLOW_UPS_FUNCTION\" --cli-binary-format raw-in-base64-out --payload '{\"source\":\"schedule\"}' /dev/stdout";

/// What the table says about a Page's messages; either part may be missing.
#[derive(Debug)]
pub(crate) struct PageRead {
    item: Result<PageItem, StoreError>,
    /// Since when something has been due that is still there.
    due_since: Result<Option<Timestamp>, StoreError>,
}

impl Setup {
    /// Reads what the table says about each Page of the secret.
    pub(crate) async fn read_pages<'a>(&self, secret: &'a Secret) -> BTreeMap<&'a str, PageRead> {
        let store = self.outbox.store();
        let now = self.clock.now();
        stream::iter(secret.page_ids())
            .map(async |page_id| {
                let of = |class| store.due_since(page_id, class, now);
                let due = try_join(of(DueClass::People), of(DueClass::Bot));
                let (item, due) = Box::pin(join(store.page(page_id), due)).await;
                let due_since = due.map(|(people, bot)| people.into_iter().chain(bot).min());
                (page_id, PageRead { item, due_since })
            })
            .buffer_unordered(PAGES_AT_ONCE)
            .collect()
            .await
    }

    /// Reports whether a Page is paused, what Meta did about its policies, and what is overdue.
    pub(crate) fn check_sending(
        &self,
        key: &str,
        application: &Application,
        (page_id, read): (&str, &PageRead),
        secret: &Secret,
        report: &mut Report,
    ) {
        let name = &name_of(key, application, page_id);
        let is_paused = match &read.item {
            Ok(page) => {
                self.check_policy(page, name, report);
                let login =
                    application.sender(page_id).map_or(Login::Facebook, |sender| sender.login);
                self.check_pause(page, &secret.version, login, name, report)
            }
            Err(error) => {
                let finding = format!("cannot read whether it is paused: {error}");
                report.error(name, finding, "check that the table exists");
                false
            }
        };
        match &read.due_since {
            Ok(Some(since)) if self.clock.now().since(*since) > TOLERATED_DELAY => {
                if !is_paused {
                    let finding = format!("a message has been due since {since} and is not sent");
                    report.warning(name, finding, RUN_FOLLOW_UPS);
                }
            }
            Ok(_) => report.ok(name, "no message is overdue"),
            Err(error) => {
                let finding = format!("cannot read whether a message is overdue: {error}");
                report.error(name, finding, "check that the table and its index due exist");
            }
        }
    }

    /// Reports whether a Page is paused, and returns that.
    fn check_pause(
        &self,
        page: &PageItem,
        secret_version: &str,
        login: Login,
        name: &str,
        report: &mut Report,
    ) -> bool {
        let Some(until) = page.paused_until.filter(|until| self.clock.now() < *until) else {
            report.ok(name, "not paused");
            return false;
        };
        let reason = page.pause_reason.clone().unwrap_or_default();
        match &page.pause_version {
            Some(version) if version == secret_version => {
                let finding = format!("paused until the secret changes ({reason})");
                let fault = reason.parse().unwrap_or(Fault::TokenDead);
                report.error(name, finding, remedy_of(login)(&fault.into()));
            }
            Some(_) => report.note(
                name,
                format!("paused ({reason}) under an older secret"),
                "the next scheduled run ends the pause",
            ),
            None => {
                let finding = format!("paused until {until} ({reason})");
                report.warning(
                    name,
                    finding,
                    "messages are kept and sent afterwards; nothing is lost",
                );
            }
        }
        true
    }

    /// Reports the last run of the follow-ups that found something due.
    ///
    /// A run that finds nothing writes nothing, so an old time says nothing about the schedule.
    pub(crate) fn check_follow_ups(&self, pages: &BTreeMap<&str, PageRead>, report: &mut Report) {
        let swept_at = |read: &PageRead| read.item.as_ref().ok().and_then(|page| page.swept_at);
        match pages.values().filter_map(swept_at).max() {
            Some(at) if self.clock.now().since(at) <= RECENT => {
                report.ok(FOLLOW_UPS, format!("a run found something to send at {at}"));
            }
            Some(at) => report.note(
                FOLLOW_UPS,
                format!("the last run that found something to send was at {at}; a run that finds nothing leaves no record"),
                show_runs(self.clock.now()),
            ),
            None => report.note(
                FOLLOW_UPS,
                "no run has found anything to send yet; a run that finds nothing leaves no record",
                show_runs(self.clock.now()),
            ),
        }
    }
}

fn show_runs(now: Timestamp) -> String {
    let dimension = ("FunctionName", "\"$FOLLOW_UPS_FUNCTION\"");
    let command = show_metric("AWS/Lambda", "Invocations", dimension, "Sum", now);
    format!("the schedule works if it starts one each minute: {command}")
}
