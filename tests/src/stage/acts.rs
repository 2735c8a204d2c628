//! What people and the business do on the stage.

use messenger::chat::shown;
use messenger::chat::transcript::{
    Act, Delivery, Desk, Ending, Happening, Refused, StaffAct, What,
};
use messenger::clock::Clock;
use messenger::message::Outgoing;
use serde_json::{Map, Value, json};

use super::told::Told;
use super::{MOMENT, Stage};
use crate::platform::Platform;
use crate::samples;

/// The app of a Page's inbox.
const INBOX: i64 = 26_390_203_743_090;

impl Stage {
    pub(super) async fn person_acts(&mut self, who: &str, act: &Act) -> Result<(), Refused> {
        let platform = self.platform()?;
        let mid = format!("m_said_{}", self.number());
        let number = self.numbers;
        let known = self.known(who)?;
        let (page_id, psid) = (known.page_id.clone(), known.psid.clone());
        let fields = |field: &str, value: Value| Map::from_iter([(field.to_owned(), value)]);
        let about = |mid: Option<&str>, what: &str| {
            mid.map(str::to_owned).ok_or_else(|| Refused(format!("there is no message to {what}")))
        };
        let fields = match act {
            Act::Says(text) => fields("message", json!({"mid": mid, "text": text})),
            Act::Quickly(texts) => return self.says_quickly(&platform, who, texts).await,
            Act::Taps(title) => known.screen.tap(title, &mid, known.product).map_err(Refused)?,
            Act::SendsImage => {
                let image =
                    json!({"type": "image", "payload": {"url": "https://example.com/image.jpg"}});
                fields("message", json!({"mid": mid, "attachments": [image]}))
            }
            Act::Reacts(reaction) => {
                let about = about(known.screen.newest_of_page(), "react to")?;
                fields("reaction", json!({"mid": about, "action": "react", "reaction": reaction}))
            }
            Act::Unsends => {
                let about = about(known.screen.newest_of_person(), "take back")?;
                fields("message", json!({"mid": about, "is_deleted": true}))
            }
            Act::FollowsLink(reference) => {
                let link = json!({"ref": reference, "source": "SHORTLINK", "type": "OPEN_THREAD"});
                fields("referral", link)
            }
            Act::Raw(fields) => fields.clone(),
            Act::Comments(text) => {
                let id = format!("{page_id}_{number}");
                let body = platform.meta.person_comments(&page_id, &psid, &id, text);
                return self.deliver(&platform, &body).await;
            }
        };
        // What somebody else made up is on nobody's screen.
        if matches!(act, Act::Says(_) | Act::Taps(_) | Act::SendsImage)
            && self.deliver != Some(Delivery::Forged)
            && let Some(known) = self.people.get_mut(who)
        {
            known.screen.write(&mid);
        }
        let body = platform.meta.person_does(&page_id, &psid, Value::Object(fields));
        self.deliver(&platform, &body).await
    }

    /// Several messages arrive before the bot is asked about the first.
    async fn says_quickly(
        &mut self,
        platform: &Platform,
        who: &str,
        texts: &[String],
    ) -> Result<(), Refused> {
        for text in texts {
            let mid = format!("m_said_{}", self.number());
            let known =
                self.people.get_mut(who).ok_or_else(|| Refused(format!("nobody knows {who}")))?;
            known.screen.write(&mid);
            let item = json!({"message": {"mid": mid, "text": text}});
            let body = platform.meta.person_does(&known.page_id, &known.psid, item);
            platform.post(&body).await;
            platform.clock.forward(MOMENT);
        }
        platform.settle().await;
        Ok(())
    }

    /// Meta delivers a notification, in the way that was asked for.
    async fn deliver(&mut self, platform: &Platform, body: &[u8]) -> Result<(), Refused> {
        match self.deliver.take() {
            None => {
                platform.deliver(body).await;
            }
            Some(Delivery::Twice) => {
                platform.deliver(body).await;
                platform.deliver(body).await;
            }
            Some(Delivery::Late(span)) => {
                platform.advance(span).await;
                platform.deliver(body).await;
            }
            // It waits for the next one, which comes first.
            Some(Delivery::OutOfOrder) => {
                self.held_back = Some(body.to_vec());
                return Ok(());
            }
            Some(Delivery::Forged) => {
                let status = platform.post_forged(body).await;
                platform.settle().await;
                let is_refused = status == 401;
                return is_refused.then_some(()).ok_or_else(|| {
                    Refused(format!("the webhook took a forged notification: {status}"))
                });
            }
        }
        if let Some(earlier) = self.held_back.take() {
            platform.deliver(&earlier).await;
        }
        Ok(())
    }

    pub(super) async fn staff_acts(
        &mut self,
        desk: &Desk,
        who: &str,
        act: &StaffAct,
    ) -> Result<(), Refused> {
        let platform = self.platform()?;
        let mid = format!("m_inbox_{}", self.number());
        let known = self.known(who)?;
        let (page_id, psid) = (known.page_id.clone(), known.psid.clone());
        match (desk, act) {
            (_, StaffAct::ReturnsControl) => {
                let body = platform.meta.inbox_passes(&page_id, &psid);
                self.deliver(&platform, &body).await
            }
            (Desk::Inbox, StaffAct::Asks(_)) => {
                Err(Refused("the inbox does not ask the API".to_owned()))
            }
            (Desk::Api(author), StaffAct::Asks(fields)) => {
                let mut wanted = json!({"page_id": page_id, "psid": psid});
                if fields.get("purpose").is_some_and(|purpose| purpose == "human") {
                    wanted["author"] = author.as_str().into();
                }
                if let Some(all) = wanted.as_object_mut() {
                    all.extend(fields.clone());
                }
                self.ask_the_api(&platform, &wanted, who).await
            }
            (Desk::Inbox, StaffAct::Says(text)) => {
                let message = json!({"mid": mid, "is_echo": true, "app_id": INBOX, "text": text});
                if let Some(known) = self.people.get_mut(who) {
                    known.screen.show(mid, &json!({"text": text}));
                }
                let item = json!({"sender": {"id": page_id}, "recipient": {"id": psid}, "message": message});
                let body = platform.meta.person_does(&page_id, &psid, item);
                self.deliver(&platform, &body).await
            }
            (Desk::Api(author), StaffAct::Says(text)) => {
                let wanted = json!({"page_id": page_id, "psid": psid, "message": text, "purpose": "human", "author": author});
                self.ask_the_api(&platform, &wanted, who).await
            }
        }
    }

    async fn ask_the_api(
        &mut self,
        platform: &Platform,
        wanted: &Value,
        who: &str,
    ) -> Result<(), Refused> {
        let failed = |error: String| Refused(format!("the API was not asked: {error}"));
        let mut event =
            samples::read("api/create-message").map_err(|error| failed(error.to_string()))?;
        event["body"] = wanted.to_string().into();
        event["isBase64Encoded"] = false.into();
        if let Some(headers) = event["headers"].as_object_mut() {
            headers.remove("idempotency-key");
        }
        let request = lambda_http::request::from_str(&event.to_string());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let answer = platform.invoke_api(&request).await;
        platform.settle().await;
        if answer.status().is_success() {
            return Ok(());
        }
        let problem: Value = serde_json::from_slice(answer.body().as_ref()).unwrap_or_default();
        let text = |field: &str| problem["error"][field].as_str().unwrap_or_default().to_owned();
        if problem["error"]["allowed"].is_null() {
            return Err(Refused(format!("the API refuses this: {}", text("message"))));
        }
        // The windows refuse it, so it never becomes an entry.
        let said = Outgoing::from_json(&wanted["message"]).map(|say| shown(&say));
        let said = said.unwrap_or_default();
        let what = What::Ended { ending: Ending::Refused, reason: text("code"), text: said };
        let happening = Happening { who: Some(who.to_owned()), what };
        self.refused.push(Told { at: platform.clock.now().millis(), happening });
        Ok(())
    }
}
