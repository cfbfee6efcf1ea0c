//! What certificates, names and PEM text say, read and judged without files or connections.

pub(crate) mod certificate;
pub(crate) mod der;
pub(crate) mod foreign;
pub(crate) mod list;
pub(crate) mod name;
pub(crate) mod path;
pub(crate) mod pem;
pub(crate) mod pem_fault;
