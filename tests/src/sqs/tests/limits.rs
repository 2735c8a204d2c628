//! The limits of a message and of a batch.

use super::*;

#[test]
fn a_body_and_attributes_hold_only_the_allowed_characters() {
    let service = Service::in_process();
    let attribute =
        |value: &str| json!({ "reason": { "DataType": "String", "StringValue": value } });
    for allowed in ["\t\n\r ", "\u{D7FF}\u{E000}\u{FFFD}", "\u{10000}\u{10FFFF}\u{7F}", "👋🏽"]
    {
        service.send_with(PLAIN, "MessageBody", json!(allowed)).unwrap();
        service.send_with(PLAIN, "MessageAttributes", attribute(allowed)).unwrap();
    }
    for refused in ["\0", "\u{8}", "\u{B}", "ok\u{1F}", "\u{FFFE}", "\u{FFFF}"] {
        let sent = service.send_with(PLAIN, "MessageBody", json!(refused));
        assert_eq!(sent, Err("InvalidMessageContents"), "{refused:?}");
        let sent = service.send_with(PLAIN, "MessageAttributes", attribute(refused));
        assert_eq!(sent, Err("InvalidParameterValue"), "{refused:?}");
    }
    let empty = service.send_with(PLAIN, "MessageBody", json!(""));
    assert_eq!(empty, Err("MissingParameter"));
    service.send_with(PLAIN, "MessageAttributes", attribute("")).unwrap_err();
    let number = json!({ "n": { "DataType": "Number", "StringValue": "1" } });
    service.send_with(PLAIN, "MessageAttributes", number).unwrap_err();
}

#[test]
fn a_message_has_at_most_ten_attributes_which_count_towards_its_mebibyte() {
    let service = Service::in_process();
    let send = |attributes: usize, bytes: usize| {
        let attribute = json!({ "DataType": "String", "StringValue": "x" });
        let attributes = (0..attributes).map(|i| (format!("a{i}"), attribute.clone()));
        let mut message = service.message(PLAIN, &"m".repeat(bytes));
        message["MessageAttributes"] = Value::Object(attributes.collect());
        service.call("SendMessage", &message).is_ok()
    };
    assert!(send(10, 1) && !send(11, 1));
    assert!(send(0, 1_048_576) && !send(0, 1_048_577));
    assert!(send(1, 1_048_576 - 9) && !send(1, 1_048_576 - 8));
}

#[test]
fn a_fifo_queue_requires_valid_ids() {
    let service = Service::in_process();
    let longest = "x".repeat(128);
    for name in ["MessageGroupId", "MessageDeduplicationId"] {
        for valid in ["a", r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##, &longest] {
            service.send_with(EVENTS, name, json!(valid)).unwrap();
        }
        for invalid in ["", " ", "ä", "a b", &format!("{longest}x")] {
            let sent = service.send_with(EVENTS, name, json!(invalid));
            assert_eq!(sent, Err("InvalidParameterValue"), "{name} {invalid}");
        }
        let missing = service.send_with(EVENTS, name, Value::Null);
        assert_eq!(missing, Err("MissingParameter"), "{name}");
    }
    let plain = service.send_with(PLAIN, "MessageDeduplicationId", json!("i"));
    assert_eq!(plain, Err("InvalidParameterValue"));
}

#[test]
fn a_batch_holds_ten_entries_and_one_mebibyte() {
    let service = Service::in_process();
    let batch = |count: usize, bytes: usize| service.send_batch(&vec!["m".repeat(bytes); count]);
    assert_eq!(batch(0, 1), Err("AWS.SimpleQueueService.EmptyBatchRequest"));
    assert_eq!(batch(11, 1), Err("AWS.SimpleQueueService.TooManyEntriesInBatchRequest"));
    assert_eq!(batch(10, 104_858), Err("AWS.SimpleQueueService.BatchRequestTooLong"));
    assert_eq!(batch(2, 524_288).unwrap()["Successful"].as_array().map(Vec::len), Some(2));
    assert_eq!(batch(10, 1).unwrap()["Successful"].as_array().map(Vec::len), Some(10));
    let entry = json!({ "Id": "x", "MessageBody": "m" });
    let twice = json!({ "QueueUrl": service.sqs.url(PLAIN), "Entries": [entry, entry] });
    assert_eq!(
        service.call("SendMessageBatch", &twice),
        Err("AWS.SimpleQueueService.BatchEntryIdsNotDistinct")
    );
}

#[test]
fn one_bad_entry_harms_no_other() {
    let service = Service::in_process();
    let answer = service.send_batch(&["1", "\u{FFFF}", "3"].map(str::to_owned)).unwrap();
    assert_eq!(service.stored(EVENTS), ["1", "3"]);
    let failed = &answer["Failed"][0];
    assert_eq!((&failed["Id"], &failed["SenderFault"]), (&json!("1"), &json!(true)));
    assert_eq!(failed["Code"], "InvalidMessageContents");
}

#[test]
fn what_is_received_and_which_attributes_are_named_has_limits() {
    let service = Service::in_process();
    let ask = |operation: &str, name: &str, value: Value| {
        let mut request = json!({ "QueueUrl": service.sqs.url(PLAIN) });
        request[name] = value;
        service.call(operation, &request).err()
    };
    for (name, range) in [("MaxNumberOfMessages", 1..=10), ("VisibilityTimeout", 0..=43_200)] {
        for value in [*range.start() - 1, *range.end() + 1] {
            let refusal = ask("ReceiveMessage", name, json!(value));
            assert!(refusal.is_some(), "{name} {value}");
        }
        for value in [*range.start(), *range.end()] {
            assert_eq!(ask("ReceiveMessage", name, json!(value)), None, "{name} {value}");
        }
    }
    for (name, refusal) in [("QueueArn", None), ("Age", Some("InvalidAttributeName"))] {
        assert_eq!(ask("GetQueueAttributes", "AttributeNames", json!([name])), refusal, "{name}");
    }
}

#[test]
fn what_is_received_without_a_visibility_timeout_hides_nothing() {
    let service = Service::in_process();
    for body in ["a1", "a2", "b1"] {
        service.send(EVENTS, body);
    }
    let request = json!({ "QueueUrl": service.sqs.url(EVENTS), "MaxNumberOfMessages": 10,
        "VisibilityTimeout": 0, "MessageAttributeNames": ["reason"] });
    for _ in 0..2 {
        let received = service.call("ReceiveMessage", &request).unwrap();
        assert_eq!(received["Messages"].as_array().map(Vec::len), Some(3));
    }
}
