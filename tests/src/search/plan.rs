//! The plan of a run, drawn from its seed.

use std::time::Duration;

use messenger::clock::Timestamp;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use super::clock::next_minute;
use super::habits::Habits;
use super::script::{Later, Script};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The margin that the functions keep from a window's edge.
const MARGIN: u64 = MINUTE;

/// What is to happen at a time.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Act(Act),
    Post {
        body: Vec<u8>,
        tries: u32,
    },
    Request {
        payload: Value,
        tries: u32,
    },
    Call {
        call: ApiCall,
        tries: u32,
    },
    FillSecret,
    /// The app secret is reset in Meta's dashboard.
    ResetAppSecret,
    /// Many follow-ups of other people are due at once, and an agent's message to a person with them.
    Campaign {
        page_id: String,
        psid: String,
    },
}

/// A call of the API.
#[derive(Clone, Debug)]
pub(super) enum ApiCall {
    /// An agent answers.
    Answer { body: Value, key: String },
    /// A back-office system erases a person.
    Erase { page_id: String, psid: String },
    /// Meta passes on that a person wants to be deleted.
    Delete { user_id: String, asked_at: Timestamp },
}

/// What somebody does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A person writes to a Page.
    Outgoing {
        page_id: String,
        psid: String,
        script: Script,
        /// How far the event's time is ahead of the truth.
        ahead: Duration,
        /// When Meta posts it, as delays: several times if it repeats itself.
        posted: Vec<Duration>,
    },
    /// Somebody answers in the Page's inbox; Meta posts it with these delays.
    TakeOver { page_id: String, psid: String, posted: Vec<Duration> },
    /// The inbox gives the conversation back.
    HandBack { page_id: String, psid: String },
    /// Somebody asks the follow-ups function to send something.
    Ask { payload: Value },
    /// Somebody calls the API.
    Call(ApiCall),
    /// Graph no longer says what it does with messages, for a while.
    Outage { length: Duration },
    /// A Page's token is replaced; the secret follows later.
    RotateToken { page_id: String, filled_in_after: Duration },
    /// The app secret is replaced at Meta and in the secret, one after the other.
    RotateAppSecret { is_reset_first: bool, other_after: Duration, keeps_previous: bool },
}

/// Who takes part.
pub(super) struct Cast {
    pub(super) pages: Vec<String>,
    /// Each with their Page.
    pub(super) people: Vec<(String, String)>,
}

impl Cast {
    /// A person's id in the app, as the data deletion callback names them.
    pub(super) fn user_id(psid: &str) -> String {
        format!("8{}", &psid[1..])
    }
}

/// Draws who takes part.
pub(super) fn cast(rng: &mut Xoshiro256PlusPlus) -> Cast {
    let pages: Vec<_> =
        (1..=rng.random_range(1..=2)).map(|n| format!("10000000000000{n}")).collect();
    let people = (1..=rng.random_range(2..=3)).map(|n: usize| {
        let page = pages[n % pages.len()].clone();
        (page, format!("700000000000000{n}"))
    });
    Cast { people: people.collect(), pages: pages.clone() }
}

/// Draws what they do, each at its time.
pub(super) fn acts(
    rng: &mut Xoshiro256PlusPlus,
    cast: &Cast,
    habits: Habits,
    begin: Timestamp,
) -> Vec<(Timestamp, Act)> {
    let mut acts = Vec::new();
    let mut number = 0;
    for (page_id, psid) in &cast.people {
        let mut at = begin + Duration::from_millis(rng.random_range(0..5_000));
        for turn in 0..rng.random_range(2..=4) {
            let (page_id, psid) = (page_id.clone(), psid.clone());
            number += 1;
            let act = match rng.random_range(0..20) {
                _ if turn == 0 && rng.random_bool(0.9) => say(rng, habits, number, page_id, psid),
                0 => {
                    if rng.random_bool(0.5) {
                        let back = at + Duration::from_secs(rng.random_range(1..20 * MINUTE));
                        let (page_id, psid) = (page_id.clone(), psid.clone());
                        acts.push((back, Act::HandBack { page_id, psid }));
                    }
                    take_over(rng, page_id, psid)
                }
                1 => Act::HandBack { page_id, psid },
                2 | 3 => Act::Ask { payload: request(rng, number, &page_id, &psid, at) },
                5 | 6 => answer(number, &page_id, &psid, None),
                7 => {
                    Act::Outage { length: Duration::from_secs(rng.random_range(MINUTE..3 * HOUR)) }
                }
                4 => Act::RotateToken {
                    page_id,
                    filled_in_after: Duration::from_secs(rng.random_range(0..6 * HOUR)),
                },
                _ => say(rng, habits, number, page_id, psid),
            };
            acts.push((at, act));
            at = at + gap(rng);
        }
    }
    let more = rare(rng, cast, &acts);
    acts.extend(more);
    acts
}

/// What happens in some runs only, while something else goes on.
fn rare(
    rng: &mut Xoshiro256PlusPlus,
    cast: &Cast,
    acts: &[(Timestamp, Act)],
) -> Vec<(Timestamp, Act)> {
    let mut rare = Vec::new();
    let during = |rng: &mut Xoshiro256PlusPlus| {
        let (at, _) = acts[rng.random_range(0..acts.len())];
        at + Duration::from_millis(rng.random_range(0..8_000))
    };
    if rng.random_bool(0.2) {
        let (page_id, psid) = cast.people[rng.random_range(0..cast.people.len())].clone();
        let at = during(rng);
        let call = if rng.random_bool(0.6) {
            ApiCall::Erase { page_id, psid }
        } else {
            ApiCall::Delete { user_id: Cast::user_id(&psid), asked_at: at }
        };
        rare.push((at, Act::Call(call)));
    }
    if rng.random_bool(0.1) {
        let rotation = Act::RotateAppSecret {
            is_reset_first: rng.random_bool(0.5),
            other_after: Duration::from_secs(rng.random_range(0..30 * MINUTE)),
            keeps_previous: rng.random_bool(0.5),
        };
        rare.push((during(rng), rotation));
    }
    rare
}

/// What happens in some runs when everything is well again: nothing fails, so nobody may wait.
pub(super) fn calm(
    rng: &mut Xoshiro256PlusPlus,
    cast: &Cast,
    has_campaign: bool,
    habits: Habits,
    begin: Timestamp,
) -> Vec<(Timestamp, Plan)> {
    let mut plans = Vec::new();
    let (page_id, psid) = cast.people[rng.random_range(0..cast.people.len())].clone();
    let after = |millis| begin + Duration::from_millis(millis);
    if rng.random_bool(0.1) {
        // An agent answers while the person keeps writing.
        for number in 1001..=rng.random_range(1002..=1004) {
            let mut act = say(rng, habits, number, page_id.clone(), psid.clone());
            if let Act::Outgoing { ahead, posted, .. } = &mut act {
                (*ahead, *posted) = (Duration::ZERO, vec![Duration::ZERO]);
            }
            plans.push((after(rng.random_range(0..12_000)), Plan::Act(act)));
        }
        for number in 1101..=rng.random_range(1101..=1102) {
            // Often just when the bot is about to answer.
            let near = plans[rng.random_range(0..plans.len())].0;
            let at = near + Duration::from_millis(rng.random_range(0..1_000));
            plans.push((at, Plan::Act(answer(number, &page_id, &psid, None))));
        }
    }
    if rng.random_bool(0.1) {
        plans.extend(words_beside_the_schedule(rng, cast, begin));
    }
    if habits.sets_timers {
        plans.extend(words_beside_a_timer(rng, cast, begin));
    }
    if has_campaign {
        plans.push((begin + Duration::from_hours(1), Plan::Campaign { page_id, psid }));
    }
    plans
}

/// Somebody writes, and Meta posts it at once.
fn says_at_once(page_id: &str, psid: &str, script: Script) -> Plan {
    let (page_id, psid, posted) = (page_id.to_owned(), psid.to_owned(), vec![Duration::ZERO]);
    Plan::Act(Act::Outgoing { page_id, psid, script, ahead: Duration::ZERO, posted })
}

/// A person writes just when the schedule sends them a follow-up, so that the answer may have to rely on
/// whoever sends that. The numbers are of scripts about which the bot decides at once.
fn words_beside_the_schedule(
    rng: &mut Xoshiro256PlusPlus,
    cast: &Cast,
    begin: Timestamp,
) -> Vec<(Timestamp, Plan)> {
    let (page_id, psid) = cast.people[rng.random_range(0..cast.people.len())].clone();
    let says = |number, say, later| {
        says_at_once(&page_id, &psid, Script { number, say, later, ..Script::default() })
    };
    let seconds = rng.random_range(5..MINUTE);
    let tick = next_minute(begin + Duration::from_secs(seconds));
    let meanwhile = tick + Duration::from_millis(rng.random_range(0..2_500));
    vec![
        (begin, says(1203, 0, vec![Later { seconds, unless_answered: false }])),
        (meanwhile, says(1204, 1, Vec::new())),
    ]
}

/// A person writes, or people take over, just when a timer is fired: its event may stand in the queue before or
/// behind that.
fn words_beside_a_timer(
    rng: &mut Xoshiro256PlusPlus,
    cast: &Cast,
    begin: Timestamp,
) -> Vec<(Timestamp, Plan)> {
    let (page_id, psid) = cast.people[rng.random_range(0..cast.people.len())].clone();
    let says = |number, say, wake| {
        says_at_once(&page_id, &psid, Script { number, say, wake, ..Script::default() })
    };
    let seconds = rng.random_range(5..MINUTE);
    let tick = next_minute(begin + Duration::from_secs(seconds));
    let meanwhile = tick + Duration::from_millis(rng.random_range(0..2_500));
    let wake = Later { seconds, unless_answered: rng.random_bool(0.7) };
    let beside = if rng.random_bool(0.6) {
        says(1207, 1, None)
    } else {
        let posted = vec![Duration::ZERO];
        Plan::Act(Act::TakeOver { page_id: page_id.clone(), psid: psid.clone(), posted })
    };
    vec![(begin, says(1206, 0, Some(wake))), (meanwhile, beside)]
}

/// An agent's message, due at once or later.
pub(super) fn answer(number: u64, page_id: &str, psid: &str, due_at: Option<Timestamp>) -> Act {
    let mut body = json!({
        "page_id": page_id,
        "psid": psid,
        "message": format!("{number} answered"),
        "purpose": "human",
        "author": "desk-8",
    });
    if let Some(due_at) = due_at {
        body["send_at"] = due_at.millis().into();
        body["message"] = format!("{number} answers").into();
    }
    Act::Call(ApiCall::Answer { body, key: format!("answer-{number}") })
}

fn take_over(rng: &mut Xoshiro256PlusPlus, page_id: String, psid: String) -> Act {
    let most = if rng.random_bool(0.5) { 60 } else { HOUR };
    let mut posted = vec![Duration::from_secs(rng.random_range(0..most))];
    if rng.random_bool(0.3) {
        posted.push(posted[0] + Duration::from_secs(rng.random_range(0..HOUR)));
    }
    Act::TakeOver { page_id, psid, posted }
}

fn gap(rng: &mut Xoshiro256PlusPlus) -> Duration {
    let seconds = match rng.random_range(0..20) {
        0..6 => rng.random_range(0..20),
        6..10 => rng.random_range(20..30 * MINUTE),
        10..13 => rng.random_range(30 * MINUTE..6 * HOUR),
        13..15 => near(rng, DAY),
        15..17 => near(rng, DAY - MARGIN),
        17 => near(rng, 7 * DAY),
        _ => rng.random_range(DAY..9 * DAY),
    };
    Duration::from_secs(seconds)
}

fn near(rng: &mut Xoshiro256PlusPlus, seconds: u64) -> u64 {
    seconds + rng.random_range(0..=120) - 60
}

fn say(
    rng: &mut Xoshiro256PlusPlus,
    habits: Habits,
    number: u64,
    page_id: String,
    psid: String,
) -> Act {
    let later = (0..rng.random_range(0..=3_u64).saturating_sub(1)).map(|_| Later {
        seconds: match rng.random_range(0..8) {
            0..2 => rng.random_range(30..3 * MINUTE),
            2..4 => rng.random_range(3 * MINUTE..HOUR),
            4 => rng.random_range(HOUR..20 * HOUR),
            5 => near(rng, DAY - MARGIN),
            6 => near(rng, DAY),
            _ => 2 * DAY,
        },
        unless_answered: rng.random_bool(0.5),
    });
    let script = Script {
        number,
        later: later.collect(),
        say: [0, 1, 1, 1, 2, 3][rng.random_range(0..6)],
        remember: rng.random_bool(0.5),
        wake: (habits.sets_timers && rng.random_bool(0.5)).then(|| Later {
            seconds: match rng.random_range(0..4) {
                0 => rng.random_range(5..3 * MINUTE),
                1 => rng.random_range(3 * MINUTE..HOUR),
                2 => rng.random_range(HOUR..20 * HOUR),
                _ => near(rng, DAY),
            },
            unless_answered: rng.random_bool(0.5),
        }),
    };
    let mut ahead = Duration::ZERO;
    let mut posted = vec![Duration::from_millis(match rng.random_range(0..20) {
        0..16 => rng.random_range(0..2_000),
        16..18 => rng.random_range(2_000..600_000),
        _ => rng.random_range(600_000..30 * HOUR * 1000),
    })];
    match rng.random_range(0..20) {
        // A future time is reported once only: no later event could reveal that it was wrong.
        0 => {
            ahead = Duration::from_secs(rng.random_range(2 * MINUTE..20 * HOUR));
            posted = vec![Duration::ZERO];
        }
        1..3 => posted.push(posted[0] + Duration::from_secs(rng.random_range(0..2 * HOUR))),
        _ => {}
    }
    Act::Outgoing { page_id, psid, script, ahead, posted }
}

fn request(
    rng: &mut Xoshiro256PlusPlus,
    number: u64,
    page_id: &str,
    psid: &str,
    now: Timestamp,
) -> Value {
    let seconds = match rng.random_range(0..4) {
        0 => 0,
        1 => rng.random_range(0..HOUR),
        2 => rng.random_range(0..3 * DAY),
        _ => near(rng, 7 * DAY - MARGIN),
    };
    let is_human = rng.random_bool(0.7);
    json!({
        "id": format!("request-{number}"),
        "page_id": page_id,
        "psid": psid,
        "message": format!("{number} asked for"),
        "purpose": if is_human { "human" } else { "update" },
        "author": is_human.then_some("desk-7"),
        "send_at": (now + Duration::from_secs(seconds)).millis(),
    })
}
