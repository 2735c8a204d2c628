//! `WhatsApp` business accounts and their tokens.

use super::*;

#[tokio::test]
async fn a_whatsapp_account_comes_typed_and_without_links() {
    let platform = with_account().await;
    let answer = account(&platform, "system-token").await.unwrap();
    let account = &answer["account"];
    assert_eq!(account["id"], ACCOUNT);
    assert_eq!(account["message_template_namespace"], "05155c78_261e_4b2f_82b3_d7958d4cf75f");
    assert_eq!(account["message_templates"]["data"][0]["components"][0]["text"], "Hello");
    assert_eq!(account["phone_numbers"]["data"][0]["display_phone_number"], "+1 555 0100");
    assert!(!answer.to_string().contains("system-token"));
}

#[tokio::test]
async fn the_kinds_of_whatsapp_tokens_are_distinguished_and_one_that_expires_has_a_warning() {
    let platform = with_account().await;
    for (token, kind) in [
        ("system-token", "system_user"),
        ("customer-token", "business_integration_system_user"),
        ("user-token", "user"),
    ] {
        let answer = account(&platform, token).await.unwrap()["token"].take();
        assert_eq!(answer["kind"], kind);
        let warning = answer["warning"].as_str().unwrap_or_default();
        assert_eq!(warning.contains("system user"), token == "user-token", "{answer}");
        assert_eq!(answer["expires"].is_string(), token == "user-token");
    }
}

#[tokio::test]
async fn a_token_without_access_to_the_account_is_reported_what_to_do() {
    let platform = with_account().await;
    let error = account(&platform, "employee-token").await.unwrap_err();
    assert!(error.contains("error 200") && error.contains("partial or full access"), "{error}");
}

#[tokio::test]
async fn the_whatsapp_token_of_the_secret_serves_if_the_payload_has_none() {
    let platform = with_account().await;
    let request = json!({"action": "whatsapp-account", "account_id": ACCOUNT});
    let error = platform.invoke_setup(request.clone()).await.unwrap_err();
    assert!(error.contains("missing in the secret: whatsapp_token"), "{error}");
    platform.put_secret(|secret| secret["whatsapp_token"] = "system-token".into());
    assert_eq!(platform.invoke_setup(request).await.unwrap()["account"]["id"], ACCOUNT);
}
