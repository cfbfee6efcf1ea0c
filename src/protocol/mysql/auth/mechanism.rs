//! What an authentication plugin sends, and whether two unlike legs can carry it.

use super::leg::{Leg, Legs};
use super::step::Refusal;

/// Authentication plugins, sorted by what their client side sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// `caching_sha2_password`: a proof first; the password, in the clear or under a key, when the
    /// server asks.
    CachingSha2,
    /// A proof made from the server's challenge; the password itself never travels.
    Challenge,
    /// The password or something as good as it, in the clear; also every plugin that is not known
    /// here.
    Clear,
    /// `sha256_password`: the password, in the clear on a leg with TLS, else under a key that the
    /// client asks for. A unix socket does not count.
    Sha256,
}

/// Plugins that send only proofs. `mysql_old_password` makes weak ones, but a database of that age
/// is a reason to put a proxy before it, and its clients already have to allow it by hand.
const CHALLENGE: [&[u8]; 11] = [
    b"auth_gssapi_client",
    b"authentication_fido_client",
    b"authentication_kerberos_client",
    b"authentication_ldap_sasl_client",
    b"authentication_oci_client",
    b"authentication_webauthn_client",
    b"authentication_windows_client",
    b"client_ed25519",
    b"mysql_native_password",
    b"mysql_old_password",
    b"parsec",
];

impl Mechanism {
    /// Sorts a plugin by its name; no name means the one that is older than names.
    #[must_use]
    pub fn of(plugin: &[u8]) -> Self {
        match plugin {
            b"" => Self::Challenge,
            b"caching_sha2_password" => Self::CachingSha2,
            b"sha256_password" => Self::Sha256,
            known if CHALLENGE.contains(&known) => Self::Challenge,
            _ => Self::Clear,
        }
    }

    /// Returns why this mechanism cannot even begin over these legs.
    pub(super) fn refusal(self, legs: Legs) -> Option<Refusal> {
        match self {
            Self::Clear if !legs.let_passwords_through() => Some(Refusal::PasswordInClear),
            Self::Sha256 if legs.client != Leg::Tls && legs.server == Leg::Tls => {
                Some(Refusal::ClientNeedsTls)
            }
            _ => None,
        }
    }

    /// Tells whether the client sends the password itself where the database wants it under its
    /// key.
    pub(super) fn needs_sealing(self, legs: Legs) -> bool {
        self == Self::Sha256 && legs.client == Leg::Tls && legs.server != Leg::Tls
    }

    /// Returns the packet of one byte that asks the server for its key.
    pub(super) fn key_request(self) -> u8 {
        match self {
            Self::Sha256 => 0x01,
            _ => 0x02,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_plugins_count_as_clear() {
        for name in [
            "mysql_clear_password",
            "dialog",
            "authentication_openid_connect_client",
            "new",
        ] {
            assert_eq!(Mechanism::of(name.as_bytes()), Mechanism::Clear, "{name}");
        }
        assert_eq!(
            Mechanism::of(b"mysql_native_password"),
            Mechanism::Challenge
        );
    }

    #[test]
    fn sha256_is_sealed_wherever_only_the_client_has_tls() {
        for server in [Leg::Loopback, Leg::Network, Leg::Unix, Leg::Tls] {
            for client in [Leg::Tls, Leg::Unix] {
                let legs = Legs {
                    client,
                    server,
                    clear_allowed: false,
                };
                let sealed = client == Leg::Tls && server != Leg::Tls;
                assert_eq!(Mechanism::Sha256.needs_sealing(legs), sealed, "{legs:?}");
                assert!(!Mechanism::CachingSha2.needs_sealing(legs));
            }
        }
    }

    #[test]
    fn refusals_follow_the_table() {
        let clear = Some(Refusal::PasswordInClear);
        let needs_tls = Some(Refusal::ClientNeedsTls);
        let table = [
            (Mechanism::Clear, Leg::Tls, Leg::Network, clear),
            (Mechanism::Clear, Leg::Network, Leg::Network, clear),
            (Mechanism::Clear, Leg::Tls, Leg::Loopback, None),
            (Mechanism::Clear, Leg::Tls, Leg::Tls, None),
            (Mechanism::Clear, Leg::Tls, Leg::Unix, None),
            (Mechanism::Sha256, Leg::Tls, Leg::Loopback, None),
            (Mechanism::Sha256, Leg::Network, Leg::Tls, needs_tls),
            (Mechanism::Sha256, Leg::Unix, Leg::Tls, needs_tls),
            (Mechanism::Sha256, Leg::Network, Leg::Network, None),
            (Mechanism::Challenge, Leg::Tls, Leg::Network, None),
            (Mechanism::CachingSha2, Leg::Tls, Leg::Network, None),
        ];
        for (mechanism, client, server, refusal) in table {
            let legs = |clear_allowed| Legs {
                client,
                server,
                clear_allowed,
            };
            let case = format!("{mechanism:?} {client:?} {server:?}");
            assert_eq!(mechanism.refusal(legs(false)), refusal, "{case}");
            let allowed = refusal.filter(|it| *it != Refusal::PasswordInClear);
            assert_eq!(mechanism.refusal(legs(true)), allowed, "{case}");
        }
    }
}
