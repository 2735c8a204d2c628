//! The messaging windows: Meta's tables, edge by edge, and what must hold between the edges.
//!
//! What Meta takes is stated again here, without a margin and in plain milliseconds.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its own material has failed")]

mod opening;
mod properties;
mod tables;

use std::time::Duration;

use messenger::clock::Timestamp;
use messenger::event::{Event, Platform, split};
use messenger::message::{Action, Message, Outgoing};
use messenger::window::{
    Allowed, Policy, Purpose, Refusal, STANDARD_WINDOW, Standing, allowed_purposes, decide,
    decide_with_fallback,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 27 April 2026, 00:00 UTC: from here on Meta refuses the three tags.
const RETIREMENT: i64 = 1_777_248_000_000;

/// A day long after the retirement, and one long before it.
const AFTER: i64 = RETIREMENT + 200 * DAY;
const BEFORE: i64 = RETIREMENT - 200 * DAY;

/// The margins that the tables are read with: none, and the default.
const MARGINS: [i64; 2] = [0, MINUTE];

const PLATFORMS: [Platform; 2] = [Platform::Messenger, Platform::Instagram];

/// `messaging_type` and `tag`, or why not.
type Outcome = Result<(&'static str, Option<&'static str>), Refusal>;

const RESPONSE: Outcome = Ok(("RESPONSE", None));
const UPDATE: Outcome = Ok(("UPDATE", None));
const UTILITY: Outcome = Ok(("UTILITY", None));
const HUMAN_AGENT: Outcome = Ok(("MESSAGE_TAG", Some("HUMAN_AGENT")));
const CUSTOMER_FEEDBACK: Outcome = Ok(("MESSAGE_TAG", Some("CUSTOMER_FEEDBACK")));
const ACCOUNT_UPDATE: Outcome = Ok(("MESSAGE_TAG", Some("ACCOUNT_UPDATE")));
const CONFIRMED_EVENT_UPDATE: Outcome = Ok(("MESSAGE_TAG", Some("CONFIRMED_EVENT_UPDATE")));
const POST_PURCHASE_UPDATE: Outcome = Ok(("MESSAGE_TAG", Some("POST_PURCHASE_UPDATE")));

const NEVER_HEARD_FROM: Outcome = Err(Refusal::NeverHeardFrom);
const WINDOW_CLOSED: Outcome = Err(Refusal::WindowClosed);
const SEVEN_DAYS_PASSED: Outcome = Err(Refusal::SevenDaysPassed);
const COMMENT_TOO_OLD: Outcome = Err(Refusal::CommentTooOld);
const TAG_RETIRED: Outcome = Err(Refusal::TagRetired);
const AUTHOR_MISSING: Outcome = Err(Refusal::AuthorMissing);
const NOT_ON_INSTAGRAM: Outcome = Err(Refusal::NotOnInstagram);

const RETIRED: [(Purpose, Outcome); 3] = [
    (Purpose::AccountUpdate, ACCOUNT_UPDATE),
    (Purpose::ConfirmedEventUpdate, CONFIRMED_EVENT_UPDATE),
    (Purpose::PostPurchaseUpdate, POST_PURCHASE_UPDATE),
];

const fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

const fn heard_at(at: i64, window: i64, platform: Platform) -> Standing {
    let free_until = Some(ms(at + window));
    Standing { platform, last_message_at: Some(ms(at)), free_until, ad_until: None }
}

const fn never_heard(platform: Platform) -> Standing {
    Standing { platform, last_message_at: None, free_until: None, ad_until: None }
}

fn outcome(
    purpose: Purpose,
    author: Option<&str>,
    standing: &Standing,
    now: i64,
    margin: i64,
) -> Outcome {
    decided(purpose, author, standing, now, &Policy { ad_windows: false, ..kept(margin) })
}

/// A policy that keeps this margin and tries the windows of ads.
const fn kept(margin: i64) -> Policy {
    Policy { margin: Duration::from_millis(margin.unsigned_abs()), ad_windows: true }
}

fn decided(
    purpose: Purpose,
    author: Option<&str>,
    standing: &Standing,
    now: i64,
    policy: &Policy,
) -> Outcome {
    decide(purpose, author, standing, ms(now), policy)
        .map(|label| (label.messaging_type(), label.tag()))
}
