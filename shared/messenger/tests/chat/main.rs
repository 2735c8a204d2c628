//! The test kit, as the author of a bot uses it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod asking;
mod bots;
mod ending;
mod format;
mod gathering;
mod playing;
mod sending;
mod staff;
mod waking;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// With what a test fails that does this.
fn failure(test: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(test)).expect_err("the test did not fail");
    match payload.downcast::<String>() {
        Ok(told) => *told,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}
