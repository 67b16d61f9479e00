//! The proof that a delivery comes from the provider.

use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastseen_client::UtcInstant;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};

use super::providers::Provider;

/// The time by which the clock of a signature may differ from ours, either way: a delivery that was overheard is worth
/// nothing after it.
const TOLERANCE: Duration = Duration::from_mins(5);

/// The secret of a source, in the form in which its provider uses it.
#[derive(Clone)]
pub(super) enum Secret {
    /// The value of the header Authorization, with or without `Bearer`.
    Header(Vec<u8>),
    /// The key of an HMAC of the body, in the header `X-Keycloak-Signature`.
    OfBody(Key),
    /// The key of an HMAC of id, time and body: Standard Webhooks.
    OfMessage(Key),
}

impl Secret {
    /// # Errors
    /// If a provider has another form of secrets.
    pub(super) fn new(provider: Provider, text: &str) -> Result<Self, &'static str> {
        if text.len() < 16 {
            return Err("expected a secret of at least 16 characters");
        }
        Ok(match provider {
            Provider::Clerk => {
                let key = text.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
                Self::OfMessage(Key::new(
                    HMAC_SHA256,
                    &key.ok_or("expected a secret that begins with whsec_")?,
                ))
            }
            Provider::Keycloak => Self::OfBody(Key::new(HMAC_SHA256, text.as_bytes())),
            _ => Self::Header(text.as_bytes().to_vec()),
        })
    }

    /// True if it is in a header, and so known before the body.
    pub(super) fn is_in_header(&self) -> bool {
        matches!(self, Self::Header(_))
    }

    /// True if whoever sent this knows the secret. It takes as long whatever is wrong with it.
    pub(super) fn proves(&self, headers: &HeaderMap, body: &[u8], now: UtcInstant) -> bool {
        let header = |name: &str| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
        match self {
            Self::Header(secret) => {
                let sent = header("authorization");
                let sent = sent.strip_prefix(b"Bearer ").unwrap_or(sent);
                let secret = secret.strip_prefix(b"Bearer ").unwrap_or(secret);
                // Two values are compared by what they sign.
                let key = Key::new(HMAC_SHA256, secret);
                verify(&key, sent, sign(&key, secret).as_ref()).is_ok()
            }
            Self::OfBody(key) => {
                let sent = header("x-keycloak-signature");
                let sent = sent.strip_prefix(b"sha256=").unwrap_or(sent);
                from_hex(sent).is_some_and(|tag| verify(key, body, &tag).is_ok())
            }
            Self::OfMessage(key) => {
                let part = |name: &str| part(headers, name);
                let (id, sent_at) = (part("id"), part("timestamp"));
                let message = [id, sent_at, body].join(&b'.');
                let tags = part("signature").split(|byte| *byte == b' ');
                let tags = tags.filter_map(|tag| STANDARD.decode(tag.strip_prefix(b"v1,")?).ok());
                let is_signed = tags.fold(false, |is, tag| is | verify(key, &message, &tag).is_ok());
                is_signed && !id.is_empty() && is_near(sent_at, now)
            }
        }
    }
}

/// A header of Standard Webhooks, by either of its names; empty where it is missing.
fn part<'a>(headers: &'a HeaderMap, name: &str) -> &'a [u8] {
    let svix = headers.get(format!("svix-{name}"));
    svix.or_else(|| headers.get(format!("webhook-{name}"))).map_or(&b""[..], |value| value.as_bytes())
}

/// The id of a delivery of Standard Webhooks.
pub(super) fn delivery(headers: &HeaderMap) -> Option<&str> {
    std::str::from_utf8(part(headers, "id")).ok().filter(|id| !id.is_empty())
}

fn is_near(seconds: &[u8], now: UtcInstant) -> bool {
    let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<i64>().ok());
    let sent = seconds.and_then(|seconds| seconds.checked_mul(1_000_000)).map(UtcInstant::from_micros);
    sent.is_some_and(|sent| sent >= now.saturating_sub(TOLERANCE) && sent <= now.saturating_add(TOLERANCE))
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? * 16 + digit(*pair.get(1)?)?);
    text.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(of: &[(&str, &str)]) -> HeaderMap {
        let pairs = of.iter().map(|(name, value)| {
            (HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"))
        });
        pairs.collect()
    }

    /// The tags were computed by another implementation of HMAC.
    #[test]
    fn signatures_of_others_are_understood() {
        let clerk = Secret::new(Provider::Clerk, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let body = br#"{"test": 2432232314}"#;
        let sent = UtcInstant::from_micros(1_614_265_330_000_000);
        let of = |tag: &str| {
            headers(&[
                ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("svix-timestamp", "1614265330"),
                ("svix-signature", tag),
            ])
        };
        let good = of("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(clerk.proves(&good, body, sent));
        assert!(clerk.proves(&good, body, sent.saturating_add(TOLERANCE)));
        assert!(!clerk.proves(&good, body, sent.saturating_add(TOLERANCE + Duration::from_micros(1))));
        assert!(!clerk.proves(&good, body, sent.saturating_sub(TOLERANCE + Duration::from_micros(1))));
        assert!(!clerk.proves(&of("v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), body, sent));
        assert!(!clerk.proves(&good, br#"{"test": 2432232315}"#, sent));

        let keycloak = Secret::new(Provider::Keycloak, "a secret of the realm").expect("a secret");
        let tag = "dfd3b21fe12e0d6ecbefbb3801634af65bf4a688750aa62eae8cb599a6b49cc6";
        for tag in [tag, &tag.to_uppercase(), &format!("sha256={tag}")] {
            let headers = headers(&[("x-keycloak-signature", tag)]);
            assert!(keycloak.proves(&headers, br#"{"type":"access.LOGIN"}"#, sent), "{tag}");
            assert!(!keycloak.proves(&headers, b"{}", sent));
        }
        for bad in ["", "d", "zz", &tag[..62], "é"] {
            assert!(!keycloak.proves(&headers(&[("x-keycloak-signature", bad)]), b"{}", sent), "{bad}");
        }
    }
}
