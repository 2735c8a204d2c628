//! Signatures: of webhook notifications, of forwarded events, and the proof for an access token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use messenger::clock::Timestamp;

/// The header with Meta's signature of a notification.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// The header with our own signature of a forwarded event.
pub const FORWARD_SIGNATURE_HEADER: &str = "x-messenger-signature-256";

/// The label by which the key of a message's metadata is derived from the app secret.
const METADATA_LABEL: &str = "message metadata";

/// How many bytes of the HMAC are the tag of a message's metadata.
const TAG_BYTES: usize = 16;

/// Why a notification is not accepted as coming from Meta.
///
/// No variant carries the expected value: it would be a forgery oracle.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// There is no signature header.
    #[error("no X-Hub-Signature-256 header")]
    Missing,
    /// The header is not `sha256=` and 64 hexadecimal digits.
    #[error("the X-Hub-Signature-256 header is not of the form sha256=<64 hexadecimal digits>")]
    Malformed,
    /// None of the app secrets produces this signature for these bytes.
    #[error("the signature matches none of the app secrets; check app_secret in the secret")]
    Mismatch,
}

/// Checks the signature over the raw bytes of a notification, in constant time.
///
/// The bytes must be exactly those received: Meta signs the escaped form that it sends.
///
/// # Errors
/// [`SignatureError`] unless one of `app_secrets` made the signature; with no secret at all every
/// notification is refused.
pub fn verify<'a>(
    header: Option<&str>,
    body: &[u8],
    app_secrets: impl IntoIterator<Item = &'a SecretString>,
) -> Result<(), SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?;
    let digits = header.trim().strip_prefix("sha256=").ok_or(SignatureError::Malformed)?;
    let mut claimed = [0; 32];
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| SignatureError::Malformed)?;
    let mut verified = false;
    for secret in app_secrets {
        verified |= keyed(secret).chain_update(body).verify_slice(&claimed).is_ok();
    }
    if verified { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Opens a `signed_request`: the bytes of its JSON, if one of `app_secrets` signed it.
///
/// It is `base64url(signature).base64url(JSON)`; the signature covers the encoded JSON. Source: Meta's
/// data deletion callback.
///
/// # Errors
/// [`SignatureError`] as of [`verify`].
pub fn open_signed_request<'a>(
    signed_request: &str,
    app_secrets: impl IntoIterator<Item = &'a SecretString>,
) -> Result<Vec<u8>, SignatureError> {
    let (signature, payload) = signed_request.split_once('.').ok_or(SignatureError::Malformed)?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    let claimed = decode(signature).map_err(|_| SignatureError::Malformed)?;
    let opened = decode(payload).map_err(|_| SignatureError::Malformed)?;
    let mut verified = false;
    for secret in app_secrets {
        verified |= keyed(secret).chain_update(payload).verify_slice(&claimed).is_ok();
    }
    if verified { Ok(opened) } else { Err(SignatureError::Mismatch) }
}

/// Signs a body as Meta does: the value of the `X-Hub-Signature-256` header.
pub fn sign(body: &[u8], app_secret: &SecretString) -> String {
    format!("sha256={}", hex::encode(keyed(app_secret).chain_update(body).finalize().into_bytes()))
}

/// Signs a forwarded event with the [`forward_key`] of its URL: the value of the [`FORWARD_SIGNATURE_HEADER`], `t=<seconds since the epoch>,v1=<HMAC-SHA256 over "<t>." and the body>`.
///
/// The time is signed as well, so that the receiver can reject a replay.
pub fn sign_forward(body: &[u8], key: &SecretString, at: Timestamp) -> String {
    let seconds = at.millis().div_euclid(1000);
    let mac = keyed(key).chain_update(format!("{seconds}.")).chain_update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// The `appsecret_proof` that Graph expects with an access token.
pub fn appsecret_proof(access_token: &SecretString, app_secret: &SecretString) -> String {
    let mac = keyed(app_secret).chain_update(access_token.expose_secret());
    hex::encode(mac.finalize().into_bytes())
}

/// The tag of a message's metadata: by it we know an echo of what we sent, and nobody else can make it.
///
/// 128 bits of an HMAC, base64url, by a key that is derived from the app secret and serves for nothing
/// else.
pub fn metadata_tag(content: &str, app_secret: &SecretString) -> String {
    let mac = keyed_for_metadata(app_secret).chain_update(content).finalize().into_bytes();
    URL_SAFE_NO_PAD.encode(&mac[..TAG_BYTES])
}

/// Whether one of `app_secrets` made the tag of a message's metadata, compared in constant time.
pub fn is_metadata_tag<'a>(
    tag: &str,
    content: &str,
    app_secrets: impl IntoIterator<Item = &'a SecretString>,
) -> bool {
    let Ok(claimed) = URL_SAFE_NO_PAD.decode(tag) else { return false };
    let mut verified = false;
    for secret in app_secrets {
        let mac = keyed_for_metadata(secret).chain_update(content);
        verified |= claimed.len() == TAG_BYTES && mac.verify_truncated_left(&claimed).is_ok();
    }
    verified
}

/// The key that events for one URL are signed with, in hexadecimal: HMAC-SHA256 of the URL by
/// `forward_secret`, so that no receiver can sign for another one.
pub fn forward_key(url: &str, forward_secret: &SecretString) -> SecretString {
    hex::encode(keyed(forward_secret).chain_update(url).finalize().into_bytes()).into()
}

/// Whether a text equals the secret, compared in constant time.
pub fn is_same_secret(secret: &SecretString, text: &str) -> bool {
    let claimed = keyed(&SecretString::from(text)).chain_update(b"same").finalize().into_bytes();
    keyed(secret).chain_update(b"same").verify_slice(&claimed).is_ok()
}

fn keyed(secret: &SecretString) -> Hmac<Sha256> {
    keyed_by(secret.expose_secret().as_bytes())
}

fn keyed_for_metadata(app_secret: &SecretString) -> Hmac<Sha256> {
    keyed_by(&keyed(app_secret).chain_update(METADATA_LABEL).finalize().into_bytes())
}

fn keyed_by(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"object":"page","entry":[{"text":"\u00e5\ud83d\ude00"}]}"#;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn a_known_value() {
        let known = "sha256=fcfaffa7fef86515c7beb6b62d779fa4ccf092f2e61c164376054271252821ff";
        assert_eq!(sign(b"Hello, World!", &secret("secret")), known);
    }

    #[test]
    fn a_known_value_with_a_key_longer_than_a_block() {
        let known = "sha256=a879fe293ec4822a32e30037ac471452fbecd684d14d8c2b72a0743f6c2f40a6";
        let body = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let key: String = std::iter::repeat_n('\u{2a}', 131).collect();
        assert_eq!(sign(body, &secret(&key)), known);
    }

    #[test]
    fn a_known_value_with_a_time() {
        let at = Timestamp::from_millis(1_795_338_540_999);
        // printf '1795338540.{}' | openssl dgst -sha256 -hmac secret
        let known =
            "t=1795338540,v1=c4751588cfc7186418e9236b2985c8aad6d2981d8eabedb4883816a49d02e658";
        assert_eq!(sign_forward(b"{}", &secret("secret"), at), known);
    }

    #[test]
    fn a_known_key_of_a_url() {
        // printf %s https://crm.example/inbound | openssl dgst -sha256 -hmac secret
        let known = "155320dd9c4f060408b3fcda6dace4bd97b7b0549fa7d16dc88a7e543e6df9bd";
        let key = forward_key("https://crm.example/inbound", &secret("secret"));
        assert_eq!(key.expose_secret(), known);
    }

    #[test]
    fn a_tag_is_of_its_content_and_its_app_secret() {
        let (new, old, other) = (secret("new"), secret("old"), secret("other"));
        let tag = metadata_tag("content", &old);
        assert!(is_metadata_tag(&tag, "content", [&new, &old]));
        assert!(
            !is_metadata_tag(&tag, "content", [&new, &other])
                && !is_metadata_tag(&tag, "content", [])
        );
        assert!(!is_metadata_tag(&tag, "contents", [&old]));
        // The derived key serves for nothing else.
        let signed = keyed(&old).chain_update("content").finalize().into_bytes();
        let long = URL_SAFE_NO_PAD
            .encode(keyed_for_metadata(&old).chain_update("content").finalize().into_bytes());
        for tag in ["", "A", &tag[..20], &long, &URL_SAFE_NO_PAD.encode(&signed[..TAG_BYTES]), "%"]
        {
            assert!(!is_metadata_tag(tag, "content", [&old]), "{tag}");
        }
    }

    #[test]
    fn any_held_secret_verifies_and_no_other() {
        let (new, old, other) = (secret("new"), secret("old"), secret("other"));
        let header = sign(BODY, &old);
        assert_eq!(verify(Some(&header), BODY, [&new, &old]), Ok(()));
        assert_eq!(verify(Some(&header), BODY, [&new, &other]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn without_a_secret_nothing_verifies() {
        let header = sign(BODY, &secret(""));
        assert_eq!(verify(Some(&header), BODY, []), Err(SignatureError::Mismatch));
    }

    #[test]
    fn the_raw_bytes_count() {
        let key = secret("key");
        let header = sign(BODY, &key);
        let unescaped = r#"{"object":"page","entry":[{"text":"å😀"}]}"#.as_bytes();
        assert_eq!(verify(Some(&header), unescaped, [&key]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn other_forms_are_malformed() {
        let key = secret("key");
        let good = sign(BODY, &key);
        for header in [
            "",
            "sha1=abc",
            "sha256=",
            &good[..70],
            &format!("{good}0"),
            &good.replace("sha256=", ""),
        ] {
            assert_eq!(
                verify(Some(header), BODY, [&key]),
                Err(SignatureError::Malformed),
                "{header}"
            );
        }
        assert_eq!(verify(None, BODY, [&key]), Err(SignatureError::Missing));
    }
}
