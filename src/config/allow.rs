//! Which clients are let in, among those whose certificate is good.
//!
//! A rule is one text: a kind, a colon, and what the certificate must hold. Comparing is done
//! here, on what the TLS room found in the certificate, so that it can be tested without one.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

use super::address::is_host_name;

/// SHA-256 of something.
pub type Sha256 = [u8; 32];

/// A rule that lets clients in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllowRule {
    /// A DNS name among the subject alternative names, in lower case; `*` may stand for its first
    /// label.
    Dns(String),
    /// A URI among the subject alternative names, such as a SPIFFE id.
    Uri(String),
    /// Every URI whose path lies below this one, which ends with a slash.
    UriBelow(String),
    /// The subject's only common name.
    CommonName(String),
    /// SHA-256 of the whole certificate.
    Certificate(Sha256),
    /// SHA-256 of the certificate's public key (its `SubjectPublicKeyInfo`).
    PublicKey(Sha256),
}

/// What a client's certificate says of its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    /// The DNS names among its subject alternative names.
    pub dns: Vec<&'a str>,
    /// The URIs among them.
    pub uris: Vec<&'a str>,
    /// The common names of its subject.
    pub common_names: Vec<&'a str>,
    /// SHA-256 of its DER.
    pub certificate: Sha256,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub public_key: Sha256,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    /// It has no known kind.
    #[error(
        "`{0}` is no rule: write `dns:`, `uri:`, `cn:`, `sha256:` or `spki:` and what a \
             certificate must hold"
    )]
    Kind(String),
    /// It names no host.
    #[error("`{0}` is no DNS name, nor one whose first label is `*`; write it in ASCII")]
    Dns(String),
    /// It names no resource.
    #[error(
        "`{0}` is no URI with a scheme and an authority; `*` may stand only for all that is \
             below a path, as in `spiffe://prod/db/*`"
    )]
    Uri(String),
    /// There is no name.
    #[error("this common name is empty")]
    CommonName,
    /// It is no digest.
    #[error("`{0}` is no SHA-256: write 64 hexadecimal digits, or 44 characters of base64")]
    Digest(String),
}

impl AllowRule {
    /// Returns whether the rule lets in who claims this.
    pub fn allows(&self, claims: &Claims<'_>) -> bool {
        match self {
            Self::Dns(name) => claims.dns.iter().any(|it| is_dns(name, it)),
            Self::Uri(uri) => claims.uris.contains(&uri.as_str()),
            Self::UriBelow(parent) => claims.uris.iter().any(|it| is_below(parent, it)),
            // Of several, it is not known which one the authority meant.
            Self::CommonName(name) => claims.common_names == [name.as_str()],
            Self::Certificate(digest) => claims.certificate == *digest,
            Self::PublicKey(digest) => claims.public_key == *digest,
        }
    }
}

/// Compares DNS names without case; a star in the rule is exactly one label.
fn is_dns(rule: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match rule.strip_prefix("*.") {
        None => name == rule,
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
    }
}

/// Whether a URI lies below another, with a path that means what it says: one with `..` or an
/// escape in it could mean another place to the next program that reads it.
fn is_below(parent: &str, uri: &str) -> bool {
    let is_plain = |segment: &str| {
        !matches!(segment, "" | "." | "..") && !segment.contains(['%', '?', '#', '\\'])
    };
    uri.strip_prefix(parent)
        .is_some_and(|rest| rest.split('/').all(is_plain))
}

impl FromStr for AllowRule {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let (kind, rest) = text.split_once(':').unwrap_or(("", text));
        match kind {
            "dns" => dns(rest),
            "uri" => uri(rest),
            "cn" if rest.is_empty() => Err(AllowError::CommonName),
            "cn" => Ok(Self::CommonName(rest.to_owned())),
            "sha256" => digest(rest).map(Self::Certificate),
            "spki" => digest(rest).map(Self::PublicKey),
            _ => Err(AllowError::Kind(text.to_owned())),
        }
    }
}

fn dns(text: &str) -> Result<AllowRule, AllowError> {
    if is_host_name(text.strip_prefix("*.").unwrap_or(text)) {
        let name = text.strip_suffix('.').unwrap_or(text);
        Ok(AllowRule::Dns(name.to_ascii_lowercase()))
    } else {
        Err(AllowError::Dns(text.to_owned()))
    }
}

fn uri(text: &str) -> Result<AllowRule, AllowError> {
    let wrong = || AllowError::Uri(text.to_owned());
    let parent = text.strip_suffix('*').unwrap_or(text);
    let (scheme, rest) = parent.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let is_bad = |byte: u8| !byte.is_ascii_graphic() || byte == b'*';
    if scheme.is_empty() || authority.is_empty() || parent.bytes().any(is_bad) {
        return Err(wrong());
    }
    match (parent.len() < text.len(), parent.ends_with('/')) {
        (false, _) => Ok(AllowRule::Uri(text.to_owned())),
        (true, true) => Ok(AllowRule::UriBelow(parent.to_owned())),
        (true, false) => Err(wrong()),
    }
}

fn digest(text: &str) -> Result<Sha256, AllowError> {
    // As OpenSSL writes fingerprints.
    let plain = text.replace(':', "");
    let bytes = match plain.len() {
        64 => HEXLOWER_PERMISSIVE.decode(plain.as_bytes()).ok(),
        44 => BASE64.decode(text.as_bytes()).ok(),
        _ => None,
    };
    bytes
        .and_then(|it| it.try_into().ok())
        .ok_or_else(|| AllowError::Digest(text.to_owned()))
}

impl fmt::Display for AllowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(uri) => write!(f, "uri:{uri}"),
            Self::UriBelow(parent) => write!(f, "uri:{parent}*"),
            Self::CommonName(name) => write!(f, "cn:{name}"),
            Self::Certificate(digest) => write!(f, "sha256:{}", HEXLOWER.encode(digest)),
            Self::PublicKey(digest) => write!(f, "spki:{}", BASE64.encode(digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> AllowRule {
        text.parse().unwrap()
    }

    fn allows(text: &str, claims: &Claims<'_>) -> bool {
        rule(text).allows(claims)
    }

    #[test]
    fn dns_names_are_compared_by_label_and_without_case() {
        let holder = |name| Claims {
            dns: vec!["other.example", name],
            ..Claims::default()
        };
        for (text, name, expected) in [
            ("dns:app.example", "app.example", true),
            ("dns:App.Example", "aPP.eXAMPLE", true),
            ("dns:app.example", "x.app.example", false),
            ("dns:app.example", "app.example.evil", false),
            ("dns:*.app.example", "x.app.example", true),
            ("dns:*.app.example", "*.app.example", true),
            ("dns:*.app.example", "x.y.app.example", false),
            ("dns:*.app.example", "app.example", false),
            ("dns:*.app.example", ".app.example", false),
            ("dns:*.app.example", "xapp.example", false),
            ("dns:x.app.example", "*.app.example", false),
        ] {
            assert_eq!(allows(text, &holder(name)), expected, "{text} {name}");
        }
        assert!(!allows("uri:dns://app.example", &holder("app.example")));
    }

    #[test]
    fn uris_are_compared_byte_by_byte_or_by_the_path_above() {
        let holder = |uri| Claims {
            uris: vec![uri],
            ..Claims::default()
        };
        let below = "uri:spiffe://prod/ns/db/*";
        for (text, uri, expected) in [
            ("uri:spiffe://prod/ns/db/a", "spiffe://prod/ns/db/a", true),
            ("uri:spiffe://prod/ns/db/a", "spiffe://prod/ns/db/b", false),
            ("uri:spiffe://prod/ns/db/a", "spiffe://prod/ns/db/A", false),
            (below, "spiffe://prod/ns/db/a", true),
            (below, "spiffe://prod/ns/db/a/b", true),
            (below, "spiffe://prod/ns/db/", false),
            (below, "spiffe://prod/ns/db", false),
            (below, "spiffe://prod/ns/dbx/a", false),
            (below, "spiffe://other/ns/db/a", false),
            (below, "spiffe://prod/ns/db/../admin", false),
            (below, "spiffe://prod/ns/db/./a", false),
            (below, "spiffe://prod/ns/db//a", false),
            (below, "spiffe://prod/ns/db/a/", false),
            (below, "spiffe://prod/ns/db/%2e%2e/admin", false),
            (below, "spiffe://prod/ns/db/a?b", false),
            ("uri:spiffe://prod/*", "spiffe://prod/a", true),
            ("uri:spiffe://prod/*", "spiffe://prod.evil/a", false),
        ] {
            assert_eq!(allows(text, &holder(uri)), expected, "{text} {uri}");
        }
    }

    #[test]
    fn a_common_name_counts_only_alone() {
        let holder = |names: &[&'static str]| Claims {
            common_names: names.to_vec(),
            ..Claims::default()
        };
        assert!(allows("cn:backup", &holder(&["backup"])));
        assert!(!allows("cn:backup", &holder(&["Backup"])));
        assert!(!allows("cn:backup", &holder(&["backup", "root"])));
        assert!(!allows("cn:backup", &holder(&[])));
        assert_eq!(rule("cn:a:b"), AllowRule::CommonName("a:b".to_owned()));
    }

    #[test]
    fn digests_are_read_as_tools_print_them() {
        let (hex, digest) = ("0a".repeat(32), [0x0a; 32]);
        let pairs: Vec<_> = hex.as_bytes().chunks(2).map(<[u8]>::to_vec).collect();
        let colons = String::from_utf8(pairs.join(&b':')).unwrap();
        for text in [&hex, &hex.to_uppercase(), &colons, &BASE64.encode(&digest)] {
            assert_eq!(
                rule(&format!("sha256:{text}")),
                AllowRule::Certificate(digest)
            );
            assert_eq!(rule(&format!("spki:{text}")), AllowRule::PublicKey(digest));
        }
        let holder = Claims {
            certificate: digest,
            ..Claims::default()
        };
        assert!(allows(&format!("sha256:{hex}"), &holder));
        assert!(!allows(&format!("spki:{hex}"), &holder));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "is no rule"),
            ("app.example", "is no rule"),
            ("DNS:app.example", "is no rule"),
            ("ip:10.0.0.1", "is no rule"),
            ("dns:", "is no DNS name"),
            ("dns:*", "is no DNS name"),
            ("dns:a.*.b", "is no DNS name"),
            ("dns:*.*.b", "is no DNS name"),
            ("dns:a b", "is no DNS name"),
            ("dns:a..", "is no DNS name"),
            ("dns:bücher.example", "is no DNS name"),
            ("uri:", "is no URI"),
            ("uri:spiffe:prod", "is no URI"),
            ("uri:spiffe://", "is no URI"),
            ("uri:spiffe://*", "is no URI"),
            ("uri:spiffe:///a", "is no URI"),
            ("uri:spiffe://prod*", "is no URI"),
            ("uri:spiffe://prod/a*", "is no URI"),
            ("uri:spiffe://prod/*/a", "is no URI"),
            ("uri:spiffe://prod/a b", "is no URI"),
            ("cn:", "this common name is empty"),
            ("sha256:", "is no SHA-256"),
            ("sha256:0a0b", "is no SHA-256"),
            ("spki:zz", "is no SHA-256"),
        ] {
            let error = text.parse::<AllowRule>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(
            format!("spki:{}", "z".repeat(64))
                .parse::<AllowRule>()
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn a_rule_is_written_as_it_is_read(text in "(dns|uri|cn|sha256|spki):[a-z*./:0-9]{0,20}") {
            if let Ok(rule) = text.parse::<AllowRule>() {
                prop_assert_eq!(rule.to_string().parse(), Ok(rule));
            }
        }

        #[test]
        fn nothing_outside_a_path_is_below_it(uri in "spiffe://(prod|evil)(/[a-z.%]{0,3}){0,4}") {
            let claims = Claims { uris: vec![&uri], ..Claims::default() };
            if rule("uri:spiffe://prod/db/*").allows(&claims) {
                prop_assert!(uri.starts_with("spiffe://prod/db/"));
                prop_assert!(!uri.contains("..") || !uri.split('/').any(|it| it == ".."));
            }
        }
    }
}
