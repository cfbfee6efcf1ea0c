//! Whether PostgreSQL's channel binding can work, as far as certificates tell.

use super::Loaded;
use crate::{
    config::{Address, ChannelBinding, Listener},
    tls::material::Material,
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
    /// Whether the newest attempt to reach it failed, so that it may show another by now.
    pub is_old: bool,
    /// Whether it has ever shown one that the listener presented at that time.
    pub has_fitted: bool,
}

/// What stands against channel binding on a listener.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Against {
    /// Nothing, or its clients do not use it.
    Nothing,
    /// What is not known, or passes.
    Perhaps(String),
    /// What lets it fail at one of the backends, for every client that uses it.
    Certainly(String),
}

impl Loaded {
    /// Judges a listener by the certificates on disk for it and those that its backends have shown.
    pub(super) fn binding(&self, listener: &Listener, shown: &[Shown]) -> Against {
        let insists = listener.channel_binding == ChannelBinding::Require;
        if !listener.needs_one_certificate() {
            // Other protocols have nothing to insist on.
            return if insists {
                Against::Certainly(NO_TLS.to_owned())
            } else {
                Against::Nothing
            };
        }
        let verdicts = listener.backends.iter().map(|backend| {
            let mut shown = shown.iter();
            let seen = shown.find(|it| it.is_of(listener, backend));
            match (seen, &self.material) {
                (Some(seen), Some(material)) => judge(listener, material, seen),
                // What is broken on disk is told of by itself.
                _ => Against::Perhaps(NONE_SEEN.to_owned()),
            }
        });
        verdicts.max().unwrap_or(Against::Nothing)
    }
}

/// Judges a backend by the certificate that it showed last.
fn judge(listener: &Listener, material: &Material, seen: &Shown) -> Against {
    if seen.is_presented(listener, material) {
        return Against::Nothing;
    }
    let (backend, digest) = (&seen.backend, seen.sha256.get(..16));
    let digest = digest.unwrap_or(&seen.sha256);
    if seen.has_fitted {
        // Whichever leg's certificate is renewed first must not be held back.
        return Against::Perhaps(format!(
            "{backend} showed certificate {digest}, which is none of this listener's any more; \
             clients of PostgreSQL that use channel binding get in again once both present the same"
        ));
    }
    if seen.is_old {
        return Against::Perhaps(format!(
            "{backend} showed certificate {digest} before it could not be reached any more, which \
             is none of this listener's; if it still does, {FAILS}"
        ));
    }
    Against::Certainly(format!(
        "channel binding cannot work: {backend} shows certificate {digest}, which is none of this \
         listener's; {FAILS}"
    ))
}

impl Shown {
    fn is_of(&self, listener: &Listener, backend: &Address) -> bool {
        self.listener == listener.name && self.backend == backend.to_string()
    }

    /// Whether the listener presents it by this material.
    fn is_presented(&self, listener: &Listener, material: &Material) -> bool {
        let mut presented = material.presented(listener);
        presented.any(|it| it.facts.sha256 == self.sha256)
    }
}

const NONE_SEEN: &str = "with TLS on both sides, clients of PostgreSQL that use channel binding, \
    which is libpq's default for SCRAM, get in only if the database shows the same certificate as \
    this listener; if none uses it, say so with `channel_binding = \"disable\"`";

const NO_TLS: &str = "channel binding, on which its clients insist by `channel_binding`, cannot \
    work: its backends are reached without TLS; set `backend_tls`, and present the database's own \
    certificate";

const FAILS: &str = "clients of PostgreSQL that log in by SCRAM use it by default and are refused; \
    present the database's own certificate, or, if they have channel_binding=disable or log in \
    otherwise, say so with `channel_binding = \"disable\"`";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{BackendTlsMode, Backends},
        protocol::Protocol,
        tls::{
            material::Identity,
            testing::{self, Ca},
        },
    };

    fn material(identity: Identity) -> Material {
        Material {
            identities: vec![Arc::new(identity)],
            listeners: vec![],
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
            is_old: false,
            has_fitted: false,
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
        let loaded = loaded(material(own(&ca, "db.example.com")));
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
            let verdict = loaded.binding(&listener(mode, binding), &[]);
            assert!(is(&verdict, expected), "{mode:?} {binding:?}: {verdict:?}");
        }
        let mut other = listener(Require, ChannelBinding::Prefer);
        other.protocol = Protocol::Mysql;
        assert_eq!(loaded.binding(&other, &[shows("ab")]), Against::Nothing);
    }

    #[test]
    fn what_was_shown_decides() {
        let ca = Ca::new("root");
        let own = own(&ca, "db.example.com");
        let fitting = shows(&own.facts.sha256);
        let loaded = loaded(material(own));
        let other = shows(&"ab".repeat(32));
        let elsewhere = Shown {
            backend: "gone.example.com:3306".to_owned(),
            ..other.clone()
        };
        let renewed = Shown {
            has_fitted: true,
            ..other.clone()
        };
        let down = Shown {
            is_old: true,
            ..other.clone()
        };
        let listener = listener(BackendTlsMode::Require, ChannelBinding::Prefer);
        for (shown, expected) in [
            (fitting.clone(), "nothing"),
            (elsewhere, "perhaps: only if the database shows"),
            (renewed, "perhaps: get in again once both present the same"),
            (down, "perhaps: if it still does"),
            (
                other,
                "certainly: db.example.com:3306 shows certificate abababababababab, which",
            ),
        ] {
            let verdict = loaded.binding(&listener, std::slice::from_ref(&shown));
            assert!(is(&verdict, expected), "{shown:?}: {verdict:?}");
        }
    }

    #[test]
    fn the_worst_of_several_backends_is_told() {
        let ca = Ca::new("root");
        let own = own(&ca, "db.example.com");
        let at = |backend: &str, sha256: &str| Shown {
            backend: backend.to_owned(),
            ..shows(sha256)
        };
        let fitting = own.facts.sha256.clone();
        let loaded = loaded(material(own));
        let mut listener = listener(BackendTlsMode::Require, ChannelBinding::Prefer);
        let addresses = ["a:1", "b:2"].map(|it| it.parse().unwrap());
        listener.backends = Backends::new(addresses).unwrap();
        let renewed = Shown {
            has_fitted: true,
            ..at("a:1", "cd")
        };
        for (shown, expected) in [
            (vec![at("a:1", &fitting), at("b:2", &fitting)], "nothing"),
            (
                vec![at("b:2", &fitting)],
                "perhaps: only if the database shows",
            ),
            (
                vec![at("a:1", &fitting), at("b:2", "ab")],
                "certainly: b:2 shows",
            ),
            (vec![renewed, at("b:2", "ab")], "certainly: b:2 shows"),
        ] {
            let verdict = loaded.binding(&listener, &shown);
            assert!(is(&verdict, expected), "{shown:?}: {verdict:?}");
        }
    }
}
