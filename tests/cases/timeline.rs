//! The README's first command: nine days of conversations, and the README's excerpt of them.

use messenger::bot::{plain, shared};
use messenger::chat::transcript::play;
use simulator::platform::Options;
use simulator::stage::Stage;

const NINE_DAYS: &str = include_str!("../scenarios/nine-days.chat");

#[tokio::test]
async fn nine_days_of_conversations_happen_as_they_are_written_however_often() {
    for _ in 0..3 {
        let bot = Some(shared(plain(booking::reply)));
        let mut stage = Stage::new(Options { bot, ..Options::default() });
        let report = play(NINE_DAYS, &mut stage).await.unwrap();
        assert!(report.is_as_written(), "{report}");
        assert_eq!(report.accepted, NINE_DAYS);
    }
}

#[test]
fn the_excerpt_in_the_readme_is_part_of_them() {
    let readme = include_str!("../../README.md");
    let (_, excerpt) = readme.split_once("```text\n").unwrap();
    let (excerpt, _) = excerpt.split_once("```").unwrap();
    let mut lines = NINE_DAYS.lines();
    let excerpt: Vec<_> = excerpt.lines().filter(|line| !line.is_empty()).collect();
    assert!(excerpt.len() > 10);
    for wanted in excerpt {
        assert!(lines.any(|line| line == wanted), "not in the file, or not in order: {wanted}");
    }
}
