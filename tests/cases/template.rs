//! What `template.yaml` deploys is what the local platform runs, what the functions do by default, and
//! what the documents say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backend::erasure::SECOND_PASS_AFTER;
use backend::outbox::OutboxSettings;
use backend::settings::Variables;
use backend::store::ERASED_FOR;
use follow_ups::FollowUpsSettings;
use simulator::platform::{
    API_TIMEOUT, EVENT_RECEIVES, FORWARD_RECEIVES, FORWARD_TIMEOUT, PROCESSOR_TIMEOUT,
    QUEUE_RETENTION, SCHEDULE_RETENTION, SETUP_TIMEOUT, SWEEP_TIMEOUT,
};
use simulator::template::{is_given, may_have};

/// The lines of a parameter or resource of the template.
fn block(name: &str) -> Vec<&'static str> {
    let mut lines = simulator::template::TEXT.lines();
    assert!(lines.any(|line| line == format!("  {name}:")), "{name} is not in the template");
    lines.take_while(|line| line.is_empty() || line.starts_with("   ")).collect()
}

/// A value of a parameter or resource.
pub(crate) fn value(name: &str, key: &str) -> Option<&'static str> {
    let key = format!("{key}: ");
    let found = block(name).into_iter().find_map(|line| line.trim().strip_prefix(&*key));
    found.map(|value| value.trim_matches('"'))
}

pub(crate) fn number(name: &str, key: &str) -> u64 {
    let value = value(name, key).unwrap_or_else(|| panic!("{name} has no {key}"));
    value.parse().unwrap_or_else(|_| panic!("{key} of {name} is no number"))
}

/// cargo-lambda builds releases that abort unless the workspace says otherwise, and the event processor refuses that.
#[test]
fn a_release_build_lets_a_panic_end_one_event_only() {
    let manifest = include_str!("../../Cargo.toml");
    let release = manifest.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(release.lines().any(|line| line == "panic = \"unwind\""), "{release}");
}

#[test]
fn the_platform_runs_with_the_times_and_limits_of_the_template() {
    for (function, timeout) in [
        ("EventProcessorFunction", PROCESSOR_TIMEOUT),
        ("FollowUpsFunction", SWEEP_TIMEOUT),
        ("ApiFunction", API_TIMEOUT),
        ("ForwardFunction", FORWARD_TIMEOUT),
        ("SetupFunction", SETUP_TIMEOUT),
    ] {
        assert_eq!(number(function, "Timeout"), timeout.as_secs(), "{function}");
    }
    for (queue, timeout, receives) in [
        ("EventsQueue", PROCESSOR_TIMEOUT, EVENT_RECEIVES),
        ("ForwardQueue", FORWARD_TIMEOUT, FORWARD_RECEIVES),
    ] {
        assert_eq!(number(queue, "VisibilityTimeout"), 6 * timeout.as_secs(), "{queue}");
        assert_eq!(number(queue, "maxReceiveCount"), u64::from(receives), "{queue}");
    }
    for queue in [
        "EventsQueue",
        "DeadLetterQueue",
        "UnreadableQueue",
        "ForwardQueue",
        "ForwardDeadLetterQueue",
    ] {
        assert_eq!(number(queue, "MessageRetentionPeriod"), QUEUE_RETENTION.as_secs(), "{queue}");
    }
    let kept = number("ScheduleDeadLetterQueue", "MessageRetentionPeriod");
    assert_eq!(kept, SCHEDULE_RETENTION.as_secs());
}

#[test]
fn whoever_writes_about_an_erased_person_has_ended_before_the_second_pass() {
    for timeout in [PROCESSOR_TIMEOUT, SWEEP_TIMEOUT, API_TIMEOUT, SETUP_TIMEOUT] {
        assert!(timeout + Duration::from_mins(1) <= SECOND_PASS_AFTER);
    }
    assert!(ERASED_FOR > 3 * QUEUE_RETENTION, "queued, a dead letter, and redriven");
}

#[test]
fn the_functions_default_to_what_the_template_does() {
    let vars = Variables::from_lookup(|name| name.ends_with("_URL").then(|| "url".to_owned()));
    let outbox = OutboxSettings::new(&vars);
    let follow_ups = FollowUpsSettings::new(&vars);
    for (parameter, unit, default) in [
        ("SafetyMarginSeconds", 1, outbox.policy.margin),
        ("EchoGraceSeconds", 1, outbox.echo_grace),
        ("RetentionDays", 24 * 60 * 60, outbox.retention),
        ("QuietHours", 60 * 60, outbox.quiet_for),
    ] {
        let deployed = Duration::from_secs(unit * number(parameter, "Default"));
        assert_eq!(deployed, default, "{parameter}");
    }
    for (parameter, default) in
        [("SendRatePerSecond", follow_ups.rate), ("MediaRatePerSecond", follow_ups.media_rate)]
    {
        assert_eq!(number(parameter, "Default"), u64::from(default), "{parameter}");
    }
}

#[test]
fn each_setting_that_is_documented_is_a_parameter_with_that_default_and_range() {
    let mut compared = 0;
    for row in rows_under("Template parameter") {
        let [_, _, default, parameter, _] = &row[..] else { panic!("{row:?}") };
        let Some(parameter) = in_backquotes(parameter) else { continue };
        compared += 1;
        let Some(default) = default.split(' ').next().filter(|text| !text.is_empty()) else {
            assert_eq!(value(parameter, "Default"), Some(""), "{parameter}");
            continue;
        };
        if default != "mandatory" {
            let default = in_backquotes(default).unwrap_or(default);
            assert_eq!(value(parameter, "Default"), Some(default), "{parameter}");
        }
        if let Some((_, range)) = row[2].split_once('(') {
            let (least, most) = range.trim_end_matches(')').split_once(" to ").unwrap();
            assert_eq!(value(parameter, "MinValue"), Some(least), "{parameter}");
            assert_eq!(value(parameter, "MaxValue"), Some(most), "{parameter}");
        }
    }
    assert!(compared >= 10, "{compared} settings with a parameter are documented");
}

/// The letters by which `shared/README.md` names the functions.
const LETTERS: [(&str, &str); 6] = [
    ("W", "webhook"),
    ("E", "event-processor"),
    ("F", "follow-ups"),
    ("P", "forward"),
    ("S", "setup"),
    ("A", "api"),
];

#[test]
fn each_variable_goes_to_the_functions_that_the_documents_name() {
    let mut compared = 0;
    for row in rows_under("Template parameter") {
        let Some(variable) = in_backquotes(&row[0]).filter(|name| is_given(name)) else { continue };
        compared += 1;
        let named: Vec<_> = row[1].split(' ').collect();
        for (letter, program) in LETTERS {
            let expected = named.contains(&letter);
            assert_eq!(may_have(program, variable), expected, "{variable} of {program}");
        }
    }
    assert!(compared >= 25, "{compared} variables of the template are documented");
}

/// Lambda's own filter takes a metric's line, which has no level, for INFO.
#[test]
fn no_log_level_drops_the_metrics() {
    let own = value("Function", "ApplicationLogLevel").unwrap();
    assert_eq!(own, "!If [LogsDebug, DEBUG, INFO]");
    assert_eq!(value("Function", "RUST_LOG"), Some("!Ref LogLevel"));
}

/// The rows of every table that has a column of this name.
fn rows_under(column: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for text in documents() {
        let mut lines = text.lines();
        while lines.any(|line| line.starts_with('|') && line.contains(column)) {
            let table = lines.by_ref().skip(1).take_while(|line| line.starts_with('|'));
            rows.extend(table.map(|row| {
                let cells = row.trim_matches('|').split('|');
                cells.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
            }));
        }
    }
    rows
}

fn in_backquotes(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

/// The text of every README.
fn documents() -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders =
        vec![root.clone(), root.join("shared"), root.join("tests"), root.join("events")];
    folders.extend(root.join("functions").read_dir().unwrap().map(|entry| entry.unwrap().path()));
    let read = |folder: &PathBuf| std::fs::read_to_string(Path::join(folder, "README.md")).ok();
    folders.iter().filter_map(read).collect()
}
