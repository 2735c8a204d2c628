//! Commands that a report names: they are for a shell, and can be pasted as they are.

use std::time::Duration;

use messenger::clock::Timestamp;

/// How far back a command looks that shows a metric.
const SPAN: Duration = Duration::from_mins(15);

/// Shows what `CloudWatch` knows of a metric, minute by minute.
pub(crate) fn show_metric(
    namespace: &str,
    metric: &str,
    (dimension, value): (&str, &str),
    statistic: &str,
    now: Timestamp,
) -> String {
    let from = now - SPAN;
    format!(
        "aws cloudwatch get-metric-statistics --namespace {namespace} --metric-name {metric} --dimensions Name={dimension},Value={value} --start-time {from} --end-time {now} --period 60 --statistics {statistic}"
    )
}

/// Moves the messages of a dead-letter queue back to where SQS moved them from.
pub(crate) fn redrive(source_arn: &str) -> String {
    format!("aws sqs start-message-move-task --source-arn {source_arn}")
}
