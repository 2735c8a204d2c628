//! Parses a notification's item into an [`Event`].

use serde_json::Value;

use super::json::{flag, number, text, tolerant};
use super::{
    Attachment, Delivery, Echo, Edit, Event, Handover, Kind, Message, OptIn, Platform, Postback,
    Reaction, Read, Referral, digest,
};
use crate::clock::Timestamp;
use crate::person::Person;

/// The fields that do not identify the kind of an item.
const COMMON_FIELDS: [&str; 6] =
    ["sender", "recipient", "timestamp", "prior_message", "hop_context", "is_instagram"];

/// Where an event was found: what surrounds its JSON.
pub(super) struct Place<'a> {
    pub(super) object: &'a str,
    pub(super) page_id: &'a str,
    pub(super) container: &'a str,
    pub(super) received_at: Timestamp,
    pub(super) entry_time: Option<i64>,
}

impl Event {
    /// Reads an event from its JSON; its id is derived from that unless it is known.
    pub(super) fn read(place: &Place<'_>, raw: &str, id: Option<String>) -> Self {
        let item = tolerant(raw);
        let kind = kind(&item, place.container);
        Self {
            id: id.unwrap_or_else(|| derive_id(place, &kind, raw)),
            object: place.object.to_owned(),
            page_id: place.page_id.to_owned(),
            platform: match place.object {
                "instagram" => Platform::Instagram,
                _ => Platform::Messenger,
            },
            container: place.container.to_owned(),
            person: person(&item, place.page_id),
            at: time(&item, place),
            received_at: place.received_at,
            entry_time: place.entry_time,
            truncated: false,
            kind,
            raw: raw.to_owned(),
        }
    }
}

fn derive_id(place: &Place<'_>, kind: &Kind, raw: &str) -> String {
    match kind.own_mid() {
        Some(mid) => digest(&[place.page_id, place.container, kind.name(), mid]),
        None => digest(&[place.page_id, place.container, "", raw]),
    }
}

/// When it happened, but never later than its receipt: a time in the future would keep a window open
/// for too long, and the margin at a window's edge allows for differing clocks only.
fn time(item: &Value, place: &Place<'_>) -> Option<Timestamp> {
    let stated = number(&item["timestamp"])
        .or_else(|| number(&item["value"]["created_time"]))
        .or(place.entry_time)?;
    Some(Timestamp::from_seconds_or_millis(stated).min(place.received_at))
}

fn person(item: &Value, page_id: &str) -> Option<Person> {
    let psid = |id: &Value| {
        let id = text(id).filter(|id| id != page_id)?;
        Person::psid(id).ok()
    };
    let user_ref = |of: &Value| Person::user_ref(text(&of["user_ref"])?).ok();
    let other = |end: &Value| psid(&end["id"]).or_else(|| user_ref(end));
    let value = &item["value"];
    other(&item["sender"])
        .or_else(|| other(&item["recipient"]))
        .or_else(|| user_ref(&item["optin"]))
        .or_else(|| psid(&item["from"]))
        .or_else(|| psid(&item["to"]))
        .or_else(|| Person::comment(text(&value["comment_id"])?).ok())
        .or_else(|| Person::post(text(&value["post_id"])?).ok())
        .or_else(|| other(&value["sender"]))
        .or_else(|| other(&value["user"]))
}

fn kind(item: &Value, container: &str) -> Kind {
    let has = |field: &str| item[field].is_object();
    if !matches!(container, "messaging" | "standby") {
        let field = text(&item["field"]).or_else(|| text(&item["event"]));
        return Kind::Unknown { name: field.unwrap_or_else(|| container.to_owned()) };
    }
    if has("message") {
        let message = &item["message"];
        if flag(&message["is_echo"]) {
            Kind::Echo(echo(message))
        } else {
            Kind::Message(self::message(message))
        }
    } else if has("message_edit") {
        let edit = &item["message_edit"];
        Kind::Edit(Edit {
            mid: text(&edit["mid"]),
            text: text(&edit["text"]),
            num_edit: number(&edit["num_edit"]),
        })
    } else if has("reaction") {
        let reaction = &item["reaction"];
        Kind::Reaction(Reaction {
            mid: text(&reaction["mid"]),
            is_unreact: text(&reaction["action"]).as_deref() != Some("react"),
            reaction: text(&reaction["reaction"]),
            emoji: text(&reaction["emoji"]),
        })
    } else if has("postback") {
        let postback = &item["postback"];
        Kind::Postback(Postback {
            mid: text(&postback["mid"]),
            title: text(&postback["title"]),
            payload: text(&postback["payload"]),
            referral: referral(&postback["referral"]),
        })
    } else if has("optin") {
        let optin = &item["optin"];
        Kind::OptIn(OptIn {
            kind: text(&optin["type"]),
            payload: text(&optin["payload"]),
            reference: text(&optin["ref"]),
            user_ref: text(&optin["user_ref"]),
        })
    } else if has("delivery") {
        let delivery = &item["delivery"];
        Kind::Delivery(Delivery {
            mids: delivery["mids"].as_array().into_iter().flatten().filter_map(text).collect(),
            watermark: number(&delivery["watermark"]).map(Timestamp::from_seconds_or_millis),
        })
    } else if has("read") {
        let read = &item["read"];
        Kind::Read(Read {
            mid: text(&read["mid"]),
            watermark: number(&read["watermark"]).map(Timestamp::from_seconds_or_millis),
        })
    } else if has("pass_thread_control") {
        Kind::Handover(Handover::Pass {
            to: text(&item["pass_thread_control"]["new_owner_app_id"]),
        })
    } else if has("take_thread_control") {
        Kind::Handover(Handover::Take {
            to: text(&item["take_thread_control"]["new_owner_app_id"]),
        })
    } else if has("request_thread_control") {
        let by = text(&item["request_thread_control"]["requested_owner_app_id"]);
        Kind::Handover(Handover::Request { by })
    } else if has("app_roles") {
        Kind::Handover(Handover::Roles)
    } else if let Some(referral) = referral(&item["referral"]) {
        Kind::Referral(referral)
    } else if has("messaging_feedback") {
        Kind::Feedback
    } else {
        let mut fields = item.as_object().into_iter().flat_map(|fields| fields.keys());
        let name = fields.find(|field| !COMMON_FIELDS.contains(&field.as_str()));
        Kind::Unknown { name: name.map_or_else(|| container.to_owned(), Clone::clone) }
    }
}

fn message(message: &Value) -> Message {
    Message {
        mid: text(&message["mid"]),
        text: text(&message["text"]),
        quick_reply: text(&message["quick_reply"]["payload"]),
        attachments: message["attachments"]
            .as_array()
            .into_iter()
            .flatten()
            .map(attachment)
            .collect(),
        reply_to: text(&message["reply_to"]["mid"]),
        referral: referral(&message["referral"]),
        is_deleted: flag(&message["is_deleted"]),
    }
}

fn attachment(attachment: &Value) -> Attachment {
    let payload = &attachment["payload"];
    Attachment {
        kind: text(&attachment["type"]).unwrap_or_else(|| "unknown".to_owned()),
        url: text(&payload["url"]).or_else(|| text(&attachment["url"])),
        sticker_id: text(&payload["sticker_id"]),
    }
}

fn echo(message: &Value) -> Echo {
    Echo {
        mid: text(&message["mid"]),
        app_id: text(&message["app_id"]),
        metadata: text(&message["metadata"]),
        text: text(&message["text"]),
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
