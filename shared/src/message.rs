//! What we may say: messages in the Send API's own form, checked against the platform's limits.
//!
//! Source of the limits: Meta's Send API and template references.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Platform;

/// The most messages that one reply or follow-up may consist of.
pub const MAX_MESSAGES: usize = 10;

/// One message, serialised exactly as the Send API's `message` object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    #[serde(flatten)]
    content: Content,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    quick_replies: Vec<QuickReply>,
}

/// What a message consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Attachment(Attachment),
    Template(UtilityTemplate),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
enum Attachment {
    Image(Media),
    Audio(Media),
    Video(Media),
    File(Media),
    Template(Template),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Media {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    is_reusable: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "template_type", rename_all = "snake_case")]
enum Template {
    Button { text: String, buttons: Vec<Button> },
    Generic { elements: Vec<Element> },
    CustomerFeedback(FeedbackTemplate),
}

/// The kinds of media that a message can carry by URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A sound.
    Audio,
    /// A film.
    Video,
    /// Anything else.
    File,
}

/// A suggestion under the newest message; tapping it sends its title and payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuickReply {
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
}

impl QuickReply {
    /// A suggestion with a title (at most 20 characters) and a payload (at most 1,000).
    pub fn text(title: impl Into<String>, payload: impl Into<String>) -> Self {
        Self {
            content_type: "text".to_owned(),
            title: Some(title.into()),
            payload: Some(payload.into()),
            image_url: None,
        }
    }
}

/// A button of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Button {
    /// Opens a web page.
    WebUrl {
        /// The page.
        url: String,
        /// The label, at most 20 characters.
        title: String,
    },
    /// Comes back as a postback event.
    Postback {
        /// The label, at most 20 characters.
        title: String,
        /// What comes back, at most 1,000 characters.
        payload: String,
    },
    /// Calls a telephone number.
    PhoneNumber {
        /// The label, at most 20 characters.
        title: String,
        /// The number, with `+` and country code.
        payload: String,
    },
}

/// A card of a generic template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// At most 80 characters.
    pub title: String,
    /// At most 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<String>,
    /// The picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// At most 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
}

/// A customer feedback template, the only content that `CUSTOMER_FEEDBACK` may carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackTemplate {
    /// At most 65 characters.
    pub title: String,
    /// At most 80 characters.
    pub subtitle: String,
    /// At most 20 characters.
    pub button_title: String,
    /// Exactly one screen with one question.
    pub feedback_screens: Vec<FeedbackScreen>,
    /// Where the business tells what it does with the answers.
    pub business_privacy: BusinessPrivacy,
    /// 1 to 7; Meta's default is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<u8>,
}

/// A screen of a feedback template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackScreen {
    /// Exactly one.
    pub questions: Vec<FeedbackQuestion>,
}

/// A question of a feedback template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackQuestion {
    /// At most 80 letters, digits and underscores; unique in the Page's templates.
    pub id: String,
    /// `csat`, `nps` or `ces`.
    #[serde(rename = "type")]
    pub kind: String,
    /// 5 to 85 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How the scale is labelled, such as `neg_pos`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_label: Option<String>,
    /// How the scale is drawn, such as `five_stars`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_option: Option<String>,
    /// The free text question that follows; its placeholder has at most 400 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<FeedbackFollowUp>,
}

/// The free text question of a feedback template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackFollowUp {
    /// `free_form`.
    #[serde(rename = "type")]
    pub kind: String,
    /// At most 400 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
}

/// The privacy policy that a feedback template must name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusinessPrivacy {
    /// The policy's address.
    pub url: String,
}

/// A reference to an approved utility template of the Page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UtilityTemplate {
    /// The template's name.
    pub name: String,
    /// The language that it was approved in.
    pub language: TemplateLanguage,
    /// What fills its places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Value>,
}

/// A template's language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateLanguage {
    /// Such as `en_US`.
    pub code: String,
}

/// What a message may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Anything but the two below.
    General,
    /// Only a customer feedback survey.
    Feedback,
    /// Only a utility message.
    Utility,
}

/// Which limit of the platform a message breaks.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Where, as a path within the `message` object.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Invalid {
    /// Says what is wrong with a field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Message {
    /// A text of 1 to 1,999 characters (Unicode scalar values).
    ///
    /// # Errors
    /// [`Invalid`] if it is empty or too long.
    pub fn text(text: impl Into<String>) -> Result<Self, Invalid> {
        Self::checked(Content::Text(text.into()))
    }

    /// Media that Meta fetches from an `https` URL: at most 25 MB, within 10 s.
    ///
    /// # Errors
    /// [`Invalid`] if the URL is none.
    pub fn media(kind: MediaKind, url: impl Into<String>) -> Result<Self, Invalid> {
        let media = Media { url: url.into(), is_reusable: None };
        Self::checked(Content::Attachment(match kind {
            MediaKind::Image => Attachment::Image(media),
            MediaKind::Audio => Attachment::Audio(media),
            MediaKind::Video => Attachment::Video(media),
            MediaKind::File => Attachment::File(media),
        }))
    }

    /// A text of at most 640 characters over 1 to 3 buttons.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn buttons(text: impl Into<String>, buttons: Vec<Button>) -> Result<Self, Invalid> {
        let template = Template::Button { text: text.into(), buttons };
        Self::checked(Content::Attachment(Attachment::Template(template)))
    }

    /// 1 to 10 cards side by side.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn generic(elements: Vec<Element>) -> Result<Self, Invalid> {
        let template = Template::Generic { elements };
        Self::checked(Content::Attachment(Attachment::Template(template)))
    }

    /// A customer feedback survey.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn feedback(template: FeedbackTemplate) -> Result<Self, Invalid> {
        let template = Template::CustomerFeedback(template);
        Self::checked(Content::Attachment(Attachment::Template(template)))
    }

    /// A utility message, by reference to an approved template.
    ///
    /// # Errors
    /// [`Invalid`] if it has no name or language.
    pub fn utility(template: UtilityTemplate) -> Result<Self, Invalid> {
        Self::checked(Content::Template(template))
    }

    /// Adds 1 to 13 quick replies.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn with_quick_replies(mut self, quick_replies: Vec<QuickReply>) -> Result<Self, Invalid> {
        self.quick_replies = quick_replies;
        self.check(Platform::Messenger)?;
        Ok(self)
    }

    /// Reads a message in the Send API's form; a plain string is a text.
    ///
    /// # Errors
    /// [`Invalid`] if it has another form or breaks a limit.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        if let Value::String(text) = value {
            return Self::text(text);
        }
        let message = Self::deserialize(value).map_err(|error| {
            let mut problem = "is not of the Send API's form".to_owned();
            let why = error.to_string();
            if why.starts_with("missing field") {
                problem = format!("{problem}: {why}");
            }
            Invalid::new("message", problem)
        })?;
        message.check(Platform::Messenger)?;
        Ok(message)
    }

    /// What the message may be used for.
    pub fn usable_for(&self) -> Use {
        match &self.content {
            Content::Template(_) => Use::Utility,
            Content::Attachment(Attachment::Template(Template::CustomerFeedback(_))) => {
                Use::Feedback
            }
            _ => Use::General,
        }
    }

    fn checked(content: Content) -> Result<Self, Invalid> {
        let message = Self { content, quick_replies: Vec::new() };
        message.check(Platform::Messenger)?;
        Ok(message)
    }

    /// Checks the message against a platform's limits.
    ///
    /// # Errors
    /// [`Invalid`] names the first limit that is broken.
    pub fn check(&self, platform: Platform) -> Result<(), Invalid> {
        match &self.content {
            Content::Text(text) if platform == Platform::Instagram => {
                if text.len() > 1000 {
                    return Err(Invalid::new(
                        "text",
                        "has more than 1,000 bytes, the most on Instagram",
                    ));
                }
                length("text", text, 1, 1999)?;
            }
            Content::Text(text) => length("text", text, 1, 1999)?,
            Content::Attachment(attachment) => attachment.check(platform)?,
            Content::Template(_) if platform == Platform::Instagram => {
                return Err(Invalid::new("template", "utility messages are for Messenger only"));
            }
            Content::Template(template) => {
                length("template.name", &template.name, 1, 512)?;
                length("template.language.code", &template.language.code, 2, 20)?;
            }
        }
        at_most("quick_replies", self.quick_replies.len(), 13)?;
        for (index, reply) in self.quick_replies.iter().enumerate() {
            reply.check(index)?;
        }
        Ok(())
    }
}

impl QuickReply {
    fn check(&self, index: usize) -> Result<(), Invalid> {
        let at = |field: &str| format!("quick_replies[{index}].{field}");
        match self.content_type.as_str() {
            "text" => {
                length(at("title"), self.title.as_deref().unwrap_or_default(), 1, 20)?;
                length(at("payload"), self.payload.as_deref().unwrap_or_default(), 1, 1000)
            }
            "user_phone_number" | "user_email" => Ok(()),
            _ => Err(Invalid::new(
                at("content_type"),
                "is not text, user_phone_number or user_email",
            )),
        }
    }
}

impl Attachment {
    fn check(&self, platform: Platform) -> Result<(), Invalid> {
        match self {
            Self::Image(media) | Self::Audio(media) | Self::Video(media) | Self::File(media) => {
                https("attachment.payload.url", &media.url)
            }
            Self::Template(Template::Button { text, buttons }) => {
                length("attachment.payload.text", text, 1, 640)?;
                at_least_one("attachment.payload.buttons", buttons.len())?;
                check_buttons("attachment.payload", buttons)
            }
            Self::Template(Template::Generic { elements }) => {
                at_least_one("attachment.payload.elements", elements.len())?;
                at_most("attachment.payload.elements", elements.len(), 10)?;
                elements.iter().enumerate().try_for_each(|(index, element)| {
                    let at = format!("attachment.payload.elements[{index}]");
                    length(format!("{at}.title"), &element.title, 1, 80)?;
                    if element.is_title_only() {
                        let problem = "needs a subtitle, a picture or a button beside its title";
                        return Err(Invalid::new(at, problem));
                    }
                    if let Some(subtitle) = &element.subtitle {
                        length(format!("{at}.subtitle"), subtitle, 1, 80)?;
                    }
                    check_buttons(&at, &element.buttons)
                })
            }
            Self::Template(Template::CustomerFeedback(_)) if platform == Platform::Instagram => {
                Err(Invalid::new("attachment", "the feedback template is for Messenger only"))
            }
            Self::Template(Template::CustomerFeedback(template)) => template.check(),
        }
    }
}

impl Element {
    fn is_title_only(&self) -> bool {
        self.subtitle.is_none() && self.image_url.is_none() && self.buttons.is_empty()
    }
}

impl FeedbackTemplate {
    fn check(&self) -> Result<(), Invalid> {
        length("attachment.payload.title", &self.title, 1, 65)?;
        length("attachment.payload.subtitle", &self.subtitle, 1, 80)?;
        length("attachment.payload.button_title", &self.button_title, 1, 20)?;
        https("attachment.payload.business_privacy.url", &self.business_privacy.url)?;
        if !(1..=7).contains(&self.expires_in_days.unwrap_or(1)) {
            return Err(Invalid::new(
                "attachment.payload.expires_in_days",
                "is not between 1 and 7",
            ));
        }
        let [FeedbackScreen { questions }] = self.feedback_screens.as_slice() else {
            return Err(Invalid::new(
                "attachment.payload.feedback_screens",
                "must hold one screen",
            ));
        };
        let [question] = questions.as_slice() else {
            return Err(Invalid::new(
                "attachment.payload.feedback_screens[0].questions",
                "must hold one question",
            ));
        };
        let at =
            |field: &str| format!("attachment.payload.feedback_screens[0].questions[0].{field}");
        length(at("id"), &question.id, 1, 80)?;
        if !question.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(Invalid::new(at("id"), "may hold letters, digits and underscores only"));
        }
        if let Some(title) = &question.title {
            length(at("title"), title, 5, 85)?;
        }
        if let Some(placeholder) = question.follow_up.as_ref().and_then(|f| f.placeholder.as_ref())
        {
            length(at("follow_up.placeholder"), placeholder, 0, 400)?;
        }
        Ok(())
    }
}

fn check_buttons(at: &str, buttons: &[Button]) -> Result<(), Invalid> {
    at_most(format!("{at}.buttons"), buttons.len(), 3)?;
    buttons.iter().enumerate().try_for_each(|(index, button)| {
        let at = |field: &str| format!("{at}.buttons[{index}].{field}");
        match button {
            Button::WebUrl { url, title } => {
                web(at("url"), url)?;
                length(at("title"), title, 1, 20)
            }
            Button::Postback { title, payload } | Button::PhoneNumber { title, payload } => {
                length(at("title"), title, 1, 20)?;
                length(at("payload"), payload, 1, 1000)
            }
        }
    })
}

fn length(field: impl Into<String>, text: &str, least: usize, most: usize) -> Result<(), Invalid> {
    let count = text.chars().count();
    if (least..=most).contains(&count) && !(least > 0 && text.trim().is_empty()) {
        return Ok(());
    }
    let problem = if text.trim().is_empty() {
        "is empty".to_owned()
    } else {
        format!("has {count} characters; {least} to {most} are allowed")
    };
    Err(Invalid::new(field, problem))
}

fn at_most(field: impl Into<String>, count: usize, most: usize) -> Result<(), Invalid> {
    if count <= most {
        return Ok(());
    }
    Err(Invalid::new(field, format!("holds {count} items; the most is {most}")))
}

fn at_least_one(field: &str, count: usize) -> Result<(), Invalid> {
    if count > 0 { Ok(()) } else { Err(Invalid::new(field, "is empty")) }
}

fn https(field: &str, url: &str) -> Result<(), Invalid> {
    if url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty()) && url.len() <= 2048 {
        return Ok(());
    }
    Err(Invalid::new(field, "is not an https URL of at most 2,048 bytes"))
}

fn web(field: String, url: &str) -> Result<(), Invalid> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    Err(Invalid::new(field, "is not an http or https URL"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_wire_form_is_the_send_apis() {
        let text = Message::text("hi").unwrap();
        let text = text.with_quick_replies(vec![QuickReply::text("Yes", "YES")]).unwrap();
        assert_eq!(
            serde_json::to_value(&text).unwrap(),
            json!({"text": "hi", "quick_replies": [{"content_type": "text", "title": "Yes", "payload": "YES"}]})
        );
        let buttons = Message::buttons(
            "Choose",
            vec![Button::WebUrl { url: "https://example.com".into(), title: "Shop".into() }],
        );
        assert_eq!(
            serde_json::to_value(buttons.unwrap()).unwrap(),
            json!({"attachment": {"type": "template", "payload": {"template_type": "button", "text": "Choose",
                "buttons": [{"type": "web_url", "url": "https://example.com", "title": "Shop"}]}}})
        );
        let image = Message::media(MediaKind::Image, "https://example.com/a.png").unwrap();
        assert_eq!(
            serde_json::to_value(image).unwrap(),
            json!({"attachment": {"type": "image", "payload": {"url": "https://example.com/a.png"}}})
        );
    }

    #[test]
    fn every_form_survives_the_table() {
        for value in [
            json!({"text": "hi"}),
            json!({"attachment": {"type": "file", "payload": {"url": "https://example.com/a.pdf"}}}),
            json!({"attachment": {"type": "template", "payload": {"template_type": "generic", "elements": [
                {"title": "A", "subtitle": "B", "buttons": [{"type": "postback", "title": "Go", "payload": "GO"}]}]}}}),
            json!({"template": {"name": "shipped", "language": {"code": "en_US"}}}),
            feedback(85),
        ] {
            let message = Message::from_json(&value).unwrap();
            assert_eq!(serde_json::to_value(&message).unwrap(), value);
        }
    }

    fn feedback(question_length: usize) -> Value {
        json!({"attachment": {"type": "template", "payload": {
            "template_type": "customer_feedback", "title": "Rate", "subtitle": "Us", "button_title": "Go",
            "feedback_screens": [{"questions": [{"id": "q1", "type": "csat", "title": "q".repeat(question_length)}]}],
            "business_privacy": {"url": "https://example.com"}}}})
    }

    fn field(result: Result<Message, Invalid>) -> String {
        result.unwrap_err().field
    }

    #[test]
    fn limits_hold_to_the_character() {
        assert!(Message::text("😀".repeat(1999)).is_ok());
        assert_eq!(field(Message::text("a".repeat(2000))), "text");
        assert_eq!(field(Message::text(" ")), "text");
        let thirteen = vec![QuickReply::text("t".repeat(20), "p".repeat(1000)); 13];
        let hi = Message::text("hi").unwrap();
        assert!(hi.clone().with_quick_replies(thirteen.clone()).is_ok());
        let fourteen = [thirteen, vec![QuickReply::text("t", "p")]].concat();
        assert_eq!(field(hi.clone().with_quick_replies(fourteen)), "quick_replies");
        let long = vec![QuickReply::text("t".repeat(21), "p")];
        assert_eq!(field(hi.with_quick_replies(long)), "quick_replies[0].title");
        let button = Button::Postback { title: "Go".into(), payload: "GO".into() };
        assert!(Message::buttons("t".repeat(640), vec![button.clone(); 3]).is_ok());
        assert_eq!(
            field(Message::buttons("t".repeat(641), vec![button.clone()])),
            "attachment.payload.text"
        );
        assert_eq!(field(Message::buttons("t", vec![button; 4])), "attachment.payload.buttons");
        let bare = Element { title: "t".repeat(80), ..Element::default() };
        let card = Element { subtitle: Some("s".repeat(80)), ..bare.clone() };
        assert_eq!(field(Message::generic(vec![bare])), "attachment.payload.elements[0]");
        assert!(Message::generic(vec![card.clone(); 10]).is_ok());
        assert_eq!(field(Message::generic(vec![card; 11])), "attachment.payload.elements");
        assert!(Message::from_json(&feedback(5)).is_ok());
        assert!(field(Message::from_json(&feedback(86))).ends_with("questions[0].title"));
        assert_eq!(
            field(Message::media(MediaKind::Image, "http://example.com/a.png")),
            "attachment.payload.url"
        );
    }

    #[test]
    fn instagram_counts_bytes_and_lacks_templates() {
        let fits = Message::text("é".repeat(500)).unwrap();
        let over = Message::text("é".repeat(501)).unwrap();
        assert!(fits.check(Platform::Instagram).is_ok());
        assert_eq!(over.check(Platform::Instagram).unwrap_err().field, "text");
        let survey = Message::from_json(&feedback(10)).unwrap();
        assert_eq!(survey.check(Platform::Instagram).unwrap_err().field, "attachment");
    }

    #[test]
    fn another_form_is_named() {
        let error = Message::from_json(&json!({"txt": "hi"})).unwrap_err();
        assert_eq!(error.field, "message");
    }
}
