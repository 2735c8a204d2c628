//! The README's first command: its timeline, and the README's excerpt of it.

use crate::support::*;

async fn timeline() -> (String, Vec<String>) {
    let mut timeline = Vec::new();
    let platform = platform().await;
    let differences = simulator::scenario::play(&platform, &mut timeline).await.unwrap();
    (String::from_utf8(timeline).unwrap(), differences)
}

#[tokio::test]
async fn nine_days_of_conversations_meet_every_expectation() {
    let (timeline, differences) = timeline().await;
    assert_eq!(differences, Vec::<String>::new());
    insta::assert_snapshot!("timeline", timeline);
}

#[tokio::test]
async fn the_timeline_is_in_the_order_of_its_clock() {
    let (timeline, _) = timeline().await;
    let times: Vec<_> = timeline.lines().filter_map(time).collect();
    assert!(times.len() > 30, "{timeline}");
    assert!(times.is_sorted(), "{timeline}");
}

#[tokio::test]
async fn the_excerpt_in_the_readme_is_part_of_the_timeline() {
    let (timeline, _) = timeline().await;
    let readme = include_str!("../../README.md");
    let (_, excerpt) = readme.split_once("```text\n").unwrap();
    let (excerpt, _) = excerpt.split_once("```").unwrap();
    let mut lines = timeline.lines();
    let excerpt: Vec<_> = excerpt.lines().filter(|line| !line.is_empty()).collect();
    assert!(excerpt.len() > 10);
    for wanted in excerpt {
        assert!(lines.any(|line| line == wanted), "not in the timeline, or not in order: {wanted}");
    }
}

/// A line's day and time, such as `11-22 09:00`.
fn time(line: &str) -> Option<&str> {
    line.strip_prefix("  ")?.get(..11).filter(|time| time.as_bytes()[8] == b':')
}
