//! What the status says about AWS: what waits in the queues, and how far the follow-ups have come.

use simulator::platform::{DEAD_LETTERS, EVENTS};

use super::*;

const QUEUES: [(&str, &str); 4] = [
    ("DEAD_LETTER_QUEUE_URL", "dead-letter queue"),
    ("UNREADABLE_QUEUE_URL", "unreadable queue"),
    ("FORWARD_DEAD_LETTER_QUEUE_URL", "forward dead-letter queue"),
    ("SCHEDULE_DEAD_LETTER_QUEUE_URL", "schedule dead-letter queue"),
];

/// Calls SQS as an operator does.
async fn call(platform: &Platform, operation: &str, request: Value) {
    let answer = platform.sqs.handle(operation, request.to_string().as_bytes()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{operation} {request}");
}

/// Puts a message into the queue that a variable names.
async fn put_into(platform: &Platform, queue: &str, body: &str, reason: Option<&str>) {
    let mut message = json!({"QueueUrl": platform.environment()[queue], "MessageBody": body});
    if platform.environment()[queue].contains(".fifo") {
        message["MessageGroupId"] = "a".into();
        message["MessageDeduplicationId"] = body.into();
    }
    if let Some(reason) = reason {
        let reason = json!({"DataType": "String", "StringValue": reason});
        message["MessageAttributes"] = json!({"reason": reason});
    }
    call(platform, "AmazonSQS.SendMessage", message).await;
}

/// The status, while nothing processes what is queued.
async fn status(platform: &Platform) -> Value {
    let setup = platform.setup().unwrap();
    let deadline = platform.clock.now() + HOUR;
    setup.handle(json!({"action": "status"}), "setup", deadline).await.unwrap()
}

/// What a finding says is to be done.
fn fix_of(report: &Value, about: &str) -> String {
    let mut all = report["findings"].as_array().unwrap().iter();
    let finding = all.find(|it| it["about"] == about && it["fix"].is_string());
    finding.unwrap_or_else(|| panic!("{report:#}"))["fix"].as_str().unwrap().to_owned()
}

fn word_after<'a>(text: &'a str, option: &str) -> Option<&'a str> {
    text.split(' ').skip_while(|word| *word != option).nth(1)
}

#[tokio::test]
async fn a_queue_that_should_be_empty_is_reported_if_it_is_not() {
    for (variable, name) in QUEUES {
        let platform = platform().await;
        act(&platform, "register").await;
        assert_finds(&status(&platform).await, "ok", &format!("{name}: empty"));
        for body in ["one", "two"] {
            put_into(&platform, variable, body, None).await;
        }
        let report = status(&platform).await;
        assert_finds(&report, "warning", &format!("{name}: messages in it: about 2"));
        let warnings = findings(&report, "warning");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(fix_of(&report, name).len() > 40);
    }
}

#[tokio::test]
async fn dead_letters_are_reported_by_reason_and_go_back_by_the_command_that_is_named() {
    let platform = platform().await;
    for body in ["one", "two"] {
        put_into(&platform, "DEAD_LETTER_QUEUE_URL", body, Some("panic")).await;
    }
    put_into(&platform, "DEAD_LETTER_QUEUE_URL", "three", None).await;
    for _ in 0..2 {
        // Twice, because a sample hides nothing.
        let report = status(&platform).await;
        let reasons = "reasons in a sample of 3: without a reason 1, panic 2";
        assert_finds(&report, "note", reasons);
        assert_finds(&report, "warning", "dead-letter queue: messages in it: about 3");
    }
    let fix = fix_of(&status(&platform).await, "dead-letter queue");
    let (_, command) = fix.split_once("aws sqs start-message-move-task").unwrap();
    let task = json!({"SourceArn": word_after(command, "--source-arn"),
        "DestinationArn": word_after(command, "--destination-arn")});
    call(&platform, "AmazonSQS.StartMessageMoveTask", task).await;
    assert!(platform.sqs.is_empty(DEAD_LETTERS));
    let moved: Vec<_> = platform.sqs.messages(EVENTS).into_iter().map(|it| it.body).collect();
    assert_eq!(moved, ["one", "two", "three"]);
}

#[tokio::test]
async fn forwarded_dead_letters_go_back_by_the_command_that_is_named() {
    let platform = platform().await;
    put_into(&platform, "FORWARD_DEAD_LETTER_QUEUE_URL", "one", None).await;
    let fix = fix_of(&status(&platform).await, "forward dead-letter queue");
    assert_eq!(word_after(&fix, "--source-arn"), fix.split(' ').next_back(), "{fix}");

    let mut containers = platform.containers();
    containers.variables.remove("FORWARD_DEAD_LETTER_QUEUE_URL");
    let setup = containers.start("setup", Setup::new).unwrap();
    let request = json!({"action": "status"});
    let report = setup.handle(request, "setup", platform.clock.now() + HOUR).await.unwrap();
    assert!(!report.to_string().contains("forward dead-letter queue"), "{report:#}");
}

#[tokio::test]
async fn events_that_wait_are_counted_and_their_age_is_where_the_command_looks() {
    let platform = platform().await;
    assert_finds(&status(&platform).await, "ok", "queue of events: empty");
    for psid in [PSID, OTHER_PSID, "7000000000000003"] {
        platform.post(&platform.meta.person_says(PAGE, psid, "opening hours?")).await;
    }
    assert_eq!(platform.sqs.receive(EVENTS, 1).len(), 1);
    let report = status(&platform).await;
    let finding =
        "events waiting: about 2; being processed, or hidden until their next attempt: about 1";
    assert_finds(&report, "note", finding);
    let fix = fix_of(&report, "queue of events");
    assert_eq!(word_after(&fix, "--metric-name"), Some("ApproximateAgeOfOldestMessage"));
    assert_eq!(word_after(&fix, "--dimensions"), Some("Name=QueueName,Value=events.fifo"));
    assert_eq!(word_after(&fix, "--start-time"), Some("2026-11-22T08:45:00Z"));
    assert_eq!(word_after(&fix, "--end-time"), Some("2026-11-22T09:00:00Z"));
    assert_eq!(platform.sqs.receive(EVENTS, 10).len(), 2, "none is hidden");
}

#[tokio::test]
async fn what_cannot_be_read_hides_nothing_else() {
    let platform = platform().await;
    act(&platform, "register").await;
    put_into(&platform, "DEAD_LETTER_QUEUE_URL", "one", Some("panic")).await;
    let all = status(&platform).await;
    let page = "application default, Page 100000000000001";
    for (target, named, about, failure) in [
        ("GetQueueAttributes", "events.fifo", "queue of events", "cannot read how much waits"),
        ("GetQueueAttributes", "unreadable", "unreadable queue", "cannot read how much waits"),
        ("ReceiveMessage", "dead-letters.fifo", "dead-letter queue", "cannot read the reasons"),
        ("GetItem", "page#", page, "cannot read whether it is paused"),
        ("Query", "#people", page, "cannot read whether a message is overdue"),
    ] {
        platform
            .gate
            .refuse_each(move |call| call.target.ends_with(target) && call.body.contains(named));
        let report = status(&platform).await;
        platform.gate.spare();
        let why = "InternalServerError: the service failed";
        assert_finds(&report, "error", &format!("{about}: {failure}: "));
        assert!(report.to_string().contains(why), "{report:#}");
        for level in ["ok", "warning", "note"] {
            let left = findings(&report, level);
            for finding in findings(&all, level) {
                let is_there = left.contains(&finding) || finding.starts_with(about);
                assert!(is_there || finding.starts_with("follow-ups"), "{finding} in {report:#}");
            }
        }
    }
}

#[tokio::test]
async fn without_the_secret_the_queues_are_reported() {
    let platform = platform().await;
    put_into(&platform, "DEAD_LETTER_QUEUE_URL", "one", Some("panic")).await;
    platform.gate.refuse_each(|call| call.target.ends_with("GetSecretValue"));
    let report = status(&platform).await;
    assert_finds(&report, "error", "secret: the secret cannot be read: ");
    assert_finds(&report, "warning", "dead-letter queue: messages in it: about 1");
    assert_finds(&report, "ok", "unreadable queue: empty");
}

#[tokio::test]
async fn a_pause_is_reported_although_its_application_is_incomplete() {
    let platform = with_shop().await;
    platform.meta.kill_token(PAGE);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
    platform.put_secret(|secret| secret["app_secret"] = "".into());
    let report = status(&platform).await;
    assert_finds(&report, "error", "missing in the secret: app_secret");
    assert_finds(&report, "note", "paused (token_dead) under an older secret");
}

#[tokio::test]
async fn what_is_overdue_and_when_the_follow_ups_last_found_something_are_reported() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
    platform.advance(DAY / 2).await;
    let report = status(&platform).await;
    assert_finds(&report, "ok", "no message is overdue");
    let since = platform.clock.now();
    let message = json!({"id": "a", "page_id": PAGE, "psid": PSID, "message": "Still there?",
        "purpose": "update"});
    platform.invoke_follow_ups(message).await.unwrap();
    platform.clock.forward(6 * MINUTE);
    let report = status(&platform).await;
    assert_finds(&report, "warning", &format!("a message has been due since {since}"));

    let swept_at = platform.clock.now();
    platform.tick().await.unwrap();
    assert_eq!(delivered(&platform, PSID).last().unwrap(), "UPDATE Still there?");
    let report = status(&platform).await;
    assert_finds(&report, "ok", "no message is overdue");
    assert_finds(
        &report,
        "ok",
        &format!("follow-ups: a run found something to send at {swept_at}"),
    );
    // Later runs find nothing, and write nothing.
    platform.clock.forward(HOUR);
    platform.aws.take_calls();
    platform.tick().await.unwrap();
    assert!(platform.aws.take_calls().iter().all(|call| call.writes == 0.0));
    let report = status(&platform).await;
    let last = format!("the last run that found something to send was at {swept_at}");
    assert_finds(&report, "note", &last);
}
