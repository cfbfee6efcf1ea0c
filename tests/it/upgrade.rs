//! Upgrades in place: another program goes on in the same process, sessions and clients notice nothing, and a program
//! that cannot go on changes nothing.

// Programs where only root, or the tests' user, may put one.
pub(crate) mod programs;
// Sessions that are always busy.
mod traffic;
// A daemon that is to be upgraded.
mod upgrading;

// Upgrades that are done.
mod done;
// Supervisors that are killed meanwhile.
mod killed;
// Programs that fail when they have gone on.
mod failing;
// A daemon that is process 1.
mod container;
// Moments at which other things are under way, or wrong.
mod moments;
// Programs and moments that are refused.
mod refused;
// Programs that fail in their trial.
mod tried;
