//! The messaging windows, to the exact millisecond.

use super::*;

const OUTSIDE: (i64, Option<i64>) = (10, Some(2_018_278));
const RETIRED_AT: i64 = 1_777_248_000_000;
const RETIRED: [&str; 3] = ["CONFIRMED_EVENT_UPDATE", "ACCOUNT_UPDATE", "POST_PURCHASE_UPDATE"];

/// Asserts that the window ends with this age: its last millisecond is in, the next one is out.
fn assert_ends_after(world: &World, page_id: &str, longest: i64, body: &Value) {
    world.set_clock(NOW + longest);
    world.send(page_id, body).mid();
    world.set_clock(NOW + longest + 1);
    let refused = world.send(page_id, body);
    assert_eq!((refused.status, refused.error()), (400, OUTSIDE), "{body}");
    assert!(matches!(
        world.last_request().outcome,
        Outcome::Refused { code: 10, subcode: Some(2_018_278), .. }
    ));
}

#[test]
fn responses_and_updates_end_after_24_hours() {
    for page_id in [PAGE, INSTAGRAM] {
        for messaging_type in ["RESPONSE", "UPDATE"] {
            let world = World::with_open_windows();
            assert_ends_after(&world, page_id, DAY, &text_as(messaging_type, None));
        }
    }
}

#[test]
fn human_agents_have_7_days_on_both_platforms() {
    for page_id in [PAGE, INSTAGRAM] {
        let world = World::with_open_windows();
        let body = text_as("MESSAGE_TAG", Some("HUMAN_AGENT"));
        world.send(page_id, &body).mid();
        assert_ends_after(&world, page_id, WEEK, &body);
    }
}

#[test]
fn customer_feedback_has_7_days_for_its_own_template_only() {
    let world = World::with_open_windows();
    let mut body = text_as("MESSAGE_TAG", Some("CUSTOMER_FEEDBACK"));
    assert_eq!(world.send(PAGE, &body).error(), (100, None));
    body["message"] = feedback_template();
    assert_ends_after(&world, PAGE, WEEK, &body);

    let world = World::with_open_windows();
    world.send(PAGE, &response(&feedback_template())).mid();
    assert_ends_after(&world, PAGE, DAY, &response(&feedback_template()));
}

#[test]
fn retired_tags_work_until_their_last_millisecond() {
    for tag in RETIRED {
        let world = World::new();
        world.set_clock(RETIRED_AT - 400 * DAY);
        world.meta.person_says(PAGE, PSID, "hi");
        let body = text_as("MESSAGE_TAG", Some(tag));
        world.set_clock(RETIRED_AT - 1);
        world.send(PAGE, &body).mid();
        world.set_clock(RETIRED_AT);
        let refused = world.send(PAGE, &body);
        assert_eq!((refused.status, refused.error()), (400, (100, Some(1_893_061))));
        world.meta.person_says(PAGE, PSID, "hi");
        assert_eq!(
            world.send(PAGE, &body).error(),
            (100, Some(1_893_061)),
            "inside the window too"
        );
    }
}

#[test]
fn retired_tags_needed_an_earlier_action() {
    let world = World::new();
    world.set_clock(RETIRED_AT - 1);
    world.meta.add_person(PAGE, PSID);
    let body = text_as("MESSAGE_TAG", Some("ACCOUNT_UPDATE"));
    assert_eq!(world.send(PAGE, &body).error(), OUTSIDE);
}

#[test]
fn instagram_knows_no_tag_but_human_agent() {
    let world = World::new();
    world.set_clock(RETIRED_AT - 1);
    world.meta.person_says(INSTAGRAM, PSID, "hi");
    let mut feedback = text_as("MESSAGE_TAG", Some("CUSTOMER_FEEDBACK"));
    feedback["message"] = feedback_template();
    assert_eq!(world.send(INSTAGRAM, &feedback).error(), (100, None));
    for tag in RETIRED {
        let body = text_as("MESSAGE_TAG", Some(tag));
        assert_eq!(world.send(INSTAGRAM, &body).error(), (100, None), "{tag}");
    }
    assert_eq!(world.send(INSTAGRAM, &utility()).error(), (100, None));
    assert_eq!(world.send(INSTAGRAM, &response(&feedback_template())).error(), (100, None));
}

#[test]
fn utility_templates_go_out_at_any_age() {
    let world = World::with_open_windows();
    world.send(PAGE, &utility()).mid();
    world.set_clock(NOW + 400 * DAY);
    world.send(PAGE, &utility()).mid();

    let world = World::new();
    assert_eq!(world.send(PAGE, &utility()).error(), (100, Some(2_018_001)));
    world.meta.add_person(PAGE, PSID);
    world.send(PAGE, &utility()).mid();
}

#[test]
fn utility_needs_its_template_and_the_template_needs_utility() {
    let world = World::with_open_windows();
    assert_eq!(world.send(PAGE, &text_as("UTILITY", None)).error(), (100, None));
    for missing in ["name", "language"] {
        let mut body = utility();
        body["message"]["template"][missing] = Value::Null;
        assert_eq!(world.send(PAGE, &body).error(), (100, None), "{missing}");
    }
    let mut body = utility();
    body["message"]["template"]["components"] = json!({});
    assert_eq!(world.send(PAGE, &body).error(), (100, None));
    let mut body = utility();
    body["messaging_type"] = json!("RESPONSE");
    assert_eq!(world.send(PAGE, &body).error(), (100, None));
}

#[test]
fn a_messaging_type_is_required_and_known_and_agrees_with_the_tag() {
    let world = World::with_open_windows();
    let mut untyped = text_as("RESPONSE", None);
    untyped["messaging_type"] = Value::Null;
    let wrong = [
        untyped,
        text_as("REPLY", None),
        text_as("MESSAGE_TAG", None),
        text_as("MESSAGE_TAG", Some("NON_PROMOTIONAL_SUBSCRIPTION")),
        text_as("RESPONSE", Some("HUMAN_AGENT")),
        text_as("UPDATE", Some("ACCOUNT_UPDATES")),
    ];
    for body in wrong {
        let refused = world.send(PAGE, &body);
        assert_eq!((refused.status, refused.error()), (400, (100, None)), "{body}");
    }
}

#[test]
fn a_person_whom_this_page_never_met_is_unknown() {
    let world = World::new();
    world.meta.person_says(INSTAGRAM, PSID, "hi");
    let refused = world.send(PAGE, &text_as("RESPONSE", None));
    assert_eq!((refused.status, refused.error()), (400, (100, Some(2_018_001))));
    world.send(INSTAGRAM, &text_as("RESPONSE", None)).mid();
}

fn ad(meta: &Meta, page_id: &str, item: &Value) {
    meta.person_does(page_id, PSID, item.clone());
}

#[test]
fn an_ad_opens_seven_days_from_the_message_after_the_click_if_meta_grants_them() {
    let referral = json!({"source": "ADS", "type": "OPEN_THREAD", "ref": "r", "ad_id": "9"});
    let said = json!({"message": {"mid": "m", "text": "hi"}});
    let by_ad = json!({"message": {"mid": "m", "text": "hi", "referral": referral}});
    let ways = [
        vec![by_ad.clone()],
        vec![json!({"postback": {"payload": "GS", "referral": referral}})],
        vec![json!({"optin": {"ref": "plugin", "referral": referral}})],
        vec![json!({"referral": referral}), said.clone()],
    ];
    for page_id in [PAGE, INSTAGRAM] {
        for way in &ways {
            for granted in [false, true] {
                let world = World::new();
                world.meta.set_ad_windows(granted);
                for item in way {
                    ad(&world.meta, page_id, item);
                }
                let longest = if granted { WEEK } else { DAY };
                assert_ends_after(&world, page_id, longest, &text_as("UPDATE", None));
            }
        }
    }
}

#[test]
fn a_click_on_an_ad_alone_opens_nothing_and_later_messages_move_nothing() {
    let referral = json!({"source": "ADS", "type": "OPEN_THREAD"});
    let said = json!({"message": {"mid": "m", "text": "hi"}});
    let world = World::new();
    world.meta.set_ad_windows(true);
    ad(&world.meta, PAGE, &json!({"referral": referral}));
    assert_eq!(world.send(PAGE, &text_as("RESPONSE", None)).error(), OUTSIDE);
    ad(&world.meta, PAGE, &said);
    world.set_clock(NOW + 2 * DAY);
    ad(&world.meta, PAGE, &said);
    assert_ends_after(&world, PAGE, WEEK, &text_as("RESPONSE", None));

    let world = World::with_open_windows();
    world.meta.set_ad_windows(true);
    assert_ends_after(&world, PAGE, DAY, &text_as("RESPONSE", None));
    let typing = json!({"recipient": {"id": PSID}, "sender_action": "typing_on"});
    assert_eq!(world.send(PAGE, &typing).error(), OUTSIDE);
}

#[test]
fn a_later_action_opens_the_window_again() {
    let world = World::with_open_windows();
    world.set_clock(NOW + DAY + 1);
    let body = text_as("RESPONSE", None);
    assert_eq!(world.send(PAGE, &body).error(), OUTSIDE);
    world.meta.person_taps(PAGE, PSID, "GS", "Start");
    world.send(PAGE, &body).mid();
    world.set_clock(NOW + 2 * DAY + 1);
    world.send(PAGE, &body).mid();
}
