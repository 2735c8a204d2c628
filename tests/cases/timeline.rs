//! The README's first command.

use crate::support::*;

#[tokio::test]
async fn the_conversation_of_nine_days_comes_out_as_it_must() {
    let platform = platform().await;
    let mut timeline = Vec::new();
    let differences = simulator::scenario::play(&platform, &mut timeline).await.unwrap();
    assert_eq!(differences, Vec::<String>::new());
    let timeline = String::from_utf8(timeline).unwrap();
    for line in [
        "MESSAGE_TAG HUMAN_AGENT",
        "refused (window_closed)",
        "refused (tag_retired)",
        "cancelled (answered)",
    ] {
        assert!(timeline.contains(line), "{line}\n{timeline}");
    }
}
