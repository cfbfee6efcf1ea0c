//! stand-in until the codecs arrive
use serde::{Deserialize, Serialize};
/// x
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// x
    Mysql,
    /// x
    Postgres,
    /// x
    Tcp,
}
