//! Whether PostgreSQL's channel binding can work, as far as certificates tell.

use super::Loaded;
use crate::{
    config::{BackendTlsMode, Listener},
    control::Problem,
    protocol::Protocol,
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

impl Loaded {
    /// Tells that channel binding needs one certificate for both legs, where there are two with TLS.
    pub(super) fn unbound(&self, listener: &Listener, shown: &[Shown]) -> Option<Problem> {
        let both = listener.protocol == Protocol::Postgres
            && listener.backend_tls.mode != BackendTlsMode::Off;
        let reason = both.then(|| self.doubt(listener, shown)).flatten()?;
        Some(Problem {
            subject: format!("listener \"{}\"", listener.name),
            file: None,
            reason,
        })
    }

    fn doubt(&self, listener: &Listener, shown: &[Shown]) -> Option<String> {
        let of_this = |it: &&Shown| it.listener == listener.name;
        let seen: Vec<&Shown> = shown.iter().filter(of_this).collect();
        if seen.is_empty() {
            return Some(NONE_SEEN.to_owned());
        }
        let other = seen.into_iter().find(|it| !self.presents(listener, it));
        other.map(another_seen)
    }

    /// Whether a listener presents the certificate that its backend has shown.
    fn presents(&self, listener: &Listener, seen: &Shown) -> bool {
        let material = self.material.as_ref();
        material.is_some_and(|it| {
            it.presented(listener)
                .any(|own| own.facts.sha256 == seen.sha256)
        })
    }
}

const NONE_SEEN: &str = "with TLS on both sides, clients of PostgreSQL that use channel binding, \
    which is libpq's default, get in only if the database shows the same certificate as this \
    listener; others need channel_binding=disable";

fn another_seen(other: &Shown) -> String {
    format!(
        "channel binding cannot work: {} shows certificate {}, which is none of this listener's; \
         clients of PostgreSQL, whose libpq uses it by default, need channel_binding=disable",
        other.backend,
        other.sha256.get(..16).unwrap_or(&other.sha256)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tls::{
        material::Material,
        testing::{Ca, identity, listener},
    };

    #[test]
    fn channel_binding_is_told_of_where_both_sides_of_postgresql_have_tls() {
        let mut listener = listener(&["a"]);
        let mine = identity("a", &Ca::new("root").server(&["db.example.com"]));
        let sha256 = mine.facts.sha256.clone();
        let loaded = Loaded {
            problems: Vec::new(),
            warnings: Vec::new(),
            unseen: Vec::new(),
            outcomes: Vec::new(),
            material: Some(Material {
                identities: vec![Arc::new(mine)],
                listeners: vec![],
                system_roots: vec![],
            }),
        };
        let told = |listener: &Listener, shown: &[Shown]| {
            let problem = loaded.unbound(listener, shown);
            problem.map(|it| it.reason)
        };
        assert_eq!(told(&listener, &[]), None);
        listener.backend_tls.mode = BackendTlsMode::Require;
        assert_eq!(told(&listener, &[]), None, "this is MySQL");
        listener.protocol = Protocol::Postgres;
        let unknown = told(&listener, &[]).expect("both sides have TLS");
        assert!(unknown.contains("only if the database shows the same"));
        let shows = |sha256: &str| Shown {
            listener: listener.name.clone(),
            backend: "db1:5432".to_owned(),
            sha256: sha256.to_owned(),
        };
        let same = shows(&sha256);
        assert_eq!(told(&listener, std::slice::from_ref(&same)), None);
        let other = told(&listener, &[same, shows(&"ab".repeat(32))]).expect("one differs");
        assert!(other.contains("db1:5432 shows certificate abababababababab, which"));
    }
}
