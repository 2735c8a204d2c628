//! Finding a Page and a person, and sending the first message: Meta's tutorial "Try it" in three calls.

use std::time::Duration;

use backend::batch::get_privately;
use backend::graph::Access;
use backend::outbox::{OutboxError, ToSchedule};
use backend::secrets::{DEFAULT_APPLICATION, Secret};
use backend::store::ConversationKey;
use messenger::clock::Timestamp;
use messenger::event::digest;
use messenger::message::{Invalid, Message};
use messenger::person::Person;
use messenger::window::Purpose;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::payload::{Conversations, FirstMessage, Pages};
use crate::{Setup, SetupError};

/// How long the message waits for a sender who is in the middle of a step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Replaces a token that is not shown.
const HIDDEN: &str = "hidden; set show_tokens to true to see it";

/// A list as Graph returns it, without `paging`, whose links contain the token.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct List<T> {
    #[serde(default = "Vec::new")]
    pub(crate) data: Vec<T>,
}

/// The cursor of what follows in a list.
pub(crate) fn next_page(paging: &Value) -> Option<String> {
    let cursor = paging["cursors"]["after"].as_str().filter(|_| paging["next"].is_string());
    cursor.map(str::to_owned)
}

/// A Page that a user manages.
#[derive(Debug, Deserialize, Serialize)]
struct ManagedPage {
    access_token: Option<String>,
    category: Option<String>,
    #[serde(default)]
    category_list: Vec<Category>,
    name: Option<String>,
    id: String,
    #[serde(default)]
    tasks: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Category {
    id: String,
    name: Option<String>,
}

/// A conversation of a Page.
#[derive(Debug, Deserialize, Serialize)]
struct Conversation {
    participants: Option<List<Participant>>,
    messages: Option<List<ConversationMessage>>,
    id: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Participant {
    name: Option<String>,
    email: Option<String>,
    id: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct ConversationMessage {
    id: String,
    message: Option<String>,
}

impl Setup {
    /// The Pages that a user manages, by a user token that the payload gives.
    pub(crate) async fn pages(&self, payload: Pages, secret: &Secret) -> Result<Value, SetupError> {
        let token = payload.user_token;
        let key = payload.application.as_deref().unwrap_or(DEFAULT_APPLICATION);
        let Some(application) = secret.application(key) else {
            return Err(SetupError::unknown_application());
        };
        let show_tokens = payload.show_tokens.unwrap_or(false);
        let app = self.app(key, application).await.ok();
        let app_secret = app.as_ref().map(App::secret).or(application.app_secret().ok());
        let access = Access { token: &token, app_secret };
        let mut pages: List<ManagedPage> = List { data: Vec::new() };
        let mut after: Option<String> = None;
        loop {
            let fields = ("fields", "access_token,category,category_list,name,id,tasks");
            let mut parameters = vec![fields, ("limit", "100")];
            parameters.extend(after.as_deref().map(|after| ("after", after)));
            let answer = self.outbox.graph().get(&["me", "accounts"], access, &parameters).await?;
            after = next_page(&answer.body["paging"]);
            pages.data.extend(serde_json::from_value::<List<ManagedPage>>(answer.body)?.data);
            if after.is_none() {
                break;
            }
        }
        if !show_tokens {
            for page in &mut pages.data {
                page.access_token = page.access_token.as_ref().map(|_| HIDDEN.to_owned());
            }
        }
        Ok(serde_json::to_value(pages)?)
    }

    /// A Page's latest conversations, or the one with a person.
    pub(crate) async fn conversations(
        &self,
        payload: Conversations,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let page_id = payload.page_id.as_str();
        let app = self.app_of_page(secret, page_id).await?;
        let sender = app.application.sender(page_id)?;
        let platform = payload.platform.unwrap_or(sender.platform).name();
        let mut parameters =
            vec![("platform", platform), ("fields", "participants,messages{id,message}")];
        let psid = payload.psid.as_deref();
        parameters.extend(psid.map(|psid| ("user_id", psid)));
        let access = app.access_of(page_id)?;
        let path = format!("{}/conversations", sender.node);
        let graph = self.outbox.graph().of(sender.login);
        let answer = get_privately(&graph, &path, access, &parameters).await?;
        Ok(serde_json::to_value(serde_json::from_value::<List<Conversation>>(answer.body)?)?)
    }

    /// Sends a message written by a person, through the outbox like every other message.
    ///
    /// It is attempted at once. What cannot be sent now stays in the outbox for the next scheduled run;
    /// the answer says so.
    pub(crate) async fn first_message(
        &self,
        payload: FirstMessage,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Value, SetupError> {
        let person = Person::psid(payload.psid)
            .map_err(|invalid| Invalid::new("psid", invalid.to_string()))?;
        let conversation_key = ConversationKey { page_id: payload.page_id, person };
        let text = payload.text.as_deref().unwrap_or("You did it!");
        let message =
            Message::text(text).map_err(|invalid| Invalid::new("text", invalid.problem))?;
        let stored = self
            .outbox
            .schedule(ToSchedule {
                id: format!("setup-{}", &digest(&[invocation])[..32]),
                conversation_key: conversation_key.clone(),
                messages: vec![message.into()],
                commented_at: None,
                fallback: None,
                purpose: Purpose::Human,
                author: Some(payload.author),
                due_at: None,
            })
            .await?;
        let context = self.outbox.context(invocation, deadline);
        self.outbox
            .serve(&conversation_key, std::slice::from_ref(&stored.key.id), &context, PATIENCE)
            .await?;
        let entry = self.outbox.store().entry(&stored.key).await?;
        let entry = entry.ok_or(OutboxError::HeldElsewhere)?;
        Ok(json!({
            "recipient_id": conversation_key.person,
            "message_id": entry.steps.first().and_then(|step| step.mid.as_deref()),
            "entry": stored.key.id,
            "status": entry.status.name(),
            "reason": entry.reason,
        }))
    }
}
