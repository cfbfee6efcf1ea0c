//! The words that rooms share: what a certificate says, why a session ended, what a load did.
//!
//! Plain data, below every other room. What `proxyctl` and the supervisor and its workers send
//! each other is made of these, so a field that is added here changes their wire formats: raise
//! [`PROTOCOL`](crate::control::wire::PROTOCOL).

mod amount;
mod at_end;
mod backend;
mod certificate;
mod confinement;
mod counts;
mod ending;
mod expiry;
mod failure;
mod fingerprint;
pub mod histogram;
mod identity;
mod keeping;
mod load;
mod lookup;
mod moment;
mod network;
mod problem;
mod program;
mod session;
mod tally;
mod text;

pub use self::{
    amount::amount,
    at_end::SessionsAtEnd,
    backend::BackendStatus,
    certificate::CertificateFacts,
    confinement::{Confinement, Enforcement},
    counts::{ConnectionCounts, ListenerCounts},
    ending::{END_REASONS, EndCounts, EndReason},
    expiry::{Expiry, ExpiryEffect, ExpiryKind},
    failure::{FailureCounts, FailureReason},
    fingerprint::{Fingerprint, NoFingerprint},
    histogram::Histogram,
    identity::{IdentityChange, IdentityOutcome, VerifiedIdentity},
    keeping::{
        Death, KeepingCounts, LOSS_REASONS, LossCounts, LossReason, UNKEPT_REASONS, UnkeptCounts,
        UnkeptReason,
    },
    load::{Partial, Reads, Trigger},
    lookup::{HostAddress, Unresolved, Wanted},
    moment::{Moment, NoMoment},
    network::{Network, NetworkError},
    problem::Problem,
    program::PROGRAM_VERSION,
    session::{
        Candidate, EndedSessions, MOST_IDS, MOST_LISTED, MOST_REVOKED, NoSessionId,
        RevokedCertificate, RevokedSessions, Selection, SessionCertificate, SessionEntry,
        SessionId, SessionList, SessionState, SessionTls,
    },
    tally::{Reason, Tally},
    text::{bytes, clean, duration, moment, seconds, shortened},
};
