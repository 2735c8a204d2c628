//! Your bot's conversations: each file of `scenarios` is one.

use bot::bot;
use messenger::chat::{Chat, play_folder};
use serde_json::Value;

#[test]
fn the_scenarios_happen_as_they_are_written() {
    play_folder("scenarios", || Chat::built(Value::Null, bot));
}
