//! Each application may have an API key of its own, which reaches its own Pages only.

use simulator::platform::Application;

use super::*;

const SHOP_PAGE: &str = "100000000000007";
const SHOP_KEY: &str = "the-key-of-the-shop";
const BAKERY_PAGE: &str = "100000000000008";
const BAKERY_KEY: &str = "the-key-of-the-bakery";

fn application(key: &str, page_id: &str) -> Application {
    Application {
        key: key.to_owned(),
        app_id: format!("3{}", &page_id[1..]),
        app_secret: format!("secret-of-the-{key}"),
        verify_token: format!("verify-token-of-the-{key}"),
        pages: vec![page_id.to_owned()],
    }
}

/// A deployment of three applications; a person has written to each Page.
async fn with_tenants() -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
        options.variables.insert("FEED".to_owned(), "on".to_owned());
        options.applications =
            vec![application("bakery", BAKERY_PAGE), application("shop", SHOP_PAGE)];
    })
    .await;
    platform.put_secret(|secret| {
        secret["applications"]["shop"]["api_key"] = SHOP_KEY.into();
        secret["applications"]["bakery"]["api_key"] = BAKERY_KEY.into();
    });
    for page_id in [PAGE, SHOP_PAGE, BAKERY_PAGE] {
        platform.deliver(&platform.meta.person_says(page_id, PSID, "hello")).await;
    }
    platform.advance(SINCE_HEARD).await;
    platform
}

/// A request with an API key, and perhaps a body with an idempotency key.
async fn ask_with(
    platform: &Platform,
    api_key: &str,
    (method, path): (&str, &str),
    body: Option<(&Value, Option<&str>)>,
) -> Answer {
    let sample = if body.is_some() { "api/create-message" } else { "api/list-applications" };
    with_sample(platform, sample, |event| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        event["rawPath"] = path.into();
        event["rawQueryString"] = query.into();
        event["requestContext"]["http"]["method"] = method.into();
        event["requestContext"]["http"]["path"] = path.into();
        let headers = event["headers"].as_object_mut().unwrap();
        headers.insert("authorization".to_owned(), json!(format!("Bearer {api_key}")));
        headers.remove("idempotency-key");
        if let Some((body, key)) = body {
            headers.extend(key.map(|key| ("idempotency-key".to_owned(), json!(key))));
            event["body"] = body.to_string().into();
        }
    })
    .await
}

async fn create(platform: &Platform, api_key: &str, page_id: &str, key: Option<&str>) -> Answer {
    let later = (platform.clock.now() + HOUR).millis();
    let body = message(json!({"page_id": page_id, "send_at": later}));
    ask_with(platform, api_key, ("POST", "/messages"), Some((&body, key))).await
}

#[tokio::test]
async fn a_key_reaches_the_pages_of_its_application_and_the_deployment_s_key_all() {
    let platform = with_tenants().await;
    for (api_key, page_id, is_reached) in [
        (SHOP_KEY, SHOP_PAGE, true),
        (SHOP_KEY, BAKERY_PAGE, false),
        (SHOP_KEY, PAGE, false),
        (BAKERY_KEY, BAKERY_PAGE, true),
        (BAKERY_KEY, SHOP_PAGE, false),
        (API_KEY, SHOP_PAGE, true),
        (API_KEY, PAGE, true),
    ] {
        let who = format!("{api_key} at {page_id}");
        let status = |reached: u16| if is_reached { reached } else { 404 };
        let owners = create(&platform, API_KEY, page_id, None).await.body;
        let id = owners["id"].as_str().unwrap();
        assert_eq!(create(&platform, api_key, page_id, None).await.status, status(202), "{who}");
        let person = format!("/people/{PSID}?page_id={page_id}");
        for (method, path, reached) in [
            ("GET", &format!("/messages/{id}"), 200),
            ("DELETE", &format!("/messages/{id}"), 200),
            ("GET", &person, 200),
            ("GET", &format!("/events?page_id={page_id}"), 200),
            ("DELETE", &person, 204),
        ] {
            let answer = ask_with(&platform, api_key, (method, path), None).await;
            assert_eq!(answer.status, status(reached), "{who}: {method} {path}");
        }
        platform.clock.forward(SECOND);
        platform.deliver(&platform.meta.person_says(page_id, PSID, "again")).await;
        platform.advance(SINCE_HEARD).await;
    }
}

#[tokio::test]
async fn a_page_of_another_application_is_answered_like_an_unknown_one() {
    let platform = with_tenants().await;
    let unknown_page = "100000000000099";
    let theirs = create(&platform, BAKERY_KEY, BAKERY_PAGE, Some("order-5")).await;
    assert_eq!(theirs.status, 202);
    let path = format!("/messages/{}", theirs.body["id"].as_str().unwrap());
    // The same message at a Page that nobody has.
    let name = format!("{unknown_page} request-0123456789abcdef0123456789abcdef {PSID}");
    let nowhere = format!("/messages/m1.{}", base64_of(&name));
    for (theirs, unknown) in
        [(("GET", path.clone()), ("GET", nowhere.clone())), (("DELETE", path), ("DELETE", nowhere))]
    {
        let ask = async |(method, path): (&str, String)| {
            ask_with(&platform, SHOP_KEY, (method, &path), None).await
        };
        let (theirs, unknown) = (ask(theirs).await, ask(unknown).await);
        assert_eq!((theirs.status, &theirs.body), (404, &unknown.body));
    }
    for path in ["/people/7000000000000001?page_id=", "/events?page_id="] {
        let ask = async |page_id: &str| {
            ask_with(&platform, SHOP_KEY, ("GET", &format!("{path}{page_id}")), None).await
        };
        let (theirs, unknown) = (ask(BAKERY_PAGE).await, ask(unknown_page).await);
        assert_eq!((theirs.status, &theirs.body), (404, &unknown.body));
    }
    // Not even the name of a request tells it, nor can it be taken away.
    for key in [Some("order-5"), Some("order-6"), None] {
        let theirs = create(&platform, SHOP_KEY, BAKERY_PAGE, key).await;
        let unknown = create(&platform, SHOP_KEY, unknown_page, key).await;
        assert_eq!((theirs.status, &theirs.body), (404, &unknown.body));
    }
    assert_eq!(create(&platform, BAKERY_KEY, BAKERY_PAGE, Some("order-6")).await.status, 202);
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn a_key_lists_its_own_application_only() {
    let platform = with_tenants().await;
    for (api_key, listed) in [
        (SHOP_KEY, json!(["shop"])),
        (BAKERY_KEY, json!(["bakery"])),
        (API_KEY, json!(["default", "bakery", "shop"])),
    ] {
        let answer = ask_with(&platform, api_key, ("GET", "/applications"), None).await;
        let applications = answer.body["applications"].as_array().unwrap();
        let mut keys: Vec<_> = applications.iter().map(|one| one["key"].clone()).collect();
        keys.sort_by_key(|key| *key != "default");
        assert_eq!(json!(keys), listed, "{api_key}");
        assert!(!answer.body.to_string().contains(SHOP_KEY));
    }
}

#[tokio::test]
async fn an_application_s_key_is_valid_although_the_deployment_has_none() {
    let platform = with_tenants().await;
    platform.put_secret(|secret| {
        secret["api_key"] = "".into();
        secret["applications"]["shop"]["api_key"] = SHOP_KEY.into();
        secret["applications"]["bakery"]["api_key"] = "".into();
    });
    platform.clock.forward(6 * MINUTE);
    for (api_key, status) in [(SHOP_KEY, 200), (BAKERY_KEY, 401), (API_KEY, 401), ("", 401)] {
        let answer = ask_with(&platform, api_key, ("GET", "/applications"), None).await;
        assert_eq!(answer.status, status, "{api_key}");
    }
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_a_page() {
    let platform = with_tenants().await;
    let shop = create(&platform, API_KEY, SHOP_PAGE, Some("order-5")).await;
    let bakery = create(&platform, API_KEY, BAKERY_PAGE, Some("order-5")).await;
    assert_eq!((shop.status, bakery.status), (202, 202), "{}", bakery.body);
    assert_ne!(shop.body["id"], bakery.body["id"]);
    for (page_id, first) in [(SHOP_PAGE, shop), (BAKERY_PAGE, bakery)] {
        let again = create(&platform, API_KEY, page_id, Some("order-5")).await;
        assert_eq!((again.status, &again.body["id"]), (200, &first.body["id"]));
        let body = message(json!({"page_id": page_id, "message": "another"}));
        let body = Some((&body, Some("order-5")));
        let other = ask_with(&platform, API_KEY, ("POST", "/messages"), body).await;
        assert_eq!((other.status, other.code()), (422, "key_reused"));
    }
}

#[tokio::test]
async fn a_request_that_is_refused_for_its_form_does_not_use_its_key_up() {
    let platform = with_tenants().await;
    let body = message(json!({"message": {"text": ""}}));
    let wrong =
        ask_with(&platform, API_KEY, ("POST", "/messages"), Some((&body, Some("order-7")))).await;
    assert_eq!((wrong.status, wrong.code()), (422, "invalid"));
    assert_eq!(create(&platform, API_KEY, PAGE, Some("order-7")).await.status, 202);
}
