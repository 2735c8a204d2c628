//! The functions are invoked: by Meta, by their queues, by the schedule and by callers.

use std::collections::HashMap;
use std::sync::PoisonError;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use backend::signature::{SIGNATURE_HEADER, sign};
use lambda_http::http::{Method, Request};
use lambda_http::{Body, Response};
use messenger::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use super::options::INSTAGRAM_KEY;
use super::{
    API_TIMEOUT, EVENTS, FORWARD, FORWARD_TIMEOUT, PROCESSOR_TIMEOUT, Platform, SWEEP_TIMEOUT,
};
use crate::outgoing;
use crate::samples;
use crate::sqs::{MessageAttribute, Received};

impl Platform {
    /// Invokes the webhook function.
    pub async fn invoke_webhook(&self, request: lambda_http::Request) -> Response<Body> {
        self.functions.webhook.handle(request).await
    }

    /// Invokes the API function.
    pub async fn invoke_api(&self, request: &lambda_http::Request) -> Response<Body> {
        let deadline = self.clock.now() + API_TIMEOUT;
        Box::pin(self.functions.api.handle(request, &self.invocation("api"), deadline)).await
    }

    /// Posts a notification with a signature that is not Meta's: the answer's status.
    pub async fn post_forged(&self, body: &[u8]) -> u16 {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.webhook_path(&self.meta.app_notified_by(body)))
            .header(SIGNATURE_HEADER, sign(body, &"not the app secret".into()))
            .body(Body::Binary(body.to_vec()));
        match request {
            Ok(request) => self.functions.webhook.handle(request).await.status().as_u16(),
            Err(_) => 400,
        }
    }

    /// Posts a notification, signed as Meta does: the answer's status, 500 if the function dies, 504 if
    /// another program's webhook gives no answer.
    pub async fn post(&self, body: &[u8]) -> u16 {
        self.meta.observe(body);
        if let Some(url) = &self.options.webhook {
            return outgoing::notify(url, &self.meta.sign(body), body).await;
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.webhook_path(&self.meta.app_notified_by(body)))
            .header(SIGNATURE_HEADER, self.meta.sign(body))
            .body(Body::Binary(body.to_vec()));
        match request {
            Ok(request) => tokio::select! {
                answer = self.functions.webhook.handle(request) => answer.status().as_u16(),
                () = self.gate.crashed() => 500,
            },
            Err(_) => 400,
        }
    }

    /// Where an app's notifications go.
    fn webhook_path(&self, app_id: &str) -> String {
        if app_id == samples::INSTAGRAM_APP_ID {
            return format!("/{INSTAGRAM_KEY}/webhook");
        }
        let mut applications = self.options.applications.iter();
        let application = applications.find(|application| application.app_id == app_id);
        application
            .map_or("/webhook".to_owned(), |application| format!("/{}/webhook", application.key))
    }

    /// Posts a notification and lets everything that follows from it happen now.
    pub async fn deliver(&self, body: &[u8]) -> u16 {
        let status = self.post(body).await;
        Box::pin(self.settle()).await;
        status
    }

    /// Invokes the event processor with a batch, under the present time: the ids of the messages
    /// that are to be delivered again, all of them if it dies.
    pub async fn invoke_processor(&self, batch: SqsEvent) -> Vec<String> {
        let all = batch.records.iter().filter_map(|message| message.message_id.clone()).collect();
        let deadline = self.clock.now() + PROCESSOR_TIMEOUT;
        let invocation = self.invocation("processor");
        tokio::select! {
            answer = self.functions.processor.handle(batch, &invocation, deadline) => {
                let failures = answer.batch_item_failures.into_iter();
                failures.map(|failure| failure.item_identifier).collect()
            }
            () = self.gate.crashed() => all,
        }
    }

    /// Invokes the follow-ups function as the schedule does, with little time: until `deadline`.
    ///
    /// # Errors
    /// What the function answers with.
    pub async fn sweep_until(&self, deadline: Timestamp) -> Result<Value, String> {
        let invocation = self.invocation("follow-ups");
        let tick = json!({"source": "schedule"});
        let answer = Box::pin(self.functions.follow_ups.handle(tick, &invocation, deadline)).await;
        answer.map_err(|error| error.to_string())
    }

    /// Invokes the follow-ups function.
    ///
    /// # Errors
    /// What the function answers with, or that it died.
    pub async fn invoke_follow_ups(&self, payload: Value) -> Result<Value, String> {
        let deadline = self.clock.now() + SWEEP_TIMEOUT;
        let invocation = self.invocation("follow-ups");
        let answer = tokio::select! {
            answer = Box::pin(self.functions.follow_ups.handle(payload, &invocation, deadline)) => {
                answer.map_err(|error| error.to_string())
            }
            () = self.gate.crashed() => Err("the function died".to_owned()),
        };
        Box::pin(self.settle()).await;
        answer
    }

    /// Invokes the follow-ups function as the schedule does.
    ///
    /// # Errors
    /// What the function answers with.
    pub async fn tick(&self) -> Result<Value, String> {
        self.invoke_follow_ups(json!({"source": "schedule"})).await
    }

    /// Lets everything happen that can happen at this instant: Meta's webhooks and the queue.
    pub async fn settle(&self) {
        loop {
            let webhooks = self.meta.pending_webhooks();
            let received = self.sqs.receive(EVENTS, 10);
            let forwards = self.sqs.receive(FORWARD, 10);
            if webhooks.is_empty() && received.is_empty() && forwards.is_empty() {
                return;
            }
            for body in webhooks {
                self.post(&body).await;
            }
            if !received.is_empty() {
                self.process(received).await;
            }
            if !forwards.is_empty() {
                self.forward(forwards).await;
            }
        }
    }

    async fn process(&self, received: Vec<Received>) {
        let failed = self.invoke_processor(batch(&received)).await;
        for message in received.iter().filter(|message| !failed.contains(&message.message_id)) {
            self.sqs.delete(EVENTS, &message.receipt_handle);
        }
    }

    /// Invokes the forwarder with a batch, under the present time: the ids of the messages that stay,
    /// all of them if it dies or is not there.
    pub async fn invoke_forwarder(&self, batch: SqsEvent) -> Vec<String> {
        let all = batch.records.iter().filter_map(|message| message.message_id.clone()).collect();
        let Some(forwarder) = &self.functions.forwarder else {
            return all;
        };
        tokio::select! {
            answer = forwarder.handle(batch, self.clock.now() + FORWARD_TIMEOUT) => {
                let failures = answer.batch_item_failures.into_iter();
                failures.map(|failure| failure.item_identifier).collect()
            }
            () = self.gate.crashed() => all,
        }
    }

    async fn forward(&self, received: Vec<Received>) {
        let failed = self.invoke_forwarder(batch(&received)).await;
        for message in received.iter().filter(|message| !failed.contains(&message.message_id)) {
            self.sqs.delete(FORWARD, &message.receipt_handle);
        }
    }

    fn invocation(&self, function: &str) -> String {
        let mut count = self.invocations.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        format!("{function}-{count}")
    }
}

/// What Lambda's poller makes of received messages.
pub fn batch(received: &[Received]) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = received.iter().map(record).collect();
    event
}

fn record(message: &Received) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(message.message_id.clone());
    record.receipt_handle = Some(message.receipt_handle.clone());
    record.body = Some(message.body.clone());
    record.event_source = Some("aws:sqs".to_owned());
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    record.attributes = HashMap::from([
        ("ApproximateReceiveCount".to_owned(), message.receive_count.to_string()),
        ("SentTimestamp".to_owned(), message.sent_at_ms.to_string()),
        ("MessageGroupId".to_owned(), optional(&message.group_id)),
        ("MessageDeduplicationId".to_owned(), optional(&message.deduplication_id)),
        ("SequenceNumber".to_owned(), optional(&message.sequence_number)),
    ]);
    let attribute = |(name, value): (&String, &MessageAttribute)| {
        let mut attribute = SqsMessageAttribute::default();
        attribute.data_type = Some("String".to_owned());
        attribute.string_value = Some(value.value.clone());
        (name.clone(), attribute)
    };
    record.message_attributes = message.attributes.iter().map(attribute).collect();
    record
}
