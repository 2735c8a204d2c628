//! Whose act an event is, whichever form it comes in: what is answered, what opens the window, and what
//! neither does.

use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::platform::{Platform, Replies};
use simulator::samples::{APP_ID, BEGINNING, IGSID, INSTAGRAM};

use crate::sample_events::with_instagram;
use crate::support::*;

/// Answers whatever it is asked about by the event's kind.
pub(crate) const NAMING: Replies =
    |event, _, _| Ok(Decision::nothing().say(Message::text(event.kind_name())?));

/// A Page or an account, with a person of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) object: &'static str,
    pub(crate) page: &'static str,
    pub(crate) psid: &'static str,
}

pub(crate) const ON_PAGE: Ends = Ends { object: "page", page: PAGE, psid: PSID };
pub(crate) const ON_INSTAGRAM: Ends = Ends { object: "instagram", page: INSTAGRAM, psid: IGSID };
pub(crate) const EVERYWHERE: [Ends; 2] = [ON_PAGE, ON_INSTAGRAM];

impl Ends {
    /// An item of the person, of now.
    pub(crate) fn by_person(self, what: &Value) -> Value {
        with_ends(self.psid, self.page, what)
    }

    /// An item of the Page or account.
    pub(crate) fn by_page(self, what: &Value) -> Value {
        with_ends(self.page, self.psid, what)
    }

    /// A notification of one entry, which gets its id, and a time unless it has one.
    pub(crate) fn entry(self, entry: &Value) -> Vec<u8> {
        let mut whole = json!({"id": self.page, "time": BEGINNING.millis()});
        whole.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        whole.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        json!({"object": self.object, "entry": [whole]}).to_string().into_bytes()
    }

    /// The labels and texts of what the person got.
    pub(crate) fn got(self, platform: &Platform) -> Vec<String> {
        let got = platform.meta.delivered(self.page, self.psid).into_iter();
        got.map(|request| request.message["text"].as_str().unwrap_or("…").to_owned()).collect()
    }

    /// The person's conversation in the table.
    pub(crate) async fn conversation(self, platform: &Platform) -> Option<Value> {
        let pk = format!("{}#{}", self.page, self.psid);
        let items = platform.items().await.unwrap().into_iter();
        let mut found = items.filter(|item| item["pk"] == *pk && item["sk"] == "conversation");
        found.next().map(Value::from)
    }

    async fn has_open_window(self, platform: &Platform) -> bool {
        self.conversation(platform).await.is_some_and(|item| item["free_until"].is_i64())
    }
}

fn with_ends(sender: &str, recipient: &str, what: &Value) -> Value {
    let mut item = json!({"sender": {"id": sender}, "recipient": {"id": recipient},
        "timestamp": BEGINNING.millis()});
    item.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    item
}

pub(crate) async fn naming() -> std::sync::Arc<Platform> {
    platform_with(|options| {
        with_instagram(options);
        options.replies = NAMING;
    })
    .await
}

/// What a person does, as the field of a subscription, the item's content, and its kind.
fn acts_of_a_person() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("messages", json!({"message": {"mid": "m_1", "text": "hi"}}), "message"),
        (
            "messages",
            json!({"message": {"mid": "m_1", "text": "Red", "quick_reply": {"payload": "R"}}}),
            "message",
        ),
        (
            "messages",
            json!({"message": {"mid": "m_1",
                "attachments": [{"type": "image", "payload": {"url": "https://example.com/a"}}]}}),
            "message",
        ),
        (
            "messaging_postbacks",
            json!({"postback": {"mid": "m_1", "title": "Price?", "payload": "PRICE"}}),
            "postback",
        ),
        (
            "message_reactions",
            json!({"reaction": {"mid": "m_1", "action": "react", "reaction": "love"}}),
            "reaction",
        ),
        (
            "messaging_referrals",
            json!({"referral": {"ref": "r", "source": "SHORTLINK", "type": "OPEN_THREAD"}}),
            "referral",
        ),
        (
            "messaging_referral",
            json!({"referral": {"ref": "r", "source": "SHORTLINKS", "type": "OPEN_THREAD"}}),
            "referral",
        ),
        (
            "messaging_referral",
            json!({"referral": {"ref": "r", "source": "IGME-SOURCE-LINK", "type": "OPEN_THREAD"}}),
            "referral",
        ),
        (
            "messaging_referral",
            json!({"referral": {"ref": "r", "source": "igme-source-link", "type": "OPEN_THREAD"}}),
            "referral",
        ),
        ("messaging_optins", json!({"optin": {"ref": "send-to-messenger"}}), "optin"),
    ]
}

/// The places in an entry in which an item may stand, as the same event.
fn places(field: &str, item: &Value) -> Vec<Value> {
    vec![
        json!({"messaging": [item]}),
        json!({"changes": [{"field": field, "value": item}]}),
        json!({"changes": [{"value": item, "field": field, "id": "0"}]}),
        json!({"field": field, "value": item}),
    ]
}

#[tokio::test]
async fn what_a_person_does_is_answered_wherever_it_stands() {
    for ends in EVERYWHERE {
        for (field, what, kind) in acts_of_a_person() {
            for place in places(field, &ends.by_person(&what)) {
                let platform = naming().await;
                assert_eq!(platform.deliver(&ends.entry(&place)).await, 200);
                assert_eq!(ends.got(&platform), [kind], "{place}");
                assert!(ends.has_open_window(&platform).await, "{place}");
            }
        }
    }
}

#[tokio::test]
async fn an_event_that_comes_in_two_places_is_one_event() {
    for ends in EVERYWHERE {
        for (field, what, kind) in acts_of_a_person() {
            let platform = naming().await;
            for place in places(field, &ends.by_person(&what)) {
                // An entry's further fields are an event's bytes, unless it has a mid.
                if place["changes"][0]["id"].is_null() {
                    platform.deliver(&ends.entry(&place)).await;
                }
            }
            assert_eq!(ends.got(&platform), [kind], "{what}");
        }
    }
}

#[tokio::test]
async fn what_stands_in_changes_for_another_app_opens_the_window_and_is_not_answered() {
    for ends in EVERYWHERE {
        let platform = naming().await;
        let item = ends.by_person(&json!({"message": {"mid": "m_1", "text": "hi"}}));
        let place = json!({"changes": [{"field": "standby", "value": item}]});
        platform.deliver(&ends.entry(&place)).await;
        assert!(ends.got(&platform).is_empty());
        assert!(ends.has_open_window(&platform).await);
    }
}

#[tokio::test]
async fn what_the_page_does_itself_is_not_answered_and_opens_no_window() {
    let own = [
        json!({"postback": {"mid": "m_1", "title": "I followed", "payload": "F", "is_self": true}}),
        json!({"postback": {"mid": "m_1", "title": "I followed", "payload": "F"}}),
        json!({"postback": {"mid": "m_1", "title": "I followed", "payload": "F"}, "is_self": true}),
        json!({"message": {"mid": "m_1", "text": "hi"}}),
        json!({"message": {"mid": "m_1", "text": "hi", "is_self": true}}),
        json!({"message": {"mid": "m_1", "text": "hi", "is_echo": true}}),
        json!({"reaction": {"mid": "m_1", "action": "react", "reaction": "love"}}),
        json!({"referral": {"ref": "r", "source": "SHORTLINK", "type": "OPEN_THREAD"}}),
        json!({"referral": {"source": "ADS", "type": "LEAD_COMPLETE"}}),
        json!({"optin": {"ref": "r"}}),
        json!({"message_edit": {"mid": "m_1", "text": "new"}}),
    ];
    for ends in EVERYWHERE {
        for what in &own {
            let item = ends.by_page(what);
            let standby = [json!({"standby": [item]})];
            for place in places("messages", &item).into_iter().chain(standby) {
                let platform = naming().await;
                assert_eq!(platform.deliver(&ends.entry(&place)).await, 200);
                assert!(ends.got(&platform).is_empty(), "{place}");
                assert!(!ends.has_open_window(&platform).await, "{place}");
            }
        }
    }
}

#[tokio::test]
async fn what_says_that_it_is_the_accounts_own_is_not_answered_whoever_sent_it() {
    for what in [
        json!({"message": {"mid": "m_1", "text": "hi", "is_self": true}}),
        json!({"postback": {"mid": "m_1", "payload": "F", "is_self": "true"}}),
        json!({"postback": {"mid": "m_1", "payload": "F"}, "is_self": true}),
    ] {
        let platform = naming().await;
        let item = ON_INSTAGRAM.by_person(&what);
        platform.deliver(&ON_INSTAGRAM.entry(&json!({"messaging": [item]}))).await;
        assert!(ON_INSTAGRAM.got(&platform).is_empty(), "{what}");
        assert!(!ON_INSTAGRAM.has_open_window(&platform).await, "{what}");
    }
}

#[tokio::test]
async fn a_message_of_the_page_that_is_not_flagged_as_an_echo_silences_the_bot_like_one() {
    let platform = naming().await;
    let own = ON_PAGE.by_page(&json!({"message": {"mid": "m_1", "text": "It is me"}}));
    platform.deliver(&ON_PAGE.entry(&json!({"messaging": [own]}))).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    assert!(ON_PAGE.got(&platform).is_empty());
}

#[tokio::test]
async fn what_is_taken_back_and_what_cannot_be_shown_open_no_window_and_no_sample_bot_answers() {
    for ends in EVERYWHERE {
        for (message, kind) in [
            (json!({"mid": "m_1", "is_deleted": true}), "unsend"),
            (json!({"mid": "m_1", "is_deleted": "true"}), "unsend"),
            (json!({"mid": "m_1", "is_deleted": 1, "text": "hi"}), "unsend"),
            (json!({"mid": "m_1", "is_unsupported": true}), "unsupported"),
            (json!({"mid": "m_1", "is_unsupported": "true", "attachments": []}), "unsupported"),
            (
                json!({"mid": "m_1", "attachments": [{"type": "unsupported_type", "payload": null}]}),
                "unsupported",
            ),
        ] {
            let item = ends.by_person(&json!({"message": message}));
            let platform = platform_with(|options| {
                with_instagram(options);
                options.replies = booking::reply;
                options.variables.insert("FEED".to_owned(), "on".to_owned());
            })
            .await;
            platform.deliver(&ends.entry(&json!({"messaging": [item]}))).await;
            assert!(ends.got(&platform).is_empty(), "{message}");
            assert!(!ends.has_open_window(&platform).await, "{message}");
            assert_eq!(published(&platform, ends.page).await, [kind], "{message}");
        }
    }
}

#[tokio::test]
async fn a_message_without_any_content_is_not_thanked_for() {
    let platform = platform_with(|options| options.replies = booking::reply).await;
    platform.deliver(&platform.meta.person_sends(PAGE, PSID, json!({"mid": "m_1"}))).await;
    assert!(ON_PAGE.got(&platform).is_empty());
}

#[tokio::test]
async fn an_edit_without_a_sender_does_no_harm() {
    let platform = naming().await;
    let edit = json!({"message_edit": {"mid": "m_1", "num_edit": 0}, "timestamp": 1});
    let place = json!({"messaging": [edit]});
    assert_eq!(platform.deliver(&ON_INSTAGRAM.entry(&place)).await, 200);
    assert!(platform.sqs.is_empty(simulator::platform::EVENTS));
    assert!(platform.sqs.is_empty(simulator::platform::DEAD_LETTERS));
    assert!(platform.meta.requests().is_empty());
}

/// The kinds of the events in a Page's feed.
pub(crate) async fn published(platform: &Platform, page: &str) -> Vec<String> {
    let items = platform.items().await.unwrap();
    let events = items.iter().filter(|item| item["pk"] == *format!("feed#{page}"));
    let kind = |text: &str| serde_json::from_str::<Value>(text).unwrap()["kind"].clone();
    events.map(|item| kind(item["event"].as_str().unwrap()).as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn whatever_cannot_be_read_in_changes_is_kept_as_unknown() {
    for change in [
        json!({"field": "messages", "value": {"novelty": true}}),
        json!({"field": "messaging_postbacks", "value": "text"}),
        json!({"field": "messaging_postbacks", "value": [{"postback": {}}]}),
        json!({"field": "message_reactions"}),
        json!({"field": "brand_new", "value": {"sender": {"id": PSID}, "brand_new": {"a": 1}}}),
    ] {
        let platform = platform_with(|options| {
            options.variables.insert("FEED".to_owned(), "on".to_owned());
        })
        .await;
        platform.deliver(&ON_PAGE.entry(&json!({"changes": [change]}))).await;
        assert_eq!(published(&platform, PAGE).await, ["unknown"], "{change}");
        assert!(!ON_PAGE.has_open_window(&platform).await, "{change}");
    }
}

#[tokio::test]
async fn an_event_without_a_usable_time_happened_when_its_entry_says_and_else_at_its_receipt() {
    let hour = 60 * 60 * 1000;
    let now = BEGINNING.millis();
    let entry = now - 2 * hour;
    let own = now - hour;
    let cases = [
        (json!(own), json!(entry), own, Value::Null),
        (json!(own / 1000), json!(entry), own, Value::Null),
        (json!(own.to_string()), json!(entry), own, Value::Null),
        (json!((own / 1000).to_string()), json!(entry), own, Value::Null),
        (json!(format!("{own}.0")), json!(entry), own, Value::Null),
        (json!(0), json!(entry), entry, json!("entry")),
        (json!("0"), json!(entry), entry, json!("entry")),
        (json!(""), json!(entry), entry, json!("entry")),
        (json!(-1), json!(entry), entry, json!("entry")),
        (json!("soon"), json!(entry), entry, json!("entry")),
        (Value::Null, json!(entry), entry, json!("entry")),
        (json!(0), json!(entry / 1000), entry, json!("entry")),
        (json!(0), json!((entry / 1000).to_string()), entry, json!("entry")),
        (json!(0), json!(0), now, json!("receipt")),
        (Value::Null, json!("0"), now, json!("receipt")),
        (Value::Null, Value::Null, now, json!("receipt")),
        (json!(now + hour), json!(entry), entry, json!("entry")),
        (json!(now + hour), json!(now + hour), now, json!("receipt")),
    ];
    for ends in EVERYWHERE {
        for (timestamp, time, expected, source) in &cases {
            let platform = naming().await;
            let what = json!({"message": {"mid": "m_1", "text": "hi"}, "timestamp": timestamp});
            let mut item = ends.by_person(&what);
            item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            platform.deliver(&ends.entry(&json!({"time": time, "messaging": [item]}))).await;
            let found = ends.conversation(&platform).await.unwrap();
            assert_eq!(found["last_message_at"], *expected, "{timestamp} {time}");
            assert_eq!(found["last_message_source"], *source, "{timestamp} {time}");
            assert_eq!(ends.got(&platform), ["message"], "{timestamp} {time}");
        }
    }
}

#[tokio::test]
async fn a_request_for_control_is_none_and_without_an_app_id_no_control_is_ours() {
    let passed = |to: &str| json!({"pass_thread_control": {"new_owner_app_id": to}});
    let taken = |to: &str| json!({"take_thread_control": {"new_owner_app_id": to}});
    let requested = |by: &str| json!({"request_thread_control": {"requested_owner_app_id": by}});
    let inbox = "263902037430900";
    for (knows_app, acts, is_answered) in [
        (true, vec![requested(inbox)], true),
        (true, vec![passed(inbox), requested(APP_ID)], false),
        (true, vec![passed(inbox), passed(APP_ID)], true),
        (false, vec![passed(inbox)], false),
        (false, vec![taken(inbox)], false),
        (false, vec![passed(inbox), requested(inbox)], false),
        (false, vec![passed(inbox), passed(inbox)], false),
    ] {
        let platform = naming().await;
        if !knows_app {
            platform.put_secret(|secret| secret["app_id"] = Value::Null);
        }
        for act in &acts {
            platform.deliver(&platform.meta.person_does(PAGE, PSID, act.clone())).await;
            platform.clock.forward(SECOND);
        }
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        assert_eq!(!ON_PAGE.got(&platform).is_empty(), is_answered, "{knows_app} {acts:?}");
    }
}
