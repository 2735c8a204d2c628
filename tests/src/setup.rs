//! The setup function on the platform.
//!
//! Each invocation is a container of its own, as it is for a function that runs a few times a year.

use std::error::Error;

use messenger::clock::{Clock, Timestamp};
use serde_json::{Value, json};
use setup::Setup;

use crate::functions::Functions;
use crate::meta::{Meta, UserToken};
use crate::platform::{Platform, SETUP_TIMEOUT};
use crate::samples;

/// The user token of the samples.
const USER_TOKEN: &str = "sample-user-token";
/// The system user's token of the samples.
const WHATSAPP_TOKEN: &str = "sample-whatsapp-token";
/// The `WhatsApp` business account of the samples.
const WHATSAPP_ACCOUNT: &str = "400000000000004";

/// Adds what the samples ask for: a user with Pages, a `WhatsApp` business account, a persona and saved
/// media of each Page.
pub(crate) fn add_sample_accounts(meta: &Meta, pages: &[String]) {
    let user = UserToken {
        user_id: "600000000000006".to_owned(),
        app_id: samples::APP_ID.to_owned(),
        is_system_user: false,
        expires_at: 0,
        scopes: vec!["pages_show_list".to_owned()],
        targets: Vec::new(),
        pages: pages.to_vec(),
    };
    let system_user = UserToken {
        is_system_user: true,
        scopes: vec!["whatsapp_business_management".to_owned()],
        pages: Vec::new(),
        ..user.clone()
    };
    for page in pages {
        meta.add_persona(page, samples::PERSONA);
        meta.add_attachment(page, samples::SAVED_VIDEO, "video");
    }
    meta.add_user_token(USER_TOKEN, user);
    meta.add_user_token(WHATSAPP_TOKEN, system_user);
    let account = json!({
        "id": WHATSAPP_ACCOUNT,
        "name": "A business",
        "timezone_id": "1",
        "message_template_namespace": "05155c78_261e_4b2f_82b3_d7958d4cf75f",
        "message_templates": {"data": []},
        "phone_numbers": {"data": []},
    });
    meta.add_whatsapp_account(account, &[WHATSAPP_TOKEN]);
}

impl Platform {
    /// A container of the setup function.
    ///
    /// # Errors
    /// If a variable is missing or cannot be used.
    pub fn setup(&self) -> Result<Setup, Box<dyn Error>> {
        Ok(Functions::start_setup(&self.containers())?)
    }

    /// Invokes the setup function.
    ///
    /// # Errors
    /// What the function answers with.
    pub async fn invoke_setup(&self, payload: Value) -> Result<Value, String> {
        self.invoke_setup_until(payload, self.clock.now() + SETUP_TIMEOUT).await
    }

    /// Invokes the setup function with little time: until `deadline`.
    ///
    /// # Errors
    /// What the function answers with.
    pub async fn invoke_setup_until(
        &self,
        payload: Value,
        deadline: Timestamp,
    ) -> Result<Value, String> {
        let setup = self.setup().map_err(|error| error.to_string())?;
        let invocation = format!("setup-{}", self.clock.now().millis());
        let answer = setup.handle(payload, &invocation, deadline).await;
        let answer = answer.map_err(|error| error.to_string());
        self.settle().await;
        answer
    }
}
