//! Sessions that outlive their worker: killed, hung or crashed, whatever the session is made of and
//! whatever it is doing, its peers notice nothing, and not one byte is lost, doubled or changed.
//!
//! A test holds both ends of its sessions (`talk`), which say bytes that tell where they belong
//! (`numbered`).

// Both directions at work.
mod busy;
// One end of a session.
mod end;
// What sessions are made of.
mod kind;
// Bytes that tell where they belong.
mod numbered;
// A daemon and its backends.
mod stage;
// Sessions that are full.
mod stalled;
// A session and its two ends.
mod talk;

// Ways to die.
mod deaths;
// Sessions that end with their worker.
mod ending;
// Half-closed sessions.
mod halves;
// Sessions that say nothing.
mod idle;
// Limits and timeouts of sessions that were taken over.
mod limits;
// Death after death.
mod many;
// Drains and reloads.
mod operations;
// Peers that do not read.
mod slow;
// What operators see of it.
mod seen;
// Supervisors that are killed.
mod successors;
// Releases that go on for each other.
mod versions;
// Disks, files and descriptors that fail at the wrong time.
mod surroundings;
// Unix sockets, whose bytes the kernel does not count.
mod unix_sockets;
