//! The profiles of people.

use super::*;
use crate::meta::NoProfile;

/// A world whose account with a login of its own has the permission of such a login.
fn world() -> World {
    let world = World::with_open_windows();
    world.meta.set_scopes(INSTAGRAM, &["instagram_business_manage_messages"]);
    world
}

fn profile(world: &World, token: &str, psid: &str, fields: &str) -> Reply {
    // An account with a login of its own is asked on its own host.
    let host = if token == "token-ig" { "/instagram" } else { "" };
    let proof = proof("app-secret-1", token);
    let mut path = format!("{host}/v24.0/{psid}?appsecret_proof={proof}");
    if !fields.is_empty() {
        path = format!("{path}&fields={fields}");
    }
    world.request("GET", &path, Some(token), "").expect("an answer")
}

#[test]
fn a_profile_shows_the_fields_that_are_asked_for() {
    let world = world();
    for (token, fields, shown) in [
        (
            "token-1",
            "",
            json!({"id": PSID, "first_name": "Guest", "last_name": "7001",
            "profile_pic": "https://example.com/person.png"}),
        ),
        (
            "token-1",
            "first_name,locale,timezone,gender",
            json!({"id": PSID, "first_name": "Guest", "locale": "en_GB", "timezone": 1}),
        ),
        ("token-1", "name", json!({"id": PSID, "name": "Guest 7001"})),
        (
            "token-ig",
            "name,username",
            json!({"id": PSID, "name": "Guest 7001", "username": "guest_7001"}),
        ),
    ] {
        assert_eq!(profile(&world, token, PSID, fields).json(), shown, "{token} {fields}");
    }
    assert_eq!(profile(&world, "token-1", PSID, "username").error(), (100, None));
    assert_eq!(profile(&world, "token-ig", PSID, "first_name").error(), (100, None));
}

#[test]
fn the_fields_of_a_profile_can_be_set() {
    let world = world();
    let fields = json!({"first_name": "Another", "gender": "female", "locale": null});
    let fields = fields.as_object().expect("fields").clone();
    world.meta.set_user_profile(PAGE, PSID, fields);
    let shown = profile(&world, "token-1", PSID, "first_name,gender,locale,timezone").json();
    let expected = json!({"id": PSID, "first_name": "Another", "gender": "female", "timezone": 1});
    assert_eq!(shown, expected);
}

#[test]
fn without_its_permission_a_field_takes_the_others_along() {
    let world = World::with_open_windows();
    world.meta.show_basic_profiles_only(PAGE);
    for field in ["locale", "timezone", "gender"] {
        let fields = format!("name,{field}");
        assert_eq!(profile(&world, "token-1", PSID, &fields).error(), (100, Some(2_018_247)));
    }
    assert_eq!(profile(&world, "token-1", PSID, "name").json()["name"], "Guest 7001");
}

#[test]
fn a_profile_that_is_not_shown_is_refused() {
    let world = world();
    for (psid, why, error) in [
        ("7003", NoProfile::Unavailable, (100, Some(2_018_218))),
        ("7004", NoProfile::NotPermitted, (100, Some(2_018_247))),
        ("7005", NoProfile::NoConsent, (230, None)),
    ] {
        world.meta.person_says(PAGE, psid, "hi");
        world.meta.hide_user_profile(PAGE, psid, why);
        assert_eq!(profile(&world, "token-1", psid, "name").error(), error);
    }
    let stranger = profile(&world, "token-1", "7009", "name");
    assert_eq!((stranger.status, stranger.error()), (400, (100, Some(33))));
    for (page_id, token, error) in
        [(PAGE, "token-1", (100, Some(2_018_247))), (INSTAGRAM, "token-ig", (230, None))]
    {
        world.meta.add_person(page_id, "7010");
        assert_eq!(profile(&world, token, "7010", "name").error(), error, "who only commented");
    }
    world.meta.set_scopes(PAGE, &[]);
    assert_eq!(profile(&world, "token-1", PSID, "name").error(), (200, None));
    world.meta.kill_token(PAGE);
    assert_eq!(profile(&world, "token-1", PSID, "name").error(), (190, Some(463)));
}

#[test]
fn the_page_of_a_linked_account_sees_its_people() {
    let world = world();
    world.meta.link_instagram("2003", PAGE);
    world.meta.person_says("2003", "7801", "hi");
    let shown = profile(&world, "token-1", "7801", "username").json();
    assert_eq!(shown, json!({"id": "7801", "username": "guest_7801"}));
}
