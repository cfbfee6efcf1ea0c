//! What clients dislike about a certificate of a chain, in words.

use std::fmt;

use super::Purpose;
use crate::facts::Moment;

/// What clients dislike about a certificate that is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its place among those that are sent, from 1.
    pub(crate) place: usize,
    /// How many are sent.
    pub(crate) all: usize,
    /// Whose it is.
    pub(crate) subject: String,
    /// What the chain is shown for.
    pub(crate) purpose: Purpose,
    pub(crate) fault: Fault,
}

/// What is wrong with a certificate of a chain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has expired.
    Expired { until: Moment },
    /// It is not valid yet.
    NotYet { from: Moment },
    /// It ends while the leaf is still valid.
    EndsBeforeLeaf { until: Moment, leaf: Moment },
    /// It issued none of those before it.
    Stray,
    /// The one that leads on from it is missing, though others follow.
    Missing { issuer: String },
    /// It is a leaf without any issuer, and names an address where that can be had.
    Alone { issuer: String },
    /// The key of its issuer did not sign it.
    Signature { by: usize },
    /// Its signature stands on a digest that was broken.
    WeakDigest(&'static str),
    /// Its name constraints do not let it vouch for a name of the leaf.
    Name { name: String },
    /// It is marked as no authority.
    NoAuthority,
    /// There are more certificates below it than it may have.
    TooFar,
    /// Its key usage does not let it sign certificates.
    NoCertSign,
    /// Its extended key usage excludes what the leaf is for.
    Purpose { lacks: &'static str },
    /// Its RSA key is too short.
    ShortKey { bits: usize },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            all,
            subject,
            purpose,
            ..
        } = self;
        let peers = match purpose {
            Purpose::Server => "clients",
            Purpose::Client => "databases",
        };
        write!(
            f,
            "certificate {place} of {all} that are sent, of {subject}, "
        )?;
        match &self.fault {
            Fault::Expired { until } => write!(
                f,
                "expired at {until}; {peers} refuse it, unless they know another certificate of \
                 this authority; send that, or leave this one out"
            ),
            Fault::NotYet { from } => write!(
                f,
                "is not valid before {from}; until then {peers} refuse it, unless they know \
                 another certificate of this authority"
            ),
            Fault::EndsBeforeLeaf { until, leaf } => write!(
                f,
                "ends at {until}, before the leaf does at {leaf}; {peers} refuse the leaf from \
                 then on, unless they know another certificate of this authority"
            ),
            Fault::Stray => write!(
                f,
                "issued none of those before it; {peers} ignore it at best. The certificates \
                 after the first do not lead from it to its issuer"
            ),
            Fault::Missing { issuer } => write!(
                f,
                "is followed by others, but not by that of its issuer {issuer}; {peers} that do \
                 not know {issuer} refuse it"
            ),
            Fault::Alone { issuer } => write!(
                f,
                "is alone: the chain ends with the leaf; if {issuer} is an intermediate, {peers} \
                 need its certificate here too"
            ),
            Fault::Signature { by } => write!(
                f,
                "is not signed by the key of certificate {by}, which only has the name of its \
                 issuer; {peers} refuse it. The certificates after the first do not lead from it \
                 to its issuer"
            ),
            Fault::WeakDigest(digest) => {
                write!(f, "is signed with {digest}, which {peers} refuse")
            }
            Fault::Name { name } => write!(
                f,
                "must not vouch for {name} by its name constraints; {peers} refuse the leaf"
            ),
            Fault::NoAuthority => write!(
                f,
                "is marked as no authority (basicConstraints); {peers} refuse what it issued"
            ),
            Fault::TooFar => write!(
                f,
                "has more authorities below it than it may have (pathlen); {peers} refuse them"
            ),
            Fault::NoCertSign => write!(
                f,
                "must not sign certificates by its key usage; {peers} refuse what it issued"
            ),
            Fault::Purpose { lacks } => write!(
                f,
                "must not vouch for this use: its extended key usage lacks {lacks}; {peers} \
                 refuse the leaf"
            ),
            Fault::ShortKey { bits } => write!(
                f,
                "has an RSA key of {bits} bits; {peers} refuse keys of fewer than 2048"
            ),
        }
    }
}
