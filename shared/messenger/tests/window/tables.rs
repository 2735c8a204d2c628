//! Which message may be sent when.

use super::*;

/// A row of the table: up to 24 hours, up to 7 days, after that.
type Row = (Purpose, [Outcome; 3]);

const SINCE_THE_RETIREMENT: [Row; 9] = [
    (Purpose::Reply, [RESPONSE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Update, [UPDATE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Human, [RESPONSE, HUMAN_AGENT, SEVEN_DAYS_PASSED]),
    (Purpose::Feedback, [UPDATE, CUSTOMER_FEEDBACK, SEVEN_DAYS_PASSED]),
    (Purpose::AccountUpdate, [UPDATE, TAG_RETIRED, TAG_RETIRED]),
    (Purpose::ConfirmedEventUpdate, [UPDATE, TAG_RETIRED, TAG_RETIRED]),
    (Purpose::PostPurchaseUpdate, [UPDATE, TAG_RETIRED, TAG_RETIRED]),
    (Purpose::Utility, [UTILITY, UTILITY, UTILITY]),
    (Purpose::PrivateReply, [RESPONSE, RESPONSE, COMMENT_TOO_OLD]),
];

const BEFORE_THE_RETIREMENT: [Row; 9] = [
    (Purpose::Reply, [RESPONSE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Update, [UPDATE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Human, [RESPONSE, HUMAN_AGENT, SEVEN_DAYS_PASSED]),
    (Purpose::Feedback, [UPDATE, CUSTOMER_FEEDBACK, SEVEN_DAYS_PASSED]),
    (Purpose::AccountUpdate, [UPDATE, ACCOUNT_UPDATE, ACCOUNT_UPDATE]),
    (Purpose::ConfirmedEventUpdate, [UPDATE, CONFIRMED_EVENT_UPDATE, CONFIRMED_EVENT_UPDATE]),
    (Purpose::PostPurchaseUpdate, [UPDATE, POST_PURCHASE_UPDATE, POST_PURCHASE_UPDATE]),
    (Purpose::Utility, [UTILITY, UTILITY, UTILITY]),
    (Purpose::PrivateReply, [RESPONSE, RESPONSE, COMMENT_TOO_OLD]),
];

/// The same before and after: none of the three tags was ever Instagram's.
const ON_INSTAGRAM: [Row; 9] = [
    (Purpose::Reply, [RESPONSE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Update, [UPDATE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Human, [RESPONSE, HUMAN_AGENT, SEVEN_DAYS_PASSED]),
    (Purpose::Feedback, [NOT_ON_INSTAGRAM; 3]),
    (Purpose::AccountUpdate, [UPDATE, NOT_ON_INSTAGRAM, NOT_ON_INSTAGRAM]),
    (Purpose::ConfirmedEventUpdate, [UPDATE, NOT_ON_INSTAGRAM, NOT_ON_INSTAGRAM]),
    (Purpose::PostPurchaseUpdate, [UPDATE, NOT_ON_INSTAGRAM, NOT_ON_INSTAGRAM]),
    (Purpose::Utility, [NOT_ON_INSTAGRAM; 3]),
    (Purpose::PrivateReply, [RESPONSE, RESPONSE, COMMENT_TOO_OLD]),
];

const TABLES: [(&str, Platform, i64, &[Row; 9]); 4] = [
    ("Messenger, after", Platform::Messenger, AFTER, &SINCE_THE_RETIREMENT),
    ("Messenger, before", Platform::Messenger, BEFORE, &BEFORE_THE_RETIREMENT),
    ("Instagram, after", Platform::Instagram, AFTER, &ON_INSTAGRAM),
    ("Instagram, before", Platform::Instagram, BEFORE, &ON_INSTAGRAM),
];

/// Reads the tables at each edge, for a conversation whose standard window has this length.
fn assert_tables(window: i64) {
    for (title, platform, at, rows) in TABLES {
        let standing = heard_at(at, window, platform);
        for (purpose, [in_window, in_seven_days, later]) in rows {
            for margin in MARGINS {
                let at_age = |age: i64| {
                    let now = at + age;
                    outcome(*purpose, Some("Ana"), &standing, now, margin)
                };
                let last_in_window = window - margin;
                let last_in_seven_days = (7 * DAY).max(window) - margin;
                let mut expected = vec![
                    (0, in_window),
                    (last_in_window, in_window),
                    (last_in_seven_days + 1, later),
                    (100 * DAY, later),
                ];
                if last_in_window < last_in_seven_days {
                    expected.push((last_in_window + 1, in_seven_days));
                    expected.push((last_in_seven_days, in_seven_days));
                }
                for (age, expected) in expected {
                    assert_eq!(
                        at_age(age),
                        *expected,
                        "{title}: {purpose} at an age of {age} ms, window {window} ms, margin {margin} ms"
                    );
                }
            }
        }
    }
}

#[test]
fn every_table_has_one_row_for_each_purpose() {
    for (title, _, _, rows) in TABLES {
        assert_eq!(rows.map(|(purpose, _)| purpose), Purpose::ALL, "{title}");
    }
}

#[test]
fn every_row_holds_to_the_millisecond() {
    assert_eq!(STANDARD_WINDOW, Duration::from_hours(24));
    assert_tables(DAY);
}

#[test]
fn a_longer_standard_window_moves_its_own_edge_only() {
    assert_tables(3 * DAY);
    assert_tables(7 * DAY);
}

#[test]
fn the_default_margin_is_a_minute() {
    assert_eq!(Policy::default().margin, Duration::from_mins(1));
}

#[test]
fn a_person_never_heard_from_gets_utility_templates_only() {
    for &purpose in Purpose::ALL {
        for now in [BEFORE, AFTER] {
            let to = |platform| outcome(purpose, Some("Ana"), &never_heard(platform), now, 0);
            let (messenger, instagram) = match purpose {
                Purpose::Utility => (UTILITY, NOT_ON_INSTAGRAM),
                Purpose::Feedback => (NEVER_HEARD_FROM, NOT_ON_INSTAGRAM),
                Purpose::PrivateReply => (RESPONSE, RESPONSE),
                _ => (NEVER_HEARD_FROM, NEVER_HEARD_FROM),
            };
            assert_eq!(to(Platform::Messenger), messenger, "{purpose}");
            assert_eq!(to(Platform::Instagram), instagram, "{purpose}");
        }
    }
}

#[test]
fn what_a_person_wrote_needs_its_author_at_any_age() {
    for platform in PLATFORMS {
        let mut records = vec![(never_heard(platform), AFTER)];
        for age in [0, DAY, DAY + 1, 7 * DAY, 7 * DAY + 1, 100 * DAY] {
            records.push((heard_at(AFTER, DAY, platform), AFTER + age));
        }
        for (standing, now) in records {
            for author in [None, Some(""), Some(" "), Some("\t\r\n"), Some("\u{a0}")] {
                for margin in MARGINS {
                    let decided = outcome(Purpose::Human, author, &standing, now, margin);
                    assert_eq!(decided, AUTHOR_MISSING, "{author:?} at {now}");
                }
            }
        }
    }
    let standing = heard_at(AFTER, DAY, Platform::Messenger);
    let in_time = outcome(Purpose::Human, Some(" Ana "), &standing, AFTER, 0);
    assert_eq!(in_time, RESPONSE);
}

#[test]
fn nobody_but_people_needs_an_author() {
    let standing = heard_at(AFTER, DAY, Platform::Messenger);
    for (purpose, [in_window, ..]) in SINCE_THE_RETIREMENT {
        if purpose != Purpose::Human {
            assert_eq!(outcome(purpose, None, &standing, AFTER, 0), in_window, "{purpose}");
        }
    }
}

#[test]
fn the_retirement_is_midnight_utc_on_27_april_2026() {
    assert_eq!(Timestamp::from_rfc3339("2026-04-27T00:00:00Z"), Some(ms(RETIREMENT)));
    assert_eq!(messenger::window::TAGS_RETIRED_AT, ms(RETIREMENT));
}

#[test]
fn the_three_tags_end_a_margin_before_their_retirement() {
    for (purpose, tag) in RETIRED {
        for age in [2 * DAY, 6 * DAY, 30 * DAY] {
            let standing = heard_at(RETIREMENT - age, DAY, Platform::Messenger);
            for margin in MARGINS {
                let at = |now| outcome(purpose, None, &standing, now, margin);
                let end = RETIREMENT - margin;
                assert_eq!(at(end - 1), tag, "{purpose}, margin {margin}: the last");
                assert_eq!(at(end), TAG_RETIRED, "{purpose}, margin {margin}: at the end");
                assert_eq!(at(end + 1), TAG_RETIRED, "{purpose}, margin {margin}: past it");
            }
        }
    }
}

#[test]
fn inside_the_window_their_purposes_outlive_the_three_tags() {
    for (purpose, _) in RETIRED {
        for platform in PLATFORMS {
            let heard = RETIREMENT - HOUR;
            let standing = heard_at(heard, DAY, platform);
            let afterwards = match platform {
                Platform::Messenger => TAG_RETIRED,
                Platform::Instagram => NOT_ON_INSTAGRAM,
            };
            for margin in MARGINS {
                let at = |now| outcome(purpose, None, &standing, now, margin);
                for now in [RETIREMENT - margin, RETIREMENT, heard + DAY - margin] {
                    assert_eq!(at(now), UPDATE, "{purpose} at {now}, margin {margin}");
                }
                assert_eq!(at(heard + DAY - margin + 1), afterwards, "{purpose}");
            }
        }
    }
}

#[test]
fn a_purpose_carries_its_own_content_only() {
    let feedback = serde_json::json!({"attachment": {"type": "template", "payload": {
        "template_type": "customer_feedback", "title": "Rate", "subtitle": "Us", "button_title": "Go",
        "feedback_screens": [{"questions": [{"id": "q1", "type": "csat"}]}],
        "business_privacy": {"url": "https://example.com"}}}});
    let utility = serde_json::json!({"template": {"name": "shipped", "language": {"code": "en"}}});
    let text = Outgoing::from(Message::text("hi").unwrap());
    let feedback = Outgoing::from_json(&feedback).unwrap();
    let utility = Outgoing::from_json(&utility).unwrap();
    let typing = Outgoing::from(Action::TypingOn);
    for &purpose in Purpose::ALL {
        let carried =
            [&text, &feedback, &utility, &typing].map(|say| purpose.check_content(say).is_ok());
        let expected = match purpose {
            Purpose::Feedback => [false, true, false, true],
            Purpose::Utility => [false, false, true, true],
            _ => [true, false, false, true],
        };
        assert_eq!(carried, expected, "{purpose}");
    }
}

#[test]
fn a_fallback_goes_where_only_the_windows_refuse_and_never_on_instagram() {
    let policy = Policy { margin: Duration::ZERO, ad_windows: false };
    for platform in PLATFORMS {
        for standing in [never_heard(platform), heard_at(AFTER, DAY, platform)] {
            for &purpose in Purpose::ALL {
                for author in [None, Some("desk")] {
                    for age in [0, DAY, DAY + 1, 7 * DAY, 7 * DAY + 1] {
                        let now = ms(AFTER + age);
                        let meant = decide(purpose, author, &standing, now, &policy);
                        let with = |has_fallback| {
                            decide_with_fallback(
                                purpose,
                                author,
                                has_fallback,
                                &standing,
                                now,
                                &policy,
                            )
                        };
                        assert_eq!(with(false), meant.map(Allowed::AsMeant));
                        let expected = match meant {
                            Ok(label) => Ok(Allowed::AsMeant(label)),
                            Err(refusal)
                                if platform == Platform::Instagram
                                    || refusal == Refusal::AuthorMissing
                                    || refusal == Refusal::CommentTooOld =>
                            {
                                Err(refusal)
                            }
                            Err(refusal) => Ok(Allowed::Fallback(refusal)),
                        };
                        assert_eq!(with(true), expected, "{purpose} at the age of {age}");
                    }
                }
            }
        }
    }
}

/// A purpose, and its label while only the window of an ad is open.
type ByAd = (Purpose, Outcome);

/// What the window of an ad adds between the end of the standard window and its own. A tag goes first
/// where one is allowed, because whether Meta grants the ad's window is not known.
const BY_AD: [(Platform, i64, [ByAd; 9]); 4] = [
    (
        Platform::Messenger,
        AFTER,
        [
            (Purpose::Reply, RESPONSE),
            (Purpose::Update, UPDATE),
            (Purpose::Human, HUMAN_AGENT),
            (Purpose::Feedback, CUSTOMER_FEEDBACK),
            (Purpose::AccountUpdate, UPDATE),
            (Purpose::ConfirmedEventUpdate, UPDATE),
            (Purpose::PostPurchaseUpdate, UPDATE),
            (Purpose::Utility, UTILITY),
            (Purpose::PrivateReply, RESPONSE),
        ],
    ),
    (
        Platform::Messenger,
        BEFORE,
        [
            (Purpose::Reply, RESPONSE),
            (Purpose::Update, UPDATE),
            (Purpose::Human, HUMAN_AGENT),
            (Purpose::Feedback, CUSTOMER_FEEDBACK),
            (Purpose::AccountUpdate, ACCOUNT_UPDATE),
            (Purpose::ConfirmedEventUpdate, CONFIRMED_EVENT_UPDATE),
            (Purpose::PostPurchaseUpdate, POST_PURCHASE_UPDATE),
            (Purpose::Utility, UTILITY),
            (Purpose::PrivateReply, RESPONSE),
        ],
    ),
    (Platform::Instagram, AFTER, ON_INSTAGRAM_BY_AD),
    (Platform::Instagram, BEFORE, ON_INSTAGRAM_BY_AD),
];

const ON_INSTAGRAM_BY_AD: [ByAd; 9] = [
    (Purpose::Reply, RESPONSE),
    (Purpose::Update, UPDATE),
    (Purpose::Human, HUMAN_AGENT),
    (Purpose::Feedback, NOT_ON_INSTAGRAM),
    (Purpose::AccountUpdate, UPDATE),
    (Purpose::ConfirmedEventUpdate, UPDATE),
    (Purpose::PostPurchaseUpdate, UPDATE),
    (Purpose::Utility, NOT_ON_INSTAGRAM),
    (Purpose::PrivateReply, RESPONSE),
];

/// Heard from at an instant, in a conversation whose ad has a window until another.
fn by_ad(at: i64, ad_until: i64, platform: Platform) -> Standing {
    Standing { ad_until: Some(ms(ad_until)), ..heard_at(at, DAY, platform) }
}

#[test]
fn the_window_of_an_ad_holds_to_the_millisecond_and_only_if_it_is_tried() {
    for (platform, at, rows) in BY_AD {
        for (purpose, expected) in rows {
            for margin in MARGINS {
                let policy = kept(margin);
                let standing = by_ad(at, at + 7 * DAY, platform);
                let without = heard_at(at, DAY, platform);
                let try_at = |age, policy: &Policy| {
                    decided(purpose, Some("Ana"), &standing, at + age, policy)
                };
                let as_ever = |age| outcome(purpose, Some("Ana"), &without, at + age, margin);
                for age in [DAY - margin + 1, 3 * DAY, 7 * DAY - margin] {
                    assert_eq!(try_at(age, &policy), expected, "{platform:?} {purpose} {age}");
                    let off = Policy { ad_windows: false, ..policy };
                    assert_eq!(try_at(age, &off), as_ever(age), "{platform:?} {purpose} {age}");
                }
                for age in [0, DAY - margin, 7 * DAY - margin + 1, 100 * DAY] {
                    assert_eq!(try_at(age, &policy), as_ever(age), "{platform:?} {purpose} {age}");
                }
            }
        }
    }
}

#[test]
fn the_window_of_an_ad_neither_shortens_nor_moves_with_later_messages() {
    let first = AFTER;
    let standing = |heard| by_ad(heard, first + 7 * DAY, Platform::Messenger);
    for (heard, now, expected) in [
        (first + 2 * DAY, first + 6 * DAY, UPDATE),
        (first + 2 * DAY, first + 7 * DAY, UPDATE),
        (first + 2 * DAY, first + 7 * DAY + 1, WINDOW_CLOSED),
        (first + 6 * DAY + HOUR, first + 7 * DAY + HOUR, UPDATE),
        (first + 6 * DAY + HOUR, first + 7 * DAY + HOUR + 1, WINDOW_CLOSED),
    ] {
        let found = decided(Purpose::Update, None, &standing(heard), now, &kept(0));
        assert_eq!(found, expected, "heard at {heard}, now {now}");
    }
}

#[test]
fn what_is_allowed_by_an_ad_is_named_with_its_end() {
    let standing = by_ad(AFTER, AFTER + 7 * DAY, Platform::Messenger);
    for (policy, until) in
        [(kept(MINUTE), Some(ms(AFTER + 7 * DAY - MINUTE))), (Policy::default(), None)]
    {
        let allowed = allowed_purposes(&standing, ms(AFTER + 2 * DAY), &policy);
        let update = allowed.iter().find(|allowed| allowed.purpose == Purpose::Update);
        assert_eq!(update.and_then(|update| update.until), until);
    }
}
