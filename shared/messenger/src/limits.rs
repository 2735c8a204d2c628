//! The limits that a deployment may set, with the values that it has unless it does.

use std::time::Duration;

/// The most messages and timers that wait for one person; further ones end as failed. It cannot be set.
pub const MOST_WAITING: usize = 20;

/// The most messages that are one turn if a bot gathers them. It cannot be set.
pub const MOST_GATHERED: usize = 10;

/// How long the bot is quiet after people of the business answered (`QUIET_HOURS`).
pub const DEFAULT_QUIET: Duration = Duration::from_hours(12);

/// The largest state of a person, in bytes as JSON (`MAX_STATE_BYTES`).
pub const DEFAULT_STATE_BYTES: usize = 512;

/// How long a bot may think about a turn (`BOT_TIMEOUT_SECONDS`).
pub const DEFAULT_BOT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a message is tried after it was first due (`GIVE_UP_DAYS`).
pub const DEFAULT_GIVE_UP: Duration = Duration::from_hours(7 * 24);
