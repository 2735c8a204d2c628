//! An alarm of the template, evaluated as `CloudWatch` does.
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html>:
//! the statistic of each period is compared with the threshold, and the alarm rings while so many periods
//! in a row breach it.

use std::ops::Range;

use simulator::template::TEXT;

use crate::template::{number, value};

/// The value of `NoEventsHours` here: the only number of an alarm that a parameter gives.
pub(super) const NO_EVENTS_HOURS: i64 = 3;

/// The names of all alarms.
pub(super) fn all() -> Vec<&'static str> {
    let lines: Vec<_> = TEXT.lines().collect();
    let is_alarm = |pair: &&[&str]| pair[1] == "    Type: AWS::CloudWatch::Alarm";
    let pairs = lines.windows(2).filter(is_alarm);
    pairs.map(|pair| pair[0].trim().trim_end_matches(':')).collect()
}

/// How long a period is, ms.
pub(super) fn period(alarm: &str) -> i64 {
    i64::try_from(number(alarm, "Period") * 1000).unwrap()
}

/// How many periods in a row must breach.
pub(super) fn in_a_row(alarm: &str) -> i64 {
    match value(alarm, "EvaluationPeriods") {
        Some("!Ref NoEventsHours") => NO_EVENTS_HOURS,
        _ => i64::try_from(number(alarm, "EvaluationPeriods")).unwrap(),
    }
}

/// When an alarm begins to ring, by the ends of its periods, if its metric has these samples, each with its
/// time; absent if it does not within this time. All times in ms since the epoch.
pub(super) fn rings(alarm: &str, samples: &[(i64, u64)], within: Range<i64>) -> Option<i64> {
    let period = period(alarm);
    let breaches = |start: i64| {
        let of_period = samples.iter().filter(|(at, _)| (start..start + period).contains(at));
        let of_period: Vec<u64> = of_period.map(|(_, value)| *value).collect();
        if of_period.is_empty() {
            return value(alarm, "TreatMissingData") == Some("breaching");
        }
        let statistic = match value(alarm, "Statistic").unwrap() {
            "Sum" => of_period.iter().sum(),
            "Maximum" => *of_period.iter().max().unwrap(),
            other => panic!("{alarm}: no statistic {other}"),
        };
        match value(alarm, "ComparisonOperator").unwrap() {
            "GreaterThanThreshold" => statistic > number(alarm, "Threshold"),
            "LessThanThreshold" => statistic < number(alarm, "Threshold"),
            other => panic!("{alarm}: no comparison {other}"),
        }
    };
    let mut row = 0;
    let first = within.start.div_euclid(period) * period;
    let mut starts = (0..).map(|number| first + number * period);
    let found = starts.by_ref().take_while(|start| start + period <= within.end).find(|start| {
        row = if breaches(*start) { row + 1 } else { 0 };
        row == in_a_row(alarm)
    });
    found.map(|start| start + period)
}
