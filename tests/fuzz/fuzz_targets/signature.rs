//! Only what Meta would have written is taken for Meta's signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use backend::signature::{SignatureError, sign, verify};

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (header, body) = (String::from_utf8_lossy(&input[..end]), &input[end + 1..]);
    // The secret that the samples are signed with.
    let secret = SecretString::from("sample-app-secret");
    let signed = sign(body, &secret);

    assert_eq!(verify(Some(&signed), body, [&secret]), Ok(()));
    assert_eq!(verify(Some(&signed), body, []), Err(SignatureError::Mismatch));
    assert_eq!(verify(None, body, [&secret]), Err(SignatureError::Missing));

    let digits = header.trim().strip_prefix("sha256=");
    let well_formed = digits.is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    let wanted = match well_formed {
        false => Err(SignatureError::Malformed),
        true if header.trim().eq_ignore_ascii_case(&signed) => Ok(()),
        true => Err(SignatureError::Mismatch),
    };
    assert_eq!(verify(Some(&header), body, [&secret]), wanted);
});
