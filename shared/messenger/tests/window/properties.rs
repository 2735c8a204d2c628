//! What holds between the edges.

use super::opening::{SAMPLES, event, item, standing_after};
use super::*;

/// What Meta takes, without a margin: a label, at an instant of Meta's own clock.
fn meta_takes(label: (&str, Option<&str>), standing: &Standing, at: i64) -> bool {
    let Some(heard) = standing.last_message_at.map(Timestamp::millis) else {
        return label == ("UTILITY", None) && standing.platform == Platform::Messenger;
    };
    let in_window = standing.free_until.is_some_and(|end| at <= end.millis());
    let on_messenger = standing.platform == Platform::Messenger;
    match label {
        ("RESPONSE" | "UPDATE", None) => in_window,
        ("MESSAGE_TAG", Some("HUMAN_AGENT")) => at - heard <= 7 * DAY,
        ("MESSAGE_TAG", Some("CUSTOMER_FEEDBACK")) => on_messenger && at - heard <= 7 * DAY,
        (
            "MESSAGE_TAG",
            Some("ACCOUNT_UPDATE" | "CONFIRMED_EVENT_UPDATE" | "POST_PURCHASE_UPDATE"),
        ) => on_messenger && at < RETIREMENT,
        ("UTILITY", None) => on_messenger,
        _ => false,
    }
}

/// The purposes of messages to a person; a private reply has the comment's window.
const IN_A_CONVERSATION: [Purpose; 8] = [
    Purpose::Reply,
    Purpose::Update,
    Purpose::Human,
    Purpose::Feedback,
    Purpose::AccountUpdate,
    Purpose::ConfirmedEventUpdate,
    Purpose::PostPurchaseUpdate,
    Purpose::Utility,
];

/// The labels that a purpose may go out under, the best one first.
fn labels(purpose: Purpose, platform: Platform) -> Vec<Outcome> {
    match purpose {
        Purpose::Feedback | Purpose::Utility if platform == Platform::Instagram => vec![],
        Purpose::Reply => vec![RESPONSE],
        Purpose::Update => vec![UPDATE],
        Purpose::Human => vec![RESPONSE, HUMAN_AGENT],
        Purpose::Feedback => vec![UPDATE, CUSTOMER_FEEDBACK],
        Purpose::AccountUpdate => vec![UPDATE, ACCOUNT_UPDATE],
        Purpose::ConfirmedEventUpdate => vec![UPDATE, CONFIRMED_EVENT_UPDATE],
        Purpose::PostPurchaseUpdate => vec![UPDATE, POST_PURCHASE_UPDATE],
        Purpose::Utility => vec![UTILITY],
        Purpose::PrivateReply => vec![],
    }
}

/// How much is allowed: 0 without a tag, 1 with one, 2 nothing.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Ok((_, None)) => 0,
        Ok((_, Some(_))) => 1,
        Err(_) => 2,
    }
}

/// What a decision depends on beside the purpose and the instant.
#[derive(Clone, Debug)]
struct Case {
    author: Option<String>,
    standing: Standing,
    margin: i64,
    any_instant: i64,
}

impl Case {
    fn outcome(&self, purpose: Purpose, now: i64) -> Outcome {
        let author = self.author.as_deref();
        outcome(purpose, author, &self.standing, now, self.margin)
    }

    /// Any instant, and every edge that there is, a millisecond to either side of it, and the same a
    /// margin earlier; in the order of time.
    fn instants(&self) -> Vec<i64> {
        let known = self.standing.last_message_at.map(Timestamp::millis);
        let ends = known.map(|heard| [heard, heard + DAY, heard + 7 * DAY]);
        let window_end = self.standing.free_until.map(Timestamp::millis);
        let edges = ends.into_iter().flatten().chain(window_end);
        let mut instants: Vec<_> = edges
            .chain([RETIREMENT])
            .flat_map(|edge| [edge, edge - self.margin])
            .flat_map(|edge| edge - 1..=edge + 1)
            .chain([self.any_instant])
            .collect();
        instants.sort_unstable();
        instants
    }
}

fn blanks() -> impl Strategy<Value = String> {
    let blank = select(vec![' ', '\t', '\r', '\n', '\u{a0}', '\u{2003}', '\u{3000}']);
    vec(blank, 0..4).prop_map(String::from_iter)
}

fn authors() -> impl Strategy<Value = Option<String>> {
    let name = select(vec!["Ana", "agent 7", "山田", "."]);
    prop_oneof![
        1 => Just(None),
        1 => blanks().prop_map(Some),
        4 => (blanks(), name, blanks()).prop_map(|(a, name, b)| Some(format!("{a}{name}{b}"))),
    ]
}

fn standings() -> impl Strategy<Value = Standing> {
    let heard = RETIREMENT - 40 * DAY..RETIREMENT + 40 * DAY;
    let window = prop_oneof![4 => Just(DAY), 2 => Just(7 * DAY), 2 => DAY..7 * DAY];
    let known = (heard, proptest::option::weighted(0.9, window));
    (select(PLATFORMS.to_vec()), proptest::option::weighted(0.9, known)).prop_map(
        |(platform, known)| Standing {
            platform,
            last_message_at: known.map(|(at, _)| ms(at)),
            free_until: known.and_then(|(at, window)| Some(ms(at + window?))),
            // A test of its own reads the windows of ads.
            ad_until: None,
        },
    )
}

fn margins() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(MINUTE), 0..=HOUR]
}

fn cases() -> impl Strategy<Value = Case> {
    let any_instant = RETIREMENT - 50 * DAY..RETIREMENT + 50 * DAY;
    (authors(), standings(), margins(), any_instant).prop_map(
        |(author, standing, margin, any_instant)| Case { author, standing, margin, any_instant },
    )
}

/// A sample that happened at an instant, and how its time is spelled.
type Happening = (usize, i64, usize);

/// The instant in a spelling, and the instant that the spelling preserves.
fn spelled(millis: i64, spelling: usize) -> (String, i64) {
    let seconds = millis / 1000;
    match spelling {
        0 => (millis.to_string(), millis),
        1 => (format!("\"{millis}\""), millis),
        2 => (seconds.to_string(), seconds * 1000),
        _ => (format!("\"{seconds}\""), seconds * 1000),
    }
}

/// What an event's own time counts as: itself, unless it is ahead of the receipt by more than clocks explain.
fn believed(told: i64, received: i64) -> i64 {
    if told - received <= 10_000 { told } else { received }
}

/// Up to eight happenings about the time of their receipt, some of them ahead of it, and their
/// arrival: each at least once, in any order.
fn arrivals() -> impl Strategy<Value = (Vec<Happening>, Vec<Happening>)> {
    let time = prop_oneof![
        3 => AFTER - 2 * DAY..AFTER,
        1 => AFTER..AFTER + 3 * MINUTE,
        1 => AFTER - 3..AFTER + 3,
    ];
    vec((0..SAMPLES.len(), time, 0..4_usize), 1..8)
        .prop_flat_map(|happened| {
            let twice = vec(select(happened.clone()), 0..8);
            (Just(happened), twice)
        })
        .prop_flat_map(|(happened, twice)| {
            let arrived = [happened.clone(), twice].concat();
            (Just(happened), Just(arrived).prop_shuffle())
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn time_only_takes_away(case in cases()) {
        for purpose in IN_A_CONVERSATION {
            for instants in case.instants().windows(2) {
                let [early, late] = [0, 1].map(|index| case.outcome(purpose, instants[index]));
                prop_assert!(rank(early) <= rank(late), "{purpose} at {instants:?}: {early:?}, {late:?}");
                if early.is_err() {
                    prop_assert_eq!(early, late, "{} at {:?}", purpose, instants);
                }
            }
        }
    }

    #[test]
    fn the_human_agent_tag_needs_the_purpose_and_an_author(case in cases()) {
        let named = case.author.as_ref().is_some_and(|name| !name.chars().all(char::is_whitespace));
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let decided = case.outcome(purpose, now);
                if purpose != Purpose::Human {
                    prop_assert_ne!(decided, HUMAN_AGENT, "{} at {}", purpose, now);
                } else if named {
                    prop_assert_ne!(decided, AUTHOR_MISSING, "at {}", now);
                } else {
                    prop_assert_eq!(decided, AUTHOR_MISSING, "at {}", now);
                }
            }
        }
    }

    #[test]
    fn no_retired_tag_from_a_margin_before_the_retirement_on(
        margin in margins(),
        by in prop_oneof![-3..=3_i64, -2 * DAY..=2 * DAY],
        age in DAY + 1..40 * DAY,
    ) {
        let now = RETIREMENT - margin + by;
        let standing = heard_at(now - age, DAY, Platform::Messenger);
        for purpose in IN_A_CONVERSATION {
            let decided = outcome(purpose, Some("Ana"), &standing, now, margin);
            match RETIRED.into_iter().find(|(retired, _)| *retired == purpose) {
                Some((_, tag)) if by < 0 => prop_assert_eq!(decided, tag),
                Some(_) => prop_assert_eq!(decided, TAG_RETIRED),
                None => prop_assert!(RETIRED.iter().all(|(_, tag)| *tag != decided)),
            }
        }
    }

    #[test]
    fn a_larger_margin_allows_nothing_more(case in cases(), other in margins()) {
        let small = Case { margin: case.margin.min(other), ..case.clone() };
        let large = Case { margin: case.margin.max(other), ..case };
        for now in [small.instants(), large.instants()].concat() {
            for purpose in IN_A_CONVERSATION {
                let [small, large] = [&small, &large].map(|case| case.outcome(purpose, now));
                prop_assert!(rank(small) <= rank(large), "{purpose} at {now}: {small:?}, {large:?}");
                if small.is_err() {
                    prop_assert_eq!(small, large, "{} at {}", purpose, now);
                }
            }
        }
    }

    #[test]
    fn clocks_may_differ_by_the_margin(case in cases(), per_mille in -1000..=1000_i64) {
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let Ok(label) = case.outcome(purpose, now) else { continue };
                for skew in [-case.margin, case.margin * per_mille / 1000, case.margin] {
                    let taken = meta_takes(label, &case.standing, now + skew);
                    prop_assert!(taken, "{purpose} at {now} + {skew}: {label:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_refused_that_meta_takes_a_margin_later(case in cases()) {
        let case = Case { author: Some("Ana".to_owned()), ..case };
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let best = labels(purpose, case.standing.platform)
                    .into_iter()
                    .flatten()
                    .find(|label| meta_takes(*label, &case.standing, now + case.margin));
                prop_assert_eq!(case.outcome(purpose, now).ok(), best, "{} at {}", purpose, now);
            }
        }
    }

    #[test]
    fn the_newest_message_allows_what_any_of_them_allows(
        case in cases(),
        heard in RETIREMENT - 40 * DAY..RETIREMENT + 40 * DAY,
        before in vec(prop_oneof![0..=2_i64, 0..10 * DAY], 1..5),
        window in select(vec![DAY, 3 * DAY, 7 * DAY]),
    ) {
        let by = |heard| {
            let standing = heard_at(heard, window, case.standing.platform);
            Case { standing, ..case.clone() }
        };
        let newest = by(heard);
        let every: Vec<_> = before.iter().map(|before| by(heard - before)).chain([by(heard)]).collect();
        for now in every.iter().flat_map(Case::instants) {
            for purpose in IN_A_CONVERSATION {
                let outcomes = every.iter().map(|case| case.outcome(purpose, now));
                let best = outcomes.min_by_key(|outcome| rank(*outcome));
                prop_assert_eq!(Some(newest.outcome(purpose, now)), best, "{} at {}", purpose, now);
            }
        }
    }

    #[test]
    fn instagram_knows_one_tag_and_no_utility(case in cases()) {
        let standing = Standing { platform: Platform::Instagram, ..case.standing };
        let case = Case { standing, ..case };
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let decided = case.outcome(purpose, now);
                let known = [RESPONSE, UPDATE, HUMAN_AGENT].contains(&decided);
                prop_assert!(known || decided.is_err(), "{purpose} at {now}: {decided:?}");
            }
        }
    }

    #[test]
    fn order_and_duplicates_do_not_matter(
        (happened, arrived) in arrivals(),
        margin in margins(),
    ) {
        let newest = happened
            .iter()
            .filter(|(sample, ..)| SAMPLES[*sample].3)
            .map(|(_, at, spelling)| believed(spelled(*at, *spelling).1, AFTER))
            .max();
        let events: Vec<_> = arrived
            .iter()
            .map(|(sample, at, spelling)| {
                let item = item(&SAMPLES[*sample], &spelled(*at, *spelling).0);
                event("page", SAMPLES[*sample].1, &item, AFTER)
            })
            .collect();
        let standing = standing_after(&events);
        prop_assert_eq!(standing.last_message_at, newest.map(ms));
        let reply = |now| outcome(Purpose::Reply, None, &standing, now, margin);
        match newest {
            None => prop_assert_eq!(reply(AFTER), NEVER_HEARD_FROM),
            Some(newest) => {
                prop_assert_eq!(reply(newest + DAY - margin), RESPONSE);
                prop_assert_eq!(reply(newest + DAY - margin + 1), WINDOW_CLOSED);
            }
        }
    }

    #[test]
    fn a_time_from_the_future_counts_as_its_receipt_unless_clocks_explain_it(
        received in BEFORE..AFTER,
        ahead in prop_oneof![1..=3_i64, 9_998..=10_002_i64, 1..10 * DAY, DAY..i64::MAX / 2],
        in_text in any::<bool>(),
        wait in prop_oneof![Just(1), 1..400 * DAY],
    ) {
        let stated = received + ahead;
        let (time, told) = spelled(stated, usize::from(in_text));
        let at = believed(told, received);
        for sample in SAMPLES.iter().filter(|sample| sample.3) {
            let event = event("page", sample.1, &item(sample, &time), received);
            prop_assert_eq!(event.at, Some(ms(at)));
            let standing = standing_after([&event]);
            let reply = |now| outcome(Purpose::Reply, None, &standing, now, 0);
            let end = at + DAY;
            prop_assert_eq!(reply(end), RESPONSE);
            prop_assert_eq!(reply(end + wait), WINDOW_CLOSED);
        }
    }

    #[test]
    fn no_time_whatever_its_form_reaches_beyond_its_receipt(
        received in BEFORE..AFTER,
        time in prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<i64>().prop_map(|n| format!("\"{n}\"")),
            any::<u64>().prop_map(|n| n.to_string()),
            any::<i32>().prop_map(|n| n.to_string()),
            any::<f64>().prop_filter("JSON has finite numbers only", |n| n.is_finite())
                .prop_map(|n| format!("{n:e}")),
            select(vec!["1e400", "-1e400", "\"\"", "\"soon\"", "null", "{}", "[1]", "true"])
                .prop_map(str::to_owned),
        ],
        entry_time in any::<i64>(),
    ) {
        let item = item(&SAMPLES[0], &time);
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"10","time":{entry_time},"messaging":[{item}]}}]}}"#
        );
        let events = split(body.as_bytes(), ms(received)).unwrap();
        prop_assert_eq!(events.len(), 1);
        let event = &events[0];
        prop_assert_eq!(event.kind_name(), "message");
        prop_assert!(event.at <= Some(ms(received)), "{:?}", event.at);
        let standing = Standing {
            platform: event.platform,
            last_message_at: Some(event.happened_at()),
            free_until: Some(event.happened_at() + STANDARD_WINDOW),
            ad_until: None,
        };
        let too_late = received + DAY + 1;
        prop_assert_eq!(outcome(Purpose::Reply, None, &standing, too_late, 0), WINDOW_CLOSED);
    }

    #[test]
    fn seconds_and_strings_tell_the_same_instant(
        seconds in 100_000_000..100_000_000_000_i64,
        fraction in 0..1000_i64,
    ) {
        let received = i64::MAX / 2;
        let at = |time: &str| {
            let own = event("page", "messaging", &item(&SAMPLES[0], time), received).at;
            let entry = format!(
                r#"{{"object":"page","entry":[{{"id":"10","time":{time},"messaging":[{{"message":{{"mid":"m"}}}}]}}]}}"#
            );
            let of_the_entry = split(entry.as_bytes(), ms(received)).unwrap()[0].at;
            assert_eq!(own, of_the_entry, "{time}");
            own.map(Timestamp::millis)
        };
        let whole = seconds * 1000;
        for time in [
            format!("{seconds}"),
            format!("\"{seconds}\""),
            format!("\" {seconds} \""),
            format!("{seconds}.0"),
            format!("{whole}"),
            format!("\"{whole}\""),
            format!("{whole}.0"),
        ] {
            prop_assert_eq!(at(&time), Some(whole), "{}", time);
        }
        let exact = whole + fraction;
        prop_assert_eq!(at(&exact.to_string()), Some(exact));
        prop_assert_eq!(at(&format!("\"{exact}\"")), Some(exact));
        prop_assert_eq!(Timestamp::from_seconds_or_millis(seconds), ms(whole));
        prop_assert_eq!(Timestamp::from_seconds_or_millis(exact), ms(exact));
    }
}
