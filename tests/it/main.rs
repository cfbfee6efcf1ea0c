//! The built programs, driven from outside.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

// Certificates, keys and configurations that are wrong.
mod bad_input;
// A daemon whose backend, disk or descriptors fail it.
mod bad_surroundings;
// What a worker that was taken over can do to others: nothing.
mod attacks;
// Every fault at random, against the truth.
mod chaos;
// Sockets that systemd passes, without systemd.
mod activation;
// The page for people in a real browser.
mod browser;
// A daemon that is process 1, and the container image.
mod container;
// The daemon as a service of systemd, and as a package.
mod systemd;
// The Debian package and its texts, as files.
mod packaging;
// What time alone changes: certificates that become valid, and a clock that is set.
mod clock;
// What the kernel enforces on workers.
mod confinement;
// The control socket: who may use it, and what a hostile or broken peer can do there.
mod control;
// Every way a worker can die, with every state the disk can be in then.
mod crash;
// What a daemon says at its end, and a supervisor that ends alone.
mod ends;
// What `proxyctl` prints and exits with.
mod ctl;
// What servers show, asked by `proxyctl probe`.
mod probe;
// Peers that acknowledge nothing any more, and peers that only do not read.
mod dead_peers;
// Going to the background: the shell is told the truth.
mod daemonize;
// The exit-failure command: where it is set, when and how it runs, and that nobody waits for it.
mod exit_hook;
// Sessions that outlive their worker.
mod outlive;
// Man pages and completions against the programs' definitions.
mod generated;
// Listeners at addresses that come later.
mod freebind;
// How a daemon starts and ends, and what it leaves behind.
mod lifecycle;
// Links between the documents.
mod links;
// What a supervisor leaves to the next one.
mod legacy;
// The log: where it goes, and that no process waits for it.
mod logs;
// What the daemon inherits, and where it keeps things: signals, folders, files of the wrong kind.
mod grounds;
// Reloads of a configuration file that has changed.
mod reconfigure;
// Reloads: their answers, what they change, and what they leave alone.
mod reload;
// Sessions that operators list and end.
mod sessions;
// Going back to the generation before: what holds it, and what ends it.
mod rollback;
// Every way in which files change under a daemon that watches them.
mod rotation;
// The daemon's start and one client, the shortest way through everything.
mod smoke;
// `MySQL` and `MariaDB`.
mod mysql;
// `PostgreSQL`.
mod postgres;
// The drivers by which programs reach both.
mod drivers;
// Many sessions at work while certificates are replaced and workers die.
mod load;
// The servers' own regression tests.
mod suites;
// Any service, and bytes both ways.
mod tcp;
// Many identities: folders of them, reloads of some of them, all or nothing.
mod identities;
// Which certificate clients are shown.
mod tls;
// TLS records after the handshake, with peers that send what no library would.
mod records;
// Chains as clients see them.
mod path;
// The list of what ends when.
mod expiries;
// Keys in every form in which people have them.
mod keys;
// Certificates that clients show.
mod client_auth;
// Revocation lists, made by the `openssl` command and judged beside it.
mod revocation;
// Clients that are refused: what they are told, and what is counted and logged.
mod refusals;
// Sessions that are gone on with, and what they must not outlive.
mod resumption;
// TLS between the proxy and a backend.
mod backend_tls;
// Deadlines of the opening, phase by phase.
mod phases;
// Several addresses of a backend's name.
mod addresses;
// Several backends, tried in order.
mod backends;
// Servers and clients that are gone in the middle of a query, or have no room.
mod gone;
// Workers whose supervisor was killed.
mod orphans;
// PROXY protocol headers.
mod proxy_protocol;
// How many sessions a listener takes.
mod limits;
// What the metrics page says.
mod metrics;
mod mounts;
// Backends by name, with a name server that does as it is told.
mod names;
// The process that serves the metrics page.
mod page_process;
// The line that each session leaves in the log, and the counts of how they ended.
mod session_log;
// Processes that are short of descriptors.
mod shortage;
// What keeps a daemon from starting, told before it does.
mod start_steps;
// Workers that are killed at each of their system calls, in the middle of sessions.
mod stepper;
// Disks that do not answer.
mod stuck_disk;
// What tests share: a daemon in a folder of its own, certificates, backends, clients.
mod support;
// Upgrades in place.
mod upgrade;
