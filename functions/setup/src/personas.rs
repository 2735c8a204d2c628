//! Personas: lists a Page's, creates and deletes them.
//!
//! Source: Meta's reference of the Personas API.

use backend::secrets::Secret;
use messenger::message::Invalid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::discovery::{List, next_page};
use crate::payload::{CreatePersona, DeletePersona, Personas};
use crate::{Setup, SetupError};

/// The most characters of a persona's name.
const LONGEST_NAME: usize = 50;

/// The name and the picture that a message can be sent under.
#[derive(Debug, Deserialize, Serialize)]
struct Persona {
    id: String,
    name: Option<String>,
    profile_picture_url: Option<String>,
}

impl Setup {
    /// The personas of a Page.
    pub(crate) async fn personas(
        &self,
        Personas { page_id }: Personas,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let page_id = page_id.as_str();
        let access = self.access_of_page(secret, page_id).await?;
        let mut personas: List<Persona> = List { data: Vec::new() };
        let mut after: Option<String> = None;
        loop {
            let mut parameters = vec![("fields", "id,name,profile_picture_url"), ("limit", "100")];
            parameters.extend(after.as_deref().map(|after| ("after", after)));
            let answer =
                self.outbox.graph().get(&[page_id, "personas"], access, &parameters).await?;
            after = next_page(&answer.body["paging"]);
            personas.data.extend(serde_json::from_value::<List<Persona>>(answer.body)?.data);
            if after.is_none() {
                return Ok(serde_json::to_value(personas)?);
            }
        }
    }

    /// Creates a persona of a Page, and returns its id.
    pub(crate) async fn create_persona(
        &self,
        CreatePersona { page_id, name, profile_picture_url }: CreatePersona,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let wrong = |field, problem| Err(Invalid::new(field, problem).into());
        if name.chars().count() > LONGEST_NAME {
            return wrong("name", "must have at most 50 characters");
        }
        if !profile_picture_url.starts_with("https://") {
            return wrong("profile_picture_url", "must be an https URL");
        }
        let page_id = page_id.as_str();
        let access = self.access_of_page(secret, page_id).await?;
        let persona = json!({"name": name, "profile_picture_url": profile_picture_url});
        let answer = self.outbox.graph().post(&[page_id, "personas"], access, &persona).await?;
        Ok(json!({"id": answer.body["id"]}))
    }

    /// Deletes a persona of a Page; messages that it sent keep its name.
    pub(crate) async fn delete_persona(
        &self,
        DeletePersona { page_id, persona_id }: DeletePersona,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let access = self.access_of_page(secret, &page_id).await?;
        self.outbox.graph().delete(&[persona_id.as_str()], access, &[]).await?;
        Ok(json!({"id": persona_id, "deleted": true}))
    }
}
