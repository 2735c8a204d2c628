//! Utility templates.

use super::*;

fn template() -> Value {
    json!({"name": "order_shipped", "language": "en", "components": [
        {"type": "BODY", "text": "Order {{1}} is on its way.", "example": {"body_text": [["5"]]}}]})
}

#[tokio::test]
async fn a_utility_template_is_made_and_listed_with_its_state() {
    let platform = platform().await;
    let create = json!({"action": "create-template", "page_id": PAGE, "template": template()});
    let made = platform.invoke_setup(create.clone()).await.unwrap();
    assert_eq!((&made["status"], &made["category"]), (&json!("PENDING"), &json!("UTILITY")));
    let list = json!({"action": "templates", "page_id": PAGE});
    platform.clock.forward(10 * SECOND);
    let listed = platform.invoke_setup(list).await.unwrap();
    assert_eq!(listed["data"][0]["name"], "order_shipped");
    assert_eq!(listed["data"][0]["status"], "APPROVED");
    let error = platform.invoke_setup(create).await.unwrap_err();
    assert!(error.contains("Meta's error 100"), "there is one already: {error}");
}

#[tokio::test]
async fn named_parameters_are_created_and_filled_in_by_name() {
    let platform = platform().await;
    let mut template = json!({"name": "order_named", "language": "en", "parameter_format": "NAMED",
        "components": [{"type": "BODY", "text": "Order {{order_id}} is on its way.",
            "example": {"body_text_named_params": [{"param_name": "order_id", "example": "5"}]}}]});
    let create = |template: &Value| json!({"action": "create-template", "page_id": PAGE, "template": template});
    platform.invoke_setup(create(&template)).await.unwrap();
    template["parameter_format"] = "BY_NAME".into();
    let error = platform.invoke_setup(create(&template)).await.unwrap_err();
    assert!(error.contains("parameter_format must be NAMED or POSITIONAL"), "{error}");

    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    for (parameter, end) in [
        (json!({"type": "text", "parameter_name": "order_id", "text": "5"}), "sent"),
        (json!({"type": "text", "text": "5"}), "failed invalid"),
    ] {
        let message = json!({"template": {"name": "order_named", "language": {"code": "en"},
            "components": [{"type": "body", "parameters": [parameter]}]}});
        let wanted =
            json!({"page_id": PAGE, "psid": PSID, "purpose": "utility", "message": message});
        platform.invoke_follow_ups(wanted).await.unwrap();
        platform.advance(2 * MINUTE).await;
        assert_eq!(ends(&platform, PSID).await.last().unwrap(), end);
    }
}

#[tokio::test]
async fn a_template_of_another_form_is_refused_before_the_network() {
    let platform = platform().await;
    for (field, value) in [
        ("name", json!("Order shipped")),
        ("language", Value::Null),
        ("category", json!("MARKETING")),
        ("components", json!([])),
        ("text", json!("x")),
    ] {
        let mut template = template();
        template[field] = value;
        let create = json!({"action": "create-template", "page_id": PAGE, "template": template});
        let error = platform.invoke_setup(create).await.unwrap_err();
        assert!(error.starts_with("bad request: template: "), "{error}");
    }
    assert!(platform.meta.take_calls().is_empty());
}

#[tokio::test]
async fn templates_need_their_permission() {
    let platform = platform().await;
    platform.meta.set_scopes(PAGE, &["pages_messaging"]);
    let list = json!({"action": "templates", "page_id": PAGE});
    let error = platform.invoke_setup(list).await.unwrap_err();
    assert!(error.contains("permission_missing: Meta's error 200"), "{error}");
}
