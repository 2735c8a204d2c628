//! What was said in a conversation, as Meta's inbox shows it.
//!
//! Source: Meta's Conversations API: details of the 20 newest messages only.

use serde::Deserialize;
use serde_json::Value;

use crate::send::{ACCOUNT, SendApi, SendError};
use messenger::bot::{Said, Who};
use messenger::clock::Timestamp;
use messenger::event::Platform;

#[derive(Deserialize)]
struct Conversation {
    messages: Option<Messages>,
}

#[derive(Deserialize)]
struct Messages {
    data: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    message: Option<String>,
    created_time: Option<String>,
    from: Option<End>,
}

#[derive(Deserialize)]
struct End {
    id: String,
}

impl SendApi {
    /// The newest messages of a conversation, `count` at most, oldest first; none if Meta knows of no conversation.
    ///
    /// # Errors
    /// [`SendError`] if Meta does not show them.
    pub async fn history(
        &self,
        page_id: &str,
        platform: Platform,
        psid: &str,
        count: usize,
    ) -> Result<Vec<Said>, SendError> {
        let fields = format!("messages.limit({count}){{message,from,created_time}}");
        let parameters =
            [("platform", platform.name()), ("user_id", psid), ("fields", fields.as_str())];
        let shown = self.look_up(page_id, &[ACCOUNT, "conversations"], &parameters).await?;
        Ok(read(&shown, psid, count))
    }
}

/// Meta shows the newest first.
fn read(shown: &Value, psid: &str, count: usize) -> Vec<Said> {
    let newest = Conversation::deserialize(&shown["data"][0]).ok();
    let messages = newest.and_then(|it| it.messages).map(|it| it.data).unwrap_or_default();
    let said = messages.into_iter().take(count).map(|message| Said {
        who: match message.from {
            Some(from) if from.id == psid => Who::Person,
            _ => Who::Page,
        },
        at: message.created_time.and_then(|at| Timestamp::from_rfc3339(&at.replace("+0000", "Z"))),
        text: message.message.unwrap_or_default(),
    });
    let mut said: Vec<_> = said.collect();
    said.reverse();
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_meta_shows_is_told_from_the_oldest_on() {
        let message = |from: &str, text: &str, minute: u32| {
            let at = format!("2026-11-22T09:0{minute}:00+0000");
            json!({"message": text, "from": {"id": from, "name": "A"}, "created_time": at, "id": "m"})
        };
        let messages = [message("7", "No", 2), message("1", "Shall we?", 1), message("7", "", 0)];
        let shown = json!({"data": [{"id": "t_1", "messages": {"data": messages}}]});
        let at = |minute: u32| Timestamp::from_rfc3339(&format!("2026-11-22T09:0{minute}:00Z"));
        let said = |who, minute, text: &str| Said { who, at: at(minute), text: text.to_owned() };
        let newest = vec![said(Who::Page, 1, "Shall we?"), said(Who::Person, 2, "No")];
        assert_eq!(read(&shown, "7", 2), newest);
        assert_eq!(read(&shown, "7", 20)[0], said(Who::Person, 0, ""));
        for nothing in [json!({}), json!({"data": []}), json!({"data": [{"id": "t_1"}]})] {
            assert_eq!(read(&nothing, "7", 20), []);
        }
        let bare = json!({"data": [{"messages": {"data": [{"id": "m"}]}}]});
        assert_eq!(read(&bare, "7", 20), [Said { who: Who::Page, at: None, text: String::new() }]);
    }
}
