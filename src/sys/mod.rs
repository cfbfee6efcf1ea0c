//! What the kernel is asked for.

mod acl;
pub mod child;
pub mod clock;
pub mod doors;
pub mod fds;
pub mod files;
pub mod folders;
pub(crate) mod image;
pub mod keeping;
pub mod listening;
pub mod locks;
mod memfd;
pub(crate) mod mounts;
pub mod oom;
pub mod orphans;
pub mod own_children;
pub mod passed;
pub mod privileges;
pub mod processes;
pub mod program_path;
#[cfg(feature = "orders")]
pub mod raw_call;
pub mod reserve;
pub mod rewritten;
pub mod sandbox;
pub mod sealed;
pub mod senders;
pub mod shared;
pub mod signals;
pub mod succession;
pub mod table;
pub mod tcp_counts;
pub mod tcp_info;
pub mod terminal;
pub mod tune;
pub mod upgrade_points;
pub mod wall_timer;
