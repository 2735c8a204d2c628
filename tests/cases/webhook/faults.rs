//! Faults of the queue.

use super::*;

#[tokio::test]
async fn entries_that_fail_in_a_batch_are_sent_again_before_what_follows_them_in_their_group() {
    let platform = platform().await;
    let items = of_people(10, 5);
    for failing in [vec![3], vec![0, 9], (0..10).collect(), vec![7, 8, 9], vec![1, 2], vec![0]] {
        platform.sqs.fail_next(Fault::Entries(failing));
    }
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    assert_in_order_in_each_group(&platform, 10, 5);
}

#[tokio::test]
async fn an_entry_that_fails_in_the_middle_of_a_notification_keeps_its_place() {
    let platform = platform().await;
    let items = numbered(10);
    for failing in [3, 0, 0, 0] {
        platform.sqs.fail_next(Fault::Entries(vec![failing]));
    }
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    assert_eq!(raws(&platform), in_json(&items));
}

#[tokio::test]
async fn a_batch_that_fails_as_a_whole_entry_by_entry_is_sent_again() {
    let platform = platform().await;
    platform.sqs.fail_next(Fault::Entries((0..10).collect()));
    assert_eq!(receive(&platform, &notification(&of_people(10, 1))).await, 200);
    assert_in_order_in_each_group(&platform, 10, 1);
    assert_eq!(platform.sqs.calls()["SendMessageBatch"], 2);
}

#[tokio::test]
async fn entries_that_fail_for_ever_are_not_called_received() {
    let platform = platform().await;
    let webhook = webhook_that_answers_within(&platform, Duration::from_millis(200));
    for _ in 0..20 {
        platform.sqs.fail_next(Fault::Entries(vec![0]));
    }
    let body = notification(&[message(PSID, "m_1", "hi")]);
    assert_eq!(webhook.handle(signed(&platform, &body)).await.status(), 500);
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn while_the_queue_is_down_nothing_is_called_received_and_nothing_is_lost() {
    let platform = platform().await;
    let body = samples::body("webhook/batch").unwrap();
    platform.sqs.set_down(true);
    let answer = invoke(&platform, signed(&platform, &body)).await;
    assert_eq!(answer, (500, "NOT_QUEUED".to_owned()));
    assert_nothing_queued(&platform);
    platform.sqs.set_down(false);
    assert_eq!(receive(&platform, &body).await, 200);
    assert_eq!(events(&platform).len(), 8);
}

#[tokio::test]
async fn what_fails_for_one_person_is_queued_for_the_others_and_at_metas_retry_for_all() {
    let platform = platform().await;
    let body = notification(&of_people(30, 2));
    platform.sqs.fail_next(Fault::Unavailable);
    assert_eq!(receive(&platform, &body).await, 500);
    assert_in_order_in_each_group(&platform, 20, 2);
    assert_eq!(receive(&platform, &body).await, 200);
    assert_in_order_in_each_group(&platform, 30, 2);
}

#[tokio::test]
async fn when_the_queues_answer_is_lost_metas_retry_doubles_nothing() {
    let platform = platform().await;
    let items = numbered(10);
    platform.sqs.fail_next(Fault::AnswerLost);
    assert_eq!(receive(&platform, &notification(&items)).await, 500);
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    assert_eq!(raws(&platform), in_json(&items));
}

#[tokio::test]
async fn when_the_queues_answer_is_lost_the_sdks_retry_doubles_nothing() {
    let platform = platform_with(|options| {
        options.variables.insert("AWS_MAX_ATTEMPTS".to_owned(), "3".to_owned());
    })
    .await;
    platform.sqs.fail_next(Fault::AnswerLost);
    assert_eq!(receive(&platform, &notification(&of_people(10, 1))).await, 200);
    assert_in_order_in_each_group(&platform, 10, 1);
    assert_eq!(platform.sqs.calls()["SendMessageBatch"], 2);
}

#[tokio::test]
async fn a_silent_queue_is_not_waited_for() {
    let platform = platform().await;
    let webhook = webhook_that_answers_within(&platform, Duration::from_millis(200));
    let request = verification("subscribe", VERIFY_TOKEN, "1");
    assert_eq!(webhook.handle(request).await.status(), 200, "the secret is at hand");
    platform.sqs.fail_next(Fault::Silence);
    let body = notification(&[message(PSID, "m_1", "hi")]);
    // Without the limit this would never end.
    let answer = tokio::time::timeout(MINUTE, webhook.handle(signed(&platform, &body))).await;
    assert_eq!(answer.expect("the limit holds").status(), 500);
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn after_a_silent_queue_metas_retry_loses_and_doubles_nothing() {
    let platform = platform().await;
    let webhook = webhook_that_answers_within(&platform, Duration::from_millis(200));
    let body = notification(&numbered(3));
    platform.sqs.fail_next(Fault::Silence);
    let mut answers = Vec::new();
    while answers.last() != Some(&200) && answers.len() < 50 {
        answers.push(webhook.handle(signed(&platform, &body)).await.status().as_u16());
    }
    assert!(answers.len() >= 2 && answers.starts_with(&[500]), "{answers:?}");
    assert_eq!(raws(&platform), in_json(&numbered(3)));
}

#[tokio::test]
async fn what_cannot_be_read_waits_at_meta_while_its_queue_is_down() {
    for body in [b"not JSON".to_vec(), samples::body("webhook/unknown-page").unwrap()] {
        let platform = platform().await;
        platform.sqs.set_down(true);
        assert_eq!(receive(&platform, &body).await, 500);
        platform.sqs.set_down(false);
        assert_eq!(receive(&platform, &body).await, 200);
        assert_eq!(reasons(&platform).len(), 1);
    }
}
