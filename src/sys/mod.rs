//! What the kernel is asked for beyond files and sockets.

pub mod child;
pub mod fds;
pub mod orphans;
pub mod privileges;
pub mod processes;
pub mod reserve;
pub mod sandbox;
pub mod semaphore;
pub mod signals;
