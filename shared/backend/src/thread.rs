//! Thread control: which app holds the thread with a person, and its change by this app.
//!
//! Source: Meta's documents of conversation routing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::graph::{Fault, GraphError};
use crate::send::{SendApi, SendError};
use messenger::clock::Timestamp;
use messenger::event::Platform;

/// The app of the inbox of a Page or an account.
/// Source: Meta's documents of conversation routing.
pub const fn inbox(platform: Platform) -> &'static str {
    match platform {
        Platform::Messenger => "263902037430900",
        Platform::Instagram => "1217981644879628",
    }
}

/// How long the control of a thread lasts after the last activity in it.
pub const CONTROL_LASTS: Duration = Duration::from_hours(24);

/// The longest time for which an app may extend its control.
pub const LONGEST_CONTROL: Duration = Duration::from_hours(7 * 24);

/// A thread: the Page, or account, and the person.
#[derive(Clone, Copy, Debug)]
pub struct Thread<'a> {
    /// The Page that the person writes to.
    pub page_id: &'a str,
    /// The person's PSID, or Instagram-scoped id.
    pub psid: &'a str,
    /// Where.
    pub platform: Platform,
}

/// Who controls a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadOwner {
    /// The app; nobody if absent.
    pub app_id: Option<String>,
    /// When the control ends, if Meta says so.
    pub until: Option<Timestamp>,
}

/// What this app does about the control of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ThreadAction {
    /// Gives the thread to another app.
    Pass {
        /// The app, such as the Page's inbox.
        app_id: String,
    },
    /// Takes the thread from the app that holds it.
    Take,
    /// Gives the thread to nobody.
    Release,
    /// Asks the app that holds the thread for it; whether that passes it is its own decision.
    Request,
    /// Holds the thread for longer.
    Extend {
        /// For how long, in seconds.
        duration: u64,
    },
}

impl ThreadAction {
    const fn edge(&self) -> &'static str {
        match self {
            Self::Pass { .. } => "pass_thread_control",
            Self::Take => "take_thread_control",
            Self::Release => "release_thread_control",
            Self::Request => "request_thread_control",
            Self::Extend { .. } => "extend_thread_control",
        }
    }

    fn body(&self, psid: &str, metadata: Option<&str>) -> Value {
        let mut body = json!({"recipient": {"id": psid}});
        match self {
            Self::Pass { app_id } => body["target_app_id"] = app_id.as_str().into(),
            Self::Extend { duration } => body["duration"] = (*duration).into(),
            Self::Take | Self::Release | Self::Request => {}
        }
        if let Some(metadata) = metadata {
            body["metadata"] = metadata.into();
        }
        body
    }
}

impl SendApi {
    /// Asks who controls a thread. Meta tells the owner and the Page's default app.
    ///
    /// # Errors
    /// [`SendError`] if Meta does not say.
    pub async fn thread_owner(&self, thread: Thread<'_>) -> Result<ThreadOwner, SendError> {
        let mut credentials = self.credentials().await?;
        let answer = loop {
            let node = self.sender_node(&credentials, thread.page_id)?;
            let mut parameters = vec![("recipient", thread.psid)];
            let platform = node.platform_parameter(thread.platform);
            parameters.extend(platform.map(|platform| ("platform", platform)));
            match node.graph.get(&[node.id, "thread_owner"], node.access, &parameters).await {
                Ok(answer) => break answer,
                Err(error) => {
                    credentials = self.others(&credentials, thread.page_id, error.into()).await?;
                }
            }
        };
        let Some(data) = answer.body["data"].as_array() else {
            return Err(GraphError::from(Fault::Unclear).into());
        };
        Ok(data.first().map_or_else(ThreadOwner::default, |first| owner(&first["thread_owner"])))
    }

    /// Changes, or asks for, the control of a thread; `metadata` is for the other app.
    ///
    /// # Errors
    /// [`SendError`] if Meta refuses it, or does not say whether it did it.
    pub async fn control_thread(
        &self,
        thread: Thread<'_>,
        action: &ThreadAction,
        metadata: Option<&str>,
    ) -> Result<(), SendError> {
        let mut body = action.body(thread.psid, metadata);
        let mut credentials = self.credentials().await?;
        loop {
            let node = self.sender_node(&credentials, thread.page_id)?;
            if let Some(platform) = node.platform_parameter(thread.platform) {
                body["platform"] = platform.into();
            }
            match node.graph.post(&[node.id, action.edge()], node.access, &body).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    credentials = self.others(&credentials, thread.page_id, error.into()).await?;
                }
            }
        }
    }
}

/// An owner as Meta writes it: ids and times come as numbers or as strings.
fn owner(value: &Value) -> ThreadOwner {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let seconds = text(&value["expiration"]).and_then(|text| text.parse::<i64>().ok());
    let until = seconds.filter(|seconds| *seconds > 0);
    ThreadOwner {
        app_id: text(&value["app_id"]).filter(|app_id| !app_id.is_empty()),
        until: until.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_in_either_form() {
        let until = Some(Timestamp::from_millis(1_800_000_000_000));
        let app_id = Some("15".to_owned());
        for (value, expected) in [
            (json!({"app_id": "15"}), ThreadOwner { app_id: app_id.clone(), until: None }),
            (
                json!({"app_id": 15, "expiration": 1_800_000_000}),
                ThreadOwner { app_id: app_id.clone(), until },
            ),
            (json!({"app_id": "15", "expiration": "1800000000"}), ThreadOwner { app_id, until }),
            (json!({}), ThreadOwner::default()),
            (json!({"app_id": ""}), ThreadOwner::default()),
            (Value::Null, ThreadOwner::default()),
        ] {
            assert_eq!(owner(&value), expected, "{value}");
        }
    }
}
