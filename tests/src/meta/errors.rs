//! The error table: what Meta answers with, under which code, subcode and status.
//!
//! Source: Meta's "Common Error Codes" of the Messenger Platform (25 June 2026) and its rate limits; the
//! subcodes of Instagram (253…) are from public reports. The statuses are those of public reports; where
//! there is none, 400.

/// A row of the table.
pub struct KnownError {
    /// The answer's HTTP status.
    pub http: u16,
    /// The error's code.
    pub code: i64,
    /// The error's subcode.
    pub subcode: Option<i64>,
    /// Meta's text, shortened.
    pub message: &'static str,
}

const fn row(http: u16, code: i64, subcode: i64, message: &'static str) -> KnownError {
    let subcode = if subcode == 0 { None } else { Some(subcode) };
    KnownError { http, code, subcode, message }
}

/// Every row that is known.
pub const KNOWN: &[KnownError] = &[
    // Of the message, and unclear or temporary.
    row(500, 1, 0, "An unknown error occurred"),
    row(500, 1, 1_357_046, "Received invalid JSON reply"),
    row(500, 2, 0, "An unexpected error has occurred. Please retry your request later."),
    row(400, 1_200, 0, "Temporary send message failure. Please try again later."),
    row(400, 1_200, 2_018_024, "Temporary send message failure. Please try again later."),
    // Of the Page or the account: limits.
    row(400, 4, 0, "Application request limit reached"),
    row(400, 17, 0, "User request limit reached"),
    row(400, 32, 0, "Page request limit reached"),
    row(400, 341, 0, "Application limit reached"),
    row(400, 613, 0, "Calls to this API have exceeded the rate limit."),
    row(400, 613, 2_534_040, "Calls to this API have exceeded the rate limit."),
    row(400, 80_001, 0, "There have been too many calls to this Page account."),
    row(400, 80_002, 0, "There have been too many calls to this Instagram account."),
    row(400, 80_006, 0, "There have been too many calls to this Messenger account."),
    // Of the person: limits.
    row(400, 613, 1_893_016, "Too many opt-in requests to this person"),
    row(400, 4, 2_018_354, "There has to be a minimum delay between 2 notifications"),
    row(400, 9, 2_018_352, "User is performing too many actions"),
    row(400, 613, 2_018_338, "Too many tagged messages were sent to this person"),
    // Of the person.
    row(400, 10, 2_018_278, "This message is sent outside of allowed window."),
    row(400, 10, 2_018_065, "This message is sent outside of allowed window."),
    row(400, 10, 2_534_022, "This message is sent outside of allowed window."),
    row(
        400,
        10,
        2_018_108,
        "This Person Cannot Receive Messages: This person isn't receiving messages from you right now.",
    ),
    row(400, 551, 0, "This person isn't available right now."),
    row(400, 551, 1_545_041, "This person isn't available right now."),
    row(400, 200, 1_545_041, "Message Not Sent: This person isn't available right now."),
    row(400, 100, 2_018_001, "No matching user found"),
    row(400, 100, 2_534_014, "The requested user cannot be found."),
    row(400, 10, 1_893_015, "The person has stopped these notifications"),
    // Of the thread.
    row(
        400,
        10,
        2_018_300,
        "Message failed to send because another app is controlling this thread now.",
    ),
    row(
        400,
        10,
        2_018_321,
        "Message failed to send because an automated flow is controlling this thread now.",
    ),
    row(400, 100, 2_534_037, "The action is invalid since it's not the thread owner."),
    // Of the Page: restrictions.
    row(400, 10, 1_893_063, "This Page is restricted from sending messages"),
    row(400, 368, 0, "The action attempted has been deemed abusive or is otherwise disallowed"),
    row(400, 2_022, 0, "The Page is temporarily blocked from sending messages"),
    row(400, 100, 2_534_029, "The account is restricted from sending messages"),
    // Of a permission.
    row(500, 1, 99, "An unknown error has occurred."),
    row(400, 3, 0, "Application does not have the capability to make this API call."),
    row(403, 10, 0, "Application does not have permission for this action"),
    row(403, 200, 0, "Requires pages_messaging permission to manage the object"),
    row(403, 200, 2_534_041, "The account owner has disabled access to instagram direct messages."),
    row(403, 230, 0, "Requires pages_messaging permission to manage the object"),
    row(
        400,
        100,
        33,
        "Object does not exist, cannot be loaded due to missing permissions, or does not support this operation",
    ),
    row(400, 100, 2_534_013, "The Page is not linked to an Instagram account"),
    // Of the token.
    row(401, 190, 0, "Invalid OAuth access token."),
    row(401, 190, 460, "Error validating access token: The session has been invalidated"),
    row(401, 190, 463, "Error validating access token: Session has expired"),
    row(401, 102, 0, "Session key invalid or no longer valid"),
    row(401, 104, 0, "Incorrect signature"),
    // Of the message.
    row(400, 100, 0, "Invalid parameter"),
    row(400, 100, 1_893_061, "Message tag is no longer supported"),
    row(400, 100, 2_018_008, "Failed to fetch the file from the url"),
    row(400, 100, 2_018_294, "Video upload timed out or video is corrupted"),
    row(400, 100, 2_018_047, "Upload attachment failure."),
    row(400, 100, 2_018_074, "Possible invalid ID or you do not own the attachment."),
    row(400, 100, 2_534_025, "The comment is invalid for a private reply"),
    row(400, 10_900, 0, "Activity already replied to"),
    row(400, 10_901, 0, "Message could not be sent: the activity is too old"),
    row(400, 10_902, 0, "This is not a replyable activity"),
    row(400, 10_903, 0, "This user can't reply to this activity"),
    // Of a person's profile.
    row(400, 100, 2_018_218, "No profile available for this user."),
    row(400, 100, 2_018_247, "Insufficient permission to access user profile."),
];

/// The row of a code and subcode.
pub(super) fn known(code: i64, subcode: Option<i64>) -> Option<&'static KnownError> {
    KNOWN.iter().find(|known| known.code == code && known.subcode == subcode)
}
