//! Whom we believe: authorities, what they revoked, and what is checked of whom by them.

pub(super) mod bundle;
pub(super) mod clients;
pub(super) mod revocation;
pub(super) mod verifier;
