//! What Meta reports about messages and Pages: receipts, policy enforcement, the review of templates.

use backend::outbox::OutboxError;
use backend::store::{ConversationKey, Receipt};
use backend::telemetry::Metric;
use messenger::event::{Event, Kind, TemplateStatus};

use crate::{Processor, RecordError};

impl Processor {
    /// Notes until when the person has received or read the Page's messages, if receipts are tracked.
    pub(crate) async fn record_receipt(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
    ) -> Result<(), RecordError> {
        if !self.tracks_receipts || event.by_page {
            return Ok(());
        }
        let until = |watermark: Option<_>| watermark.unwrap_or(event.received_at);
        let (receipt, until) = match &event.kind {
            Kind::Delivery(delivery) => {
                (Receipt::Delivered, until(delivery.watermark.or(event.at)))
            }
            Kind::Read(read) => (Receipt::Read, until(read.watermark.or(event.at))),
            _ => return Ok(()),
        };
        let until = until.min(event.received_at);
        let store = self.outbox.store();
        let recorded = store.record_receipt(conversation_key, receipt, until).await;
        Ok(recorded.map_err(OutboxError::from)?)
    }

    /// Notes what Meta did about a Page's breach of its policies, for the status report.
    pub(crate) async fn record_policy(&self, event: &Event) -> Result<(), RecordError> {
        let Kind::PolicyEnforcement(policy) = &event.kind else { return Ok(()) };
        let Some(action) = policy.action.as_deref() else { return Ok(()) };
        let (store, at) = (self.outbox.store(), event.happened_at());
        let noted = store.note_policy(&event.page_id, action, policy.reason.as_deref(), at).await;
        Ok(noted.map_err(OutboxError::from)?)
    }

    /// Counts what somebody has to know: a Page that Meta warned or blocked, a template that can no longer
    /// be sent.
    pub(crate) fn count(&self, event: &Event) {
        let (metric, what) = match &event.kind {
            Kind::PolicyEnforcement(policy) if policy.action.as_deref() != Some("unblock") => {
                (Metric::PolicyEnforced, &policy.action)
            }
            Kind::TemplateStatus(template)
                if !TemplateStatus::is_sound(template.event.as_deref().unwrap_or_default()) =>
            {
                (Metric::TemplateUnusable, &template.event)
            }
            _ => return,
        };
        let what = what.as_deref().unwrap_or_default();
        tracing::warn!(page = event.page_id, kind = event.kind_name(), what, "Meta restricts");
        self.telemetry.count(metric, event.page_id.as_str(), &[("what", what)]);
    }
}
