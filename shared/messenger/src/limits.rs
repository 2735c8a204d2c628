//! The limits that a deployment may set, with the values that it has unless it does; the test kit has these.

/// The most messages that may wait for one person, except for replies and what people wrote that is
/// due at once; further ones end as failed. It cannot be set.
pub const MOST_WAITING: usize = 20;

/// The most messages that are one turn if a bot gathers them. It cannot be set.
pub const MOST_GATHERED: usize = 10;

/// For how many hours the bot is quiet after people of the business answered (`QUIET_HOURS`).
pub const DEFAULT_QUIET_HOURS: u64 = 12;

/// The largest state of a person, in bytes as JSON (`MAX_STATE_BYTES`).
pub const DEFAULT_STATE_BYTES: usize = 512;

/// For how many seconds a bot may think about a turn (`BOT_TIMEOUT_SECONDS`).
pub const DEFAULT_BOT_TIMEOUT_SECONDS: u64 = 15;

/// For how many days a message is tried after it was first due (`GIVE_UP_DAYS`).
pub const DEFAULT_GIVE_UP_DAYS: u64 = 7;
