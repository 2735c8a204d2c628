//! What an item says, by its form.

use serde_json::Value;

use super::json::{flag, number, text};
use super::{
    Attachment, Comment, Delivery, Echo, Edit, FeedChange, Handover, Kind, Message, OptIn,
    PolicyEnforcement, Post, Postback, Reaction, Read, Referral, TemplateStatus, Unsend,
    Unsupported,
};
use crate::clock::Timestamp;

/// The fields that do not identify the kind of an item.
const COMMON_FIELDS: [&str; 6] =
    ["sender", "recipient", "timestamp", "prior_message", "hop_context", "is_instagram"];

/// The `item` of what a person posts on a Page; the others are comments, reactions and the like.
const POSTS: [&str; 7] = ["post", "status", "photo", "video", "share", "link", "note"];

/// The attachments whose content is in their payload: without one there is nothing to see.
const MEDIA: [&str; 6] = ["image", "audio", "video", "file", "sticker", "location"];

/// The attachment of a message that the API cannot show.
const UNSUPPORTED: &str = "unsupported_type";

/// Whether an item, or the value of a change, is an act of the Page or account itself.
///
/// Source for `is_self` and `self_ig_scoped_id`: Meta's Instagram Platform, "Self Messaging".
pub(super) fn is_by_page(item: &Value, page_id: &str) -> bool {
    let is_page = |end: &Value| text(&end["id"]).is_some_and(|id| id == page_id);
    let says_so = |field: &str| flag(&item[field]["is_self"]);
    is_page(&item["sender"])
        || is_page(&item["from"])
        || text(&item["from"]["self_ig_scoped_id"]).is_some()
        || flag(&item["is_self"])
        || ["message", "postback", "reaction", "referral", "optin"].into_iter().any(says_so)
}

/// An event of a kind that this version does not know.
pub(super) fn unknown(item: &Value, container: &str) -> Kind {
    let name = if matches!(container, "messaging" | "standby") {
        let mut fields = item.as_object().into_iter().flat_map(|fields| fields.keys());
        fields.find(|field| !COMMON_FIELDS.contains(&field.as_str())).cloned()
    } else {
        text(&item["field"]).or_else(|| text(&item["event"]))
    };
    Kind::Unknown { name: name.unwrap_or_else(|| container.to_owned()) }
}

/// The kind of an item that has a form of those in `messaging`.
pub(super) fn kind_of_messaging(item: &Value, page_id: &str) -> Option<Kind> {
    let object = |field: &str| Some(&item[field]).filter(|value| value.is_object());
    Some(if let Some(message) = object("message") {
        let is_of_page = text(&item["sender"]["id"]).is_some_and(|sender| sender == page_id);
        said(message, is_of_page)
    } else if let Some(edit) = object("message_edit") {
        Kind::Edit(Edit {
            mid: text(&edit["mid"]),
            text: text(&edit["text"]),
            num_edit: number(&edit["num_edit"]),
        })
    } else if let Some(reaction) = object("reaction") {
        Kind::Reaction(Reaction {
            mid: text(&reaction["mid"]),
            is_unreact: text(&reaction["action"]).as_deref() != Some("react"),
            reaction: text(&reaction["reaction"]),
            emoji: text(&reaction["emoji"]),
        })
    } else if let Some(postback) = object("postback") {
        Kind::Postback(Postback {
            mid: text(&postback["mid"]),
            title: text(&postback["title"]),
            payload: text(&postback["payload"]),
            referral: referral(&postback["referral"]),
        })
    } else if let Some(optin) = object("optin") {
        Kind::OptIn(OptIn {
            kind: text(&optin["type"]),
            payload: text(&optin["payload"]),
            reference: text(&optin["ref"]),
            user_ref: text(&optin["user_ref"]),
            referral: referral(&optin["referral"]),
        })
    } else if let Some(delivery) = object("delivery") {
        Kind::Delivery(Delivery {
            mids: delivery["mids"].as_array().into_iter().flatten().filter_map(text).collect(),
            watermark: number(&delivery["watermark"]).map(Timestamp::from_seconds_or_millis),
        })
    } else if let Some(read) = object("read") {
        Kind::Read(Read {
            mid: text(&read["mid"]),
            watermark: number(&read["watermark"]).map(Timestamp::from_seconds_or_millis),
        })
    } else if let Some(pass) = object("pass_thread_control") {
        Kind::Handover(Handover::Pass { to: text(&pass["new_owner_app_id"]) })
    } else if let Some(take) = object("take_thread_control") {
        Kind::Handover(Handover::Take { to: text(&take["new_owner_app_id"]) })
    } else if let Some(request) = object("request_thread_control") {
        Kind::Handover(Handover::Request { by: text(&request["requested_owner_app_id"]) })
    } else if object("app_roles").is_some() {
        Kind::Handover(Handover::Roles)
    } else if let Some(referral) = referral(&item["referral"]) {
        Kind::Referral(referral)
    } else if object("messaging_feedback").is_some() {
        Kind::Feedback
    } else if let Some(policy) = object("policy_enforcement").or(object("policy-enforcement")) {
        let (action, reason) = (text(&policy["action"]), text(&policy["reason"]));
        Kind::PolicyEnforcement(PolicyEnforcement { action, reason })
    } else {
        return None;
    })
}

/// What a message is: the content is not enough, because what was taken back has none either.
fn said(message: &Value, is_of_page: bool) -> Kind {
    let mid = text(&message["mid"]);
    let attachments = message["attachments"].as_array().into_iter().flatten();
    let attachments: Vec<_> = attachments.map(attachment).collect();
    let hides_all = attachments.iter().any(|attachment| attachment.kind == UNSUPPORTED)
        && message["text"].is_null();
    if flag(&message["is_deleted"]) {
        return Kind::Unsend(Unsend { mid });
    }
    if flag(&message["is_echo"]) || is_of_page {
        return Kind::Echo(Echo {
            mid,
            app_id: text(&message["app_id"]),
            metadata: text(&message["metadata"]),
            text: text(&message["text"]),
            is_post: is_post(message),
        });
    }
    if flag(&message["is_unsupported"]) || hides_all {
        return Kind::Unsupported(Unsupported { mid });
    }
    Kind::Message(Message {
        mid,
        text: text(&message["text"]),
        quick_reply: text(&message["quick_reply"]["payload"]),
        attachments,
        reply_to: text(&message["reply_to"]["mid"]),
        referral: referral(&message["referral"]),
    })
}

/// Whether an echo shows a post or its title and nothing that somebody wrote to the person: it has
/// attachments without any content.
fn is_post(message: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let names_a_post = |attachment: &Value| {
        let kind = text(&attachment["type"]).unwrap_or_default();
        is_empty(&attachment["payload"]) && !MEDIA.contains(&kind.as_str()) && kind != UNSUPPORTED
    };
    let attachments = message["attachments"].as_array().map_or(&[][..], Vec::as_slice);
    text(&message["text"]).is_none_or(|text| text.is_empty())
        && !attachments.is_empty()
        && attachments.iter().all(names_a_post)
}

fn attachment(attachment: &Value) -> Attachment {
    let payload = &attachment["payload"];
    Attachment {
        kind: text(&attachment["type"]).unwrap_or_else(|| "unknown".to_owned()),
        url: text(&payload["url"]).or_else(|| text(&attachment["url"])),
        sticker_id: text(&payload["sticker_id"]),
    }
}

fn referral(referral: &Value) -> Option<Referral> {
    referral.is_object().then(|| Referral {
        reference: text(&referral["ref"]),
        source: text(&referral["source"]),
        kind: text(&referral["type"]),
        ad_id: text(&referral["ad_id"]),
    })
}

/// The kind of a change: `{field, value}` with something else than a messaging item.
pub(super) fn kind_of_change(change: &Value) -> Option<Kind> {
    let value = &change["value"];
    let field = change["field"].as_str().filter(|_| value.is_object())?;
    Some(match field {
        "feed" => feed(value),
        "comments" | "live_comments" => Kind::Comment(Comment {
            comment_id: text(&value["id"]),
            post_id: text(&value["media"]["id"]),
            parent_id: text(&value["parent_id"]),
            author_id: text(&value["from"]["id"]),
            author_name: text(&value["from"]["username"]),
            text: text(&value["text"]),
        }),
        "message_template_status_update" | "messenger_template_status_update" => {
            Kind::TemplateStatus(TemplateStatus {
                event: text(&value["event"]),
                name: text(&value["message_template_name"]),
                language: text(&value["message_template_language"]),
                reason: text(&value["reason"]),
            })
        }
        _ => return None,
    })
}

fn feed(value: &Value) -> Kind {
    let (item, verb) = (text(&value["item"]), text(&value["verb"]));
    let author_id = text(&value["from"]["id"]);
    let author_name = text(&value["from"]["name"]);
    let (post_id, said) = (text(&value["post_id"]), text(&value["message"]));
    match (item.as_deref(), verb.as_deref()) {
        (Some("comment"), Some("add")) => Kind::Comment(Comment {
            comment_id: text(&value["comment_id"]),
            post_id,
            parent_id: text(&value["parent_id"]),
            author_id,
            author_name,
            text: said,
        }),
        (Some(posted), Some("add")) if POSTS.contains(&posted) => {
            Kind::Post(Post { post_id, author_id, author_name, text: said })
        }
        _ => Kind::FeedChange(FeedChange { item, verb }),
    }
}
