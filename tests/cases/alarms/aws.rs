//! The alarms on metrics of AWS, and what all alarms have in common.

use backend::telemetry::Metric;
use simulator::platform::{
    DEAD_LETTERS, EVENTS, FORWARD_DEAD_LETTERS, SCHEDULE_DEAD_LETTERS, UNREADABLE,
};
use strum::VariantArray;

use super::*;

/// The metrics of AWS that alarms watch: namespace, name, dimension, and the resource that it names.
///
/// Sources: <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>,
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>,
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html>
const OF_AWS: [(&str, &str, &str, &str); 7] = [
    ("AWS/Lambda", "Errors", "FunctionName", "AWS::Serverless::Function"),
    ("AWS/Lambda", "Throttles", "FunctionName", "AWS::Serverless::Function"),
    ("AWS/Lambda", "Invocations", "FunctionName", "AWS::Serverless::Function"),
    ("AWS/ApiGateway", "5xx", "ApiId", "Api"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "AWS::SQS::Queue"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "AWS::SQS::Queue"),
    ("AWS/DynamoDB", "WriteThrottleEvents", "TableName", "AWS::DynamoDB::Table"),
];

#[test]
fn each_alarm_watches_a_metric_that_there_is() {
    for alarm in all() {
        let of = |key| value(alarm, key).unwrap_or_else(|| panic!("{alarm} has no {key}"));
        let (namespace, metric, dimensions) = (of("Namespace"), of("MetricName"), of("Dimensions"));
        if namespace == NAMESPACE {
            let is_ours = Metric::VARIANTS.iter().any(|ours| ours.name() == metric);
            assert!(is_ours, "{alarm}: nothing counts {metric}");
            assert_eq!(dimensions, r#"[{Name: stack, Value: !Ref "AWS::StackName"}]"#, "{alarm}");
            continue;
        }
        let known = OF_AWS.iter().find(|row| (row.0, row.1) == (namespace, metric));
        let (_, _, name, kind) = known.unwrap_or_else(|| panic!("{alarm}: {namespace} {metric}"));
        assert!(dimensions.starts_with(&format!("[{{Name: {name}, Value: ")), "{alarm}");
        let named = dimensions.rsplit(['[', ' ']).find(|word| word.ends_with("}]")).unwrap();
        let resource = named.trim_end_matches("}]").split('.').next().unwrap();
        // The table may be one that the stack did not make.
        if *kind != "AWS::DynamoDB::Table" {
            let is_of = value(resource, "Type").unwrap();
            assert!(is_of.ends_with(kind), "{alarm}: {resource} is {is_of}");
        }
    }
}

/// Of a metric's samples, what breaches, for so many periods.
fn breaching(alarm: &str, periods: i64) -> Vec<(i64, u64)> {
    let (period, threshold) = (period(alarm), number(alarm, "Threshold"));
    match value(alarm, "ComparisonOperator").unwrap() {
        "GreaterThanThreshold" => {
            (0..periods).map(|number| (number * period, threshold + 1)).collect()
        }
        // As much as is wanted in every other period: too little is that there is none.
        _ => (periods..periods + 10).map(|number| (number * period, threshold)).collect(),
    }
}

/// The states that last until somebody acts: what lies in a queue, and what does not come.
fn lasts(alarm: &str) -> bool {
    value(alarm, "TreatMissingData") == Some("breaching")
}

#[test]
fn each_alarm_rings_after_so_many_periods_not_sooner_and_not_for_ever() {
    let alarms = all();
    assert!(alarms.len() >= 27, "{alarms:?}");
    for alarm in alarms {
        let (period, wanted) = (period(alarm), in_a_row(alarm));
        let rung = |periods| rings(alarm, &breaching(alarm, periods), 0..(wanted + 4) * period);
        assert_eq!(rung(wanted), Some(wanted * period), "{alarm}");
        assert_eq!(rung(wanted - 1), None, "{alarm}");
        if !lasts(alarm) {
            let once = &breaching(alarm, wanted);
            let later = (wanted + 1) * period..(wanted + 10) * period;
            assert_eq!(rings(alarm, once, later), None, "{alarm} rings on");
        }
    }
}

#[tokio::test]
async fn a_webhook_or_an_api_that_answers_with_5xx_rings() {
    let platform = answering().await;
    platform.gate.refuse_each(|call| call.target.contains("SQS"));
    assert_eq!(platform.post(&platform.meta.person_says(PAGE, PSID, "hi")).await, 500);
    platform.gate.refuse_each(|call| call.target.starts_with("DynamoDB"));
    let wanted = json!({"page_id": PAGE, "psid": PSID, "message": "hi", "purpose": "update"});
    let (status, _) = crate::api::post_to(&platform, "/messages", &wanted).await;
    assert_eq!(status, 503);
    for alarm in ["WebhookRefusalsAlarm", "ApiRefusalsAlarm"] {
        assert!(would_ring(&platform, alarm, 1) && !would_ring(&platform, alarm, 0), "{alarm}");
    }
}

#[tokio::test]
async fn what_lies_in_a_queue_of_its_own_rings() {
    let platform = answering().await;
    for (alarm, queue) in [
        ("UnreadableAlarm", UNREADABLE),
        ("DeadLettersAlarm", DEAD_LETTERS),
        ("ForwardDeadLettersAlarm", FORWARD_DEAD_LETTERS),
        ("ScheduleDeadLettersAlarm", SCHEDULE_DEAD_LETTERS),
    ] {
        let lying = platform.sqs.messages(queue).len() as u64;
        assert!(!would_ring(&platform, alarm, lying), "{alarm} rings about nothing");
        assert!(would_ring(&platform, alarm, lying + 1), "{alarm}");
    }
    assert_eq!(platform.post(b"{").await, 200);
    assert_eq!(platform.sqs.messages(UNREADABLE).len(), 1);
}

#[tokio::test]
async fn events_that_nobody_processes_ring_by_their_age() {
    let platform = answering().await;
    platform.post(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let age = |platform: &Platform| {
        let oldest = platform.sqs.messages(EVENTS)[0].sent_at_ms;
        let now = platform.clock.now().millis();
        u64::try_from((now - oldest) / 1000).unwrap()
    };
    for (minutes, expected) in [(14, false), (2, true)] {
        platform.clock.forward(minutes * MINUTE);
        assert_eq!(would_ring(&platform, "EventsAgeAlarm", age(&platform)), expected);
    }
}

/// An invocation that fails is one of Lambda's `Errors`.
#[tokio::test]
async fn a_function_that_fails_rings() {
    let platform = answering().await;
    platform.gate.refuse_each(|call| call.target.starts_with("DynamoDB"));
    assert!(platform.tick().await.is_err(), "a run that serves nobody");
    platform.gate.spare();
    platform.secrets_manager.set_down(true);
    assert!(platform.invoke_setup(json!({"action": "renew-tokens"})).await.is_err());
    for alarm in [
        "FollowUpsErrorsAlarm",
        "SetupErrorsAlarm",
        "WebhookErrorsAlarm",
        "EventProcessorErrorsAlarm",
        "ForwardErrorsAlarm",
    ] {
        assert!(would_ring(&platform, alarm, 1) && !would_ring(&platform, alarm, 0), "{alarm}");
    }
}
