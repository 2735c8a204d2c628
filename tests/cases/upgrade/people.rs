//! The Pages and the people of the story.

use crate::support::PAGE;

/// Graph does not say what it does.
pub(super) const UNCLEAR_PAGE: &str = "100000000000002";
/// Throttled.
pub(super) const THROTTLED_PAGE: &str = "100000000000003";
/// Its token is dead.
pub(super) const DEAD_PAGE: &str = "100000000000004";
/// A permission is missing.
pub(super) const LACKING_PAGE: &str = "100000000000005";
/// The secret does not name it.
pub(super) const FOREIGN_PAGE: &str = "100000000000006";

pub(super) const FROM_AN_AD: &str = "7000000000000101";
pub(super) const OF_AN_AGENT: &str = "7000000000000102";
pub(super) const WITH_FALLBACK: &str = "7000000000000103";
pub(super) const BY_TOKEN: &str = "7000000000000104";
pub(super) const WITHDRAWN: &str = "7000000000000105";
pub(super) const WAS_REFUSED: &str = "7000000000000106";
pub(super) const WAS_UNREACHABLE: &str = "7000000000000107";
pub(super) const ERASED: &str = "7000000000000108";
pub(super) const ANSWERED: &str = "7000000000000109";
pub(super) const CLOSED_BY_META: &str = "7000000000000110";
pub(super) const COMMENTED: &str = "7000000000000111";
pub(super) const DELETED_BY_META: &str = "7000000000000112";
pub(super) const TAKEN_BY_INBOX: &str = "7000000000000113";
pub(super) const QUIET: &str = "7000000000000114";
pub(super) const IN_BACKOFF: &str = "7000000000000115";
pub(super) const REMINDED: &str = "7000000000000116";
pub(super) const IN_A_BOOKING: &str = "7000000000000117";
pub(super) const MIDWAY: &str = "7000000000000118";
pub(super) const WITH_ECHO: &str = "7000000000000119";
pub(super) const WITHOUT_ECHO: &str = "7000000000000120";
pub(super) const IN_AN_OUTAGE: &str = "7000000000000121";
pub(super) const COMMENT_IN_BACKOFF: &str = "7000000000000122";
pub(super) const COMMENT_WITH_ECHO: &str = "7000000000000123";
pub(super) const THROTTLED: &str = "7000000000000124";
pub(super) const WITHOUT_TOKEN: &str = "7000000000000125";
pub(super) const TOO_LATE: &str = "7000000000000126";
pub(super) const WITHOUT_PERMISSION: &str = "7000000000000127";
pub(super) const BEING_ERASED: &str = "7000000000000128";
pub(super) const POISONOUS: &str = "7000000000000129";
pub(super) const STILL_POISONOUS: &str = "7000000000000130";
pub(super) const OF_A_FOREIGN_PAGE: &str = "7000000000000131";
pub(super) const QUEUED: &str = "7000000000000132";
pub(super) const QUEUED_TWICE: &str = "7000000000000133";
pub(super) const OUTRUN: &str = "7000000000000134";
pub(super) const REPEATED: &str = "7000000000000135";
pub(super) const SWEPT: &str = "7000000000000136";
/// Those whose event's function died, each at another of its calls.
const DIED_AT: u64 = 7_000_000_000_000_200;

/// How Meta names [`DELETED_BY_META`] to the app.
pub(super) const DELETED_AS: &str = "8000000000000002";
/// The token of [`BY_TOKEN`].
pub(super) const TOKEN: &str = "6640234389316104612";

/// The PSID of the person whose event's function died at a call.
pub(super) fn died_at(call: u64) -> String {
    (DIED_AT + call).to_string()
}

/// The id of a person's comment.
pub(super) fn comment_of(psid: &str) -> String {
    format!("{PAGE}_{psid}")
}
