//! Whether the certificates of a path are revoked, by the lists that are loaded.
//!
//! A list counts for a certificate if it bears its issuer's name and its issuer's key has signed it;
//! several authorities may share a name. Each list that counts is asked for the serial number,
//! whatever else it says of itself: an authority that names another address for its list today than
//! when it issued the certificate has not taken anything back. What a list leaves out
//! ([`Scope`](crate::x509::list::Scope)), and its age, only matter to a certificate that none names.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use rustls::{
    CertificateError, Error, OtherError, RootCertStore,
    pki_types::{CertificateDer, UnixTime},
};
use webpki::{Cert, EndEntityCert, KeyUsage, VerifiedPath};

use super::authorities::Revoked;
use crate::{
    config::OnUnknown,
    facts::Moment,
    tls::{material::Der, provider},
    x509::{
        certificate,
        list::{ListFault, Name, PublicKey, RevocationList},
    },
};

/// How many keys a list remembers for whether they signed it. More only share the name of an
/// authority that changes its key often.
const MAX_KEYS: usize = 16;

/// What becomes of a certificate that no list names and about which something is not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Its issuer has no list, though others of the same name may have.
    pub(crate) unlisted: OnUnknown,
    /// Its issuer has lists, but none of them is for it.
    pub(crate) unscoped: OnUnknown,
    /// The lists for it should have been replaced.
    pub(crate) expired: OnUnknown,
}

impl Policy {
    /// Refuses only what a list names.
    pub(crate) const ACCEPT: Self = Self {
        unlisted: OnUnknown::Accept,
        unscoped: OnUnknown::Accept,
        expired: OnUnknown::Accept,
    };
}

/// Why it is not known whether a certificate is revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StatusUnknown {
    /// No list of its issuer is loaded.
    #[error(
        "whether its certificate is revoked is not known: its issuer has no revocation list here, \
         and unknown_revocation refuses that"
    )]
    NoList,
    /// Lists of its issuer are loaded, but none is for it.
    #[error(
        "whether its certificate is revoked is not known: its issuer has revocation lists, but \
         none of them is for this certificate, and unscoped_crl refuses that"
    )]
    Unscoped,
    /// The lists for it are too old.
    #[error(
        "whether its certificate is revoked is not known: the revocation list of its issuer should \
         have been replaced by {0}, and expired_crl refuses that"
    )]
    Expired(Moment),
    /// Only lists of another key with the same name are loaded.
    #[error(
        "whether its certificate is revoked is not known: the revocation lists that bear its \
         issuer's name are signed by another key, and unknown_revocation refuses that"
    )]
    OtherKey,
}

/// What lists have against a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Objection {
    Revoked,
    Unknown(StatusUnknown),
}

/// Why [`Lists::check`] lets a certificate not pass.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no path from it to an authority; rustls says why.
    NoPath,
    /// A certificate of the path is revoked, or that is not known.
    Status(Error),
}

/// Revocation lists by the name of their issuer.
pub(crate) struct Lists {
    by_issuer: HashMap<Name, Vec<Arc<Held>>>,
    policy: Policy,
    revoked: Revoked,
}

/// The lists of an issuer.
enum Found<'l> {
    /// Those that its key has signed.
    Own(Vec<&'l RevocationList>),
    /// None, but other keys of its name have some.
    OfNamesakes,
    Nothing,
}

/// A list, and which keys have signed it.
struct Held {
    list: RevocationList,
    keys: Mutex<Vec<(PublicKey, bool)>>,
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists")
            .field("issuers", &self.by_issuer.len())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Lists {
    /// Reads lists, and asks them about the authorities in DER that they are for; `None` if there
    /// are no lists.
    pub(crate) fn new<'a>(
        ders: &[Der],
        authorities: impl IntoIterator<Item = &'a [u8]>,
        policy: Policy,
    ) -> Result<Option<Self>, ListFault> {
        let mut by_issuer: HashMap<_, Vec<_>> = HashMap::new();
        for der in ders {
            let held = Held::shared(der)?;
            let namesakes = by_issuer.entry(held.list.issuer().clone()).or_default();
            namesakes.push(held);
        }
        if by_issuer.is_empty() {
            return Ok(None);
        }
        let mut lists = Self {
            by_issuer,
            policy,
            revoked: Revoked::default(),
        };
        lists.revoked = Revoked::among(authorities, |name, key, serial| {
            matches!(lists.of_issuer(name, Some(key)), Found::Own(own)
                if own.iter().any(|it| it.names(serial)))
        });
        Ok(Some(lists))
    }

    /// Returns which of the authorities are revoked.
    pub(crate) fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// Looks for a path to one of `anchors` on which no certificate is refused.
    pub(crate) fn check(
        &self,
        anchors: &RootCertStore,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| Refusal::NoPath)?;
        let refused = RefCell::new(None);
        let judge = |path: &VerifiedPath<'_>| {
            self.judge(path, now).map_err(|objection| {
                refused.borrow_mut().get_or_insert(objection);
                webpki::Error::CertRevoked
            })
        };
        let algorithms = provider().signature_verification_algorithms.all;
        let roots = &anchors.roots;
        let path = leaf.verify_for_usage(
            algorithms,
            roots,
            intermediates,
            now,
            usage,
            None,
            Some(&judge),
        );
        match path {
            Ok(_) => Ok(()),
            Err(_) => Err(refused
                .take()
                .map_or(Refusal::NoPath, |it| Refusal::Status(it.into()))),
        }
    }

    /// Returns the first moment from which on a list is too old, where that matters.
    pub(crate) fn end(&self) -> Option<UnixTime> {
        if self.policy.expired == OnUnknown::Accept {
            return None;
        }
        let ends = self.by_issuer.values().flatten();
        let first = ends.filter_map(|it| it.list.next_update()).min()?;
        let seconds = u64::try_from(first.as_second()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }

    /// Judges every certificate of a path; of the authority at its end is known already whether it is
    /// revoked. That one is revoked counts for more than that something is not known.
    fn judge(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Objection> {
        if self.revoked.holds(path.anchor()) {
            return Err(Objection::Revoked);
        }
        let mut issuers = path.intermediate_certificates();
        let mut certificate: &Cert<'_> = path.end_entity();
        let mut doubt = Ok(());
        loop {
            let issuer = issuers.next();
            let key = match issuer {
                Some(issuer) => PublicKey::of_der(&issuer.subject_public_key_info()),
                None => PublicKey::of_content(&path.anchor().subject_public_key_info),
            };
            match self.status(certificate, key.as_ref(), now) {
                Err(Objection::Revoked) => return Err(Objection::Revoked),
                judged => doubt = doubt.and(judged),
            }
            match issuer {
                Some(issuer) => certificate = issuer,
                None => return doubt,
            }
        }
    }

    /// Returns whether there are lists of an authority's name, none of which its key has signed.
    pub(crate) fn pass_over(&self, name: &Name, key: &PublicKey) -> bool {
        matches!(self.of_issuer(name, Some(key)), Found::OfNamesakes)
    }

    fn of_issuer(&self, name: &Name, key: Option<&PublicKey>) -> Found<'_> {
        let Some(namesakes) = self.by_issuer.get(name) else {
            return Found::Nothing;
        };
        let is_own = |it: &&Arc<Held>| key.is_some_and(|key| it.is_signed_by(key));
        let own: Vec<_> = namesakes.iter().filter(is_own).collect();
        if own.is_empty() {
            return Found::OfNamesakes;
        }
        Found::Own(own.into_iter().map(|it| &it.list).collect())
    }

    fn status(
        &self,
        certificate: &Cert<'_>,
        issuer: Option<&PublicKey>,
        now: UnixTime,
    ) -> Result<(), Objection> {
        let own = match self.of_issuer(&Name::of_content(certificate.issuer()), issuer) {
            Found::Own(own) => own,
            Found::OfNamesakes => return self.policy.unlisted.or(StatusUnknown::OtherKey),
            Found::Nothing => return self.policy.unlisted.or(StatusUnknown::NoList),
        };
        if own.iter().any(|it| it.names(certificate.serial())) {
            return Err(Objection::Revoked);
        }
        let covering = covering(&own, certificate);
        if covering.is_empty() {
            self.policy.unscoped.or(StatusUnknown::Unscoped)?;
            return self.check_age(&own, now);
        }
        self.check_age(&covering, now)
    }

    /// Refuses lists that should all have been replaced.
    fn check_age(&self, lists: &[&RevocationList], now: UnixTime) -> Result<(), Objection> {
        let now = Moment::from_second(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let ends = lists.iter().map(|it| it.next_update());
        // One that does not say until when it holds goes on holding.
        let last = ends
            .collect::<Option<Vec<_>>>()
            .and_then(|it| it.into_iter().max());
        match last {
            Some(last) if last <= now => self.policy.expired.or(StatusUnknown::Expired(last)),
            _ => Ok(()),
        }
    }
}

/// Returns those of a certificate's issuer's lists that are for it.
fn covering<'l>(lists: &[&'l RevocationList], certificate: &Cert<'_>) -> Vec<&'l RevocationList> {
    if lists.iter().all(|it| it.scope().is_everything()) {
        return lists.to_vec();
    }
    let der = certificate.der();
    let parsed = certificate::parse(&der).ok();
    let covers = |it: &&&RevocationList| {
        let scope = it.scope();
        scope.is_everything() || parsed.as_ref().is_some_and(|parsed| scope.covers(parsed))
    };
    lists.iter().filter(covers).copied().collect()
}

impl Held {
    /// Returns a list as it was read before, if a listener or a generation still has it.
    ///
    /// One of a hundred thousand entries takes long enough to read for that to matter, and what is
    /// known of who signed it stays known.
    fn shared(der: &Der) -> Result<Arc<Self>, ListFault> {
        static READ: Mutex<BTreeMap<[u8; 32], Weak<Held>>> = Mutex::new(BTreeMap::new());
        let digest = certificate::digest(der.as_bytes());
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = read.get(&digest).and_then(Weak::upgrade) {
            return Ok(held);
        }
        let held = Arc::new(Self {
            list: RevocationList::parse(der.as_bytes())?,
            keys: Mutex::default(),
        });
        read.retain(|_, held| held.strong_count() > 0);
        read.insert(digest, Arc::downgrade(&held));
        Ok(held)
    }

    /// Returns whether a key signed it, which is found out once.
    fn is_signed_by(&self, key: &PublicKey) -> bool {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, signed)) = keys.iter().find(|(known, _)| known == key) {
            return *signed;
        }
        let algorithms = provider().signature_verification_algorithms.all;
        let signed = self.list.is_signed_by(key, algorithms);
        if keys.len() == MAX_KEYS {
            keys.remove(0);
        }
        keys.push((key.clone(), signed));
        signed
    }
}

impl OnUnknown {
    fn or(self, unknown: StatusUnknown) -> Result<(), Objection> {
        match self {
            Self::Accept => Ok(()),
            Self::Refuse => Err(Objection::Unknown(unknown)),
        }
    }
}

impl From<Objection> for Error {
    /// rustls' own error for what is not known would tell the peer `unknown_ca`; this one tells it
    /// `certificate_unknown` (RFC 8446 §6.2).
    fn from(objection: Objection) -> Self {
        match objection {
            Objection::Revoked => CertificateError::Revoked.into(),
            Objection::Unknown(why) => CertificateError::Other(OtherError(Arc::new(why))).into(),
        }
    }
}

impl StatusUnknown {
    /// Returns it if that is what an error is about.
    pub(crate) fn of(error: &CertificateError) -> Option<&Self> {
        match error {
            CertificateError::Other(OtherError(other)) => other.downcast_ref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Ca, der_of};

    #[test]
    fn a_list_is_read_once_while_it_is_in_use() {
        let ca = Ca::new("root");
        let [one, other] = [1, 2].map(|number| der_of(&ca.list(&[], number, 2090)));
        let held = Held::shared(&one).unwrap();
        assert!(Arc::ptr_eq(&held, &Held::shared(&one).unwrap()));
        assert!(!Arc::ptr_eq(&held, &Held::shared(&other).unwrap()));
        let last = Arc::downgrade(&held);
        drop(held);
        assert!(last.upgrade().is_none());
    }

    #[test]
    fn who_signed_a_list_is_found_out_once_for_each_key() {
        let (ca, namesake) = (Ca::new("root"), Ca::new("root"));
        let held = Held::shared(&der_of(&ca.list(&[], 1, 2090))).unwrap();
        let key = |ca: &Ca| {
            let der = ca.der();
            let parsed = certificate::parse(der.as_bytes()).unwrap();
            PublicKey::of_der(parsed.public_key().raw).unwrap()
        };
        for _ in 0..2 {
            assert!(held.is_signed_by(&key(&ca)) && !held.is_signed_by(&key(&namesake)));
            assert_eq!(held.keys.lock().unwrap().len(), 2);
        }
        for _ in 0..MAX_KEYS {
            assert!(!held.is_signed_by(&key(&Ca::new("root"))));
        }
        assert!(held.is_signed_by(&key(&ca)));
        assert_eq!(held.keys.lock().unwrap().len(), MAX_KEYS);
    }

    #[test]
    fn the_first_end_counts_where_ends_count() {
        let ca = Ca::new("root");
        let lists = [2090, 2050].map(|year| der_of(&ca.list(&[], 1, year)));
        let end = |expired| {
            let policy = Policy {
                expired,
                ..Policy::ACCEPT
            };
            Lists::new(&lists, [], policy).unwrap().unwrap().end()
        };
        let first: Moment = "2050-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            end(OnUnknown::Refuse),
            Some(crate::tls::unix_time(first.to_timestamp()))
        );
        assert_eq!(end(OnUnknown::Accept), None);
        assert!(Lists::new(&[], [], Policy::ACCEPT).unwrap().is_none());
    }
}
