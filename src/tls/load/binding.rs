//! Whether PostgreSQL's channel binding can work, as far as certificates tell.

use super::Loaded;
use crate::{
    config::{ChannelBinding, Listener},
    tls::{material::Material, policy::BackendCheck},
};

/// A certificate that a backend has shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The listener in front of it.
    pub listener: String,
    /// Where it is.
    pub backend: String,
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub sha256: String,
}

/// What stands against channel binding on a listener.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Against {
    /// Nothing, or its clients do not use it.
    Nothing,
    /// What is not known, or passes.
    Perhaps(String),
    /// What lets it fail for every client that uses it.
    Certainly(String),
}

impl Loaded {
    /// Judges a listener by the certificates on disk for it, by those `served` now, and by those
    /// that its backends have shown.
    pub(super) fn binding(
        &self,
        listener: &Listener,
        served: Option<&Material>,
        shown: &[Shown],
    ) -> Against {
        let insists = listener.channel_binding == ChannelBinding::Require;
        if !listener.needs_one_certificate() {
            // Other protocols have nothing to insist on.
            return if insists {
                Against::Certainly(NO_TLS.to_owned())
            } else {
                Against::Nothing
            };
        }
        match &self.material {
            Some(material) => on_two_legs(listener, material, served, shown),
            // What is broken is told of by itself.
            None => Against::Perhaps(NONE_SEEN.to_owned()),
        }
    }
}

/// Judges by certificates, where both legs have TLS.
fn on_two_legs(
    listener: &Listener,
    material: &Material,
    served: Option<&Material>,
    shown: &[Shown],
) -> Against {
    let mut seen = shown.iter().filter(|it| it.is_of(listener)).peekable();
    if seen.peek().is_none() {
        return unseen(listener, material);
    }
    let Some(other) = seen.find(|it| !it.is_presented(listener, material)) else {
        return Against::Nothing;
    };
    // Between the renewals of two legs with one certificate, the first must not be held back.
    if served.is_some_and(|it| other.is_presented(listener, it)) {
        return Against::Perhaps(format!(
            "{} shows certificate {}, which this listener would present no more; clients of \
             PostgreSQL that use channel binding get in again once both show the same",
            other.backend,
            other.digest()
        ));
    }
    Against::Certainly(never(&format!(
        "{} shows certificate {}, which is none of this listener's",
        other.backend,
        other.digest()
    )))
}

/// Judges by what is checked of backends, where none has shown a certificate.
fn unseen(listener: &Listener, material: &Material) -> Against {
    let Ok(Some(check)) = BackendCheck::new(listener, material) else {
        return Against::Nothing;
    };
    let is_possible = |position| {
        let mut own = material.presented(listener);
        own.any(|it| check.may_show(position, &it.pair.chain))
    };
    let mut backends = listener.backends.iter().enumerate();
    match backends.find(|(position, _)| !is_possible(*position)) {
        None => Against::Perhaps(NONE_SEEN.to_owned()),
        Some((_, backend)) => Against::Certainly(never(&format!(
            "`backend_tls` would not let {backend} show a certificate of this listener"
        ))),
    }
}

impl Shown {
    fn is_of(&self, listener: &Listener) -> bool {
        let mut backends = listener.backends.iter();
        self.listener == listener.name && backends.any(|it| it.to_string() == self.backend)
    }

    fn is_presented(&self, listener: &Listener, material: &Material) -> bool {
        let mut presented = material.presented(listener);
        presented.any(|it| it.facts.sha256 == self.sha256)
    }

    /// The digest, as long as people compare it.
    fn digest(&self) -> &str {
        self.sha256.get(..16).unwrap_or(&self.sha256)
    }
}

const NONE_SEEN: &str = "with TLS on both sides, clients of PostgreSQL that use channel binding, \
    which is libpq's default, get in only if the database shows the same certificate as this \
    listener; if they have channel_binding=disable, say so with `channel_binding = \"disable\"`";

const NO_TLS: &str = "channel binding, on which its clients insist by `channel_binding`, cannot \
    work: its backends are reached without TLS; set `backend_tls`, and present the database's own \
    certificate";

fn never(why: &str) -> String {
    format!(
        "channel binding, which clients of PostgreSQL use by default, cannot work: {why}; present \
         the database's own certificate, or give clients channel_binding=disable and say so with \
         `channel_binding = \"disable\"`"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::BackendTlsMode,
        protocol::Protocol,
        tls::{
            material::{BackendTrust, Bundle, Identity, ListenerMaterial},
            testing::{self, Ca},
        },
    };

    fn material(identity: Identity, trusted: &Ca) -> Material {
        Material {
            identities: vec![Arc::new(identity)],
            listeners: vec![ListenerMaterial {
                name: "orders".to_owned(),
                clients: None,
                backend: Some(BackendTrust::Roots(Bundle {
                    roots: vec![trusted.der()],
                    crls: vec![],
                })),
                backend_identity: None,
            }],
            system_roots: vec![],
        }
    }

    fn loaded(material: Material) -> Loaded {
        Loaded {
            problems: Vec::new(),
            warnings: Vec::new(),
            unseen: Vec::new(),
            outcomes: Vec::new(),
            material: Some(material),
        }
    }

    /// A listener in front of `db.example.com`.
    fn listener(mode: BackendTlsMode, binding: ChannelBinding) -> Listener {
        let mut listener = testing::listener(&["a"]);
        listener.protocol = Protocol::Postgres;
        listener.backend_tls.mode = mode;
        listener.channel_binding = binding;
        listener
    }

    fn shows(sha256: &str) -> Shown {
        Shown {
            listener: "orders".to_owned(),
            backend: "db.example.com:3306".to_owned(),
            sha256: sha256.to_owned(),
        }
    }

    fn own(ca: &Ca, name: &str) -> Identity {
        testing::identity("a", &ca.server(&[name]))
    }

    fn is(verdict: &Against, expected: &str) -> bool {
        match verdict {
            Against::Nothing => expected == "nothing",
            Against::Perhaps(why) => expected
                .strip_prefix("perhaps: ")
                .is_some_and(|it| why.contains(it)),
            Against::Certainly(why) => expected
                .strip_prefix("certainly: ")
                .is_some_and(|it| why.contains(it)),
        }
    }

    #[test]
    fn what_clients_do_and_which_legs_have_tls_decide_first() {
        use BackendTlsMode::{Off, Require, VerifyFull};
        let ca = Ca::new("root");
        let loaded = loaded(material(own(&ca, "db.example.com"), &ca));
        for (mode, binding, expected) in [
            (Off, ChannelBinding::Prefer, "nothing"),
            (Off, ChannelBinding::Disable, "nothing"),
            (
                Off,
                ChannelBinding::Require,
                "certainly: reached without TLS",
            ),
            (
                Require,
                ChannelBinding::Prefer,
                "perhaps: only if the database shows",
            ),
            (
                VerifyFull,
                ChannelBinding::Require,
                "perhaps: only if the database shows",
            ),
            (VerifyFull, ChannelBinding::Disable, "nothing"),
        ] {
            let verdict = loaded.binding(&listener(mode, binding), None, &[]);
            assert!(is(&verdict, expected), "{mode:?} {binding:?}: {verdict:?}");
        }
        let mut other = listener(Require, ChannelBinding::Prefer);
        other.protocol = Protocol::Mysql;
        assert_eq!(
            loaded.binding(&other, None, &[shows("ab")]),
            Against::Nothing
        );
    }

    #[test]
    fn a_certificate_that_backend_tls_refuses_is_not_the_databases() {
        use BackendTlsMode::{Require, VerifyCa, VerifyFull};
        let (ca, other) = (Ca::new("root"), Ca::new("other"));
        let never = "certainly: would not let db.example.com:3306 show";
        let maybe = "perhaps: only if the database shows";
        for (issuer, name, mode, expected) in [
            (&ca, "db.example.com", VerifyFull, maybe),
            (&ca, "proxy.example.com", VerifyFull, never),
            (&ca, "proxy.example.com", VerifyCa, maybe),
            (&other, "db.example.com", VerifyCa, never),
            (&other, "db.example.com", Require, maybe),
        ] {
            let loaded = loaded(material(own(issuer, name), &ca));
            let verdict = loaded.binding(&listener(mode, ChannelBinding::Prefer), None, &[]);
            assert!(is(&verdict, expected), "{name} {mode:?}: {verdict:?}");
        }
    }

    #[test]
    fn an_expired_certificate_may_be_the_databases() {
        let ca = Ca::new("root");
        let mut past = testing::params(&["db.example.com"]);
        past.not_before = rcgen::date_time_ymd(2020, 1, 1);
        past.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let loaded = loaded(material(testing::identity("a", &ca.leaf(&past)), &ca));
        let listener = listener(BackendTlsMode::VerifyFull, ChannelBinding::Prefer);
        let verdict = loaded.binding(&listener, None, &[]);
        assert!(
            is(&verdict, "perhaps: only if the database shows"),
            "{verdict:?}"
        );
    }

    #[test]
    fn what_was_shown_decides_and_a_renewal_is_not_held_back() {
        let ca = Ca::new("root");
        let (old, new) = (own(&ca, "db.example.com"), own(&ca, "db.example.com"));
        let shown_old = shows(&old.facts.sha256);
        let shown_new = shows(&new.facts.sha256);
        let served = material(old, &ca);
        let loaded = loaded(material(new, &ca));
        let elsewhere = Shown {
            backend: "gone.example.com:3306".to_owned(),
            ..shows("cd")
        };
        let mut listener = listener(BackendTlsMode::Require, ChannelBinding::Prefer);
        let other = shows(&"ab".repeat(32));
        for (shown, expected) in [
            (vec![shown_new.clone()], "nothing"),
            (vec![elsewhere.clone(), shown_new.clone()], "nothing"),
            (vec![elsewhere], "perhaps: only if the database shows"),
            (vec![shown_old], "perhaps: would present no more"),
            (
                vec![shown_new, other.clone()],
                "certainly: db.example.com:3306 shows certificate abababababababab, which",
            ),
        ] {
            let verdict = loaded.binding(&listener, Some(&served), &shown);
            assert!(is(&verdict, expected), "{shown:?}: {verdict:?}");
        }
        listener.channel_binding = ChannelBinding::Disable;
        assert_eq!(
            loaded.binding(&listener, Some(&served), &[other]),
            Against::Nothing
        );
    }
}
