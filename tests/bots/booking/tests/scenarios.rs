//! The bot's conversations.

use booking::reply;
use messenger::bot::plain;
use messenger::chat::{Chat, play_folder};

#[test]
fn the_scenarios_happen_as_they_are_written() {
    play_folder("scenarios", || Chat::with(plain(reply)));
}
