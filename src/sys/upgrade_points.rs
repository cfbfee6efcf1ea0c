//! The points of an upgrade at which a process may die, hang or fail.
//!
//! The builds for tests (features `orders` and `next`) do at one of them what they are told by the file that the environment
//! variable `PROXYD_ORDERS` names. Its first line is the order that counts: a point and a deed, as in `Found Kill`. An order that
//! is carried out is taken out of the file, so that no process after this one carries it out again.

use std::time::Duration;

/// A point of an upgrade. They are listed in about the order in which they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The upgrade was asked for, and its trial begins.
    Asked,
    /// In the trial's process: the program that is tried was told what it is to go on with.
    Trying,
    /// The trial has shown that the program is good.
    Tried,
    /// Nothing is under way any more, and signals are held.
    Quiet,
    /// The book says that this supervisor leaves.
    Leaving,
    /// All is ready for the program to be executed.
    Executing,
    /// The program was executed, and has taken up its descriptors.
    Executed,
    /// It knows what it goes on for, and has read the configuration.
    Read,
    /// It has found the workers, and what else the program before it has left.
    Found,
    /// It has taken all steps of its start.
    Begun,
    /// Its first workers are being started.
    Adopted,
    /// A worker of its own has been started.
    Launched,
    /// A worker of the program before was told to hand over.
    HandingOver,
    /// All its workers serve.
    Serving,
    /// Other workers are sent its sessions, which it still serves.
    Offered,
    /// They have said that they hold them.
    Held,
    /// It was told to leave them.
    ToldToLeave,
    /// A worker of the program before has ended.
    HandedOver,
    /// All is as it should be.
    Confirming,
    /// The program before cannot be gone back to any more, and the asker has no answer.
    Confirmed,
    /// The asker is sent the answer.
    Answered,
    /// The program before is gone back to.
    GoingBack,
}

/// Why a process does not go on past a point.
#[derive(Debug, thiserror::Error)]
#[error("it was told not to go on at {0:?}")]
pub struct Told(Point);

/// Returns how long something may take: `seconds`, and less in the build for tests, whose tests wait for it.
pub const fn patience(seconds: u64, in_tests: u64) -> Duration {
    Duration::from_secs(if cfg!(feature = "orders") {
        in_tests
    } else {
        seconds
    })
}

/// Says that a point is reached.
#[cfg(not(feature = "points"))]
#[inline]
pub fn reach(_point: Point) {}

/// Says that a point is reached at which a process can fail.
#[cfg(not(feature = "points"))]
#[inline]
pub fn pass(_point: Point) -> Result<(), Told> {
    Ok(())
}

#[cfg(feature = "points")]
pub use self::obeyed::{begin_worker, pass, reach, worker_order};

#[cfg(feature = "points")]
mod obeyed {
    use std::{env, fs, process, sync::Mutex, thread};

    use nix::sys::signal::{Signal, raise};

    use super::{Point, Told};

    /// Names the file with the orders.
    const ORDERS: &str = "PROXYD_ORDERS";

    /// Tells a worker what to do.
    const WORKER: &str = "PROXYD_ORDERS_WORKER";

    /// What workers that are started from now on are to do.
    static OF_WORKERS: Mutex<Option<String>> = Mutex::new(None);

    /// Says that a point is reached.
    pub fn reach(point: Point) {
        // Where it cannot fail it goes on.
        let _ = pass(point);
    }

    /// Says that a point is reached at which a process can fail.
    pub fn pass(point: Point) -> Result<(), Told> {
        match take(point).as_deref() {
            None => Ok(()),
            Some("Fail") => Err(Told(point)),
            Some(deed @ ("WorkersCrash" | "WorkersHang")) => {
                if let Ok(mut of_workers) = OF_WORKERS.lock() {
                    *of_workers = Some(deed.to_owned());
                }
                Ok(())
            }
            Some("Stop") => {
                // Until the test lets it go on.
                let _ = raise(Signal::SIGSTOP);
                pass(point)
            }
            Some(deed) => act(deed),
        }
    }

    /// Returns the variable for a worker that is started, if it is to do something.
    pub fn worker_order() -> Option<(&'static str, String)> {
        let deed = OF_WORKERS.lock().ok()?.clone()?;
        Some((WORKER, deed.trim_start_matches("Workers").to_owned()))
    }

    /// Has a worker do what it was told, at its begin.
    pub fn begin_worker() {
        if let Ok(deed) = env::var(WORKER) {
            act(&deed);
        }
    }

    /// Takes the first order from the file, and returns its deed, if it is for this point.
    fn take(point: Point) -> Option<String> {
        let path = env::var_os(ORDERS)?;
        let orders = fs::read_to_string(&path).ok()?;
        let (order, rest) = orders.split_once('\n')?;
        let (at, deed) = order.split_once(' ')?;
        if at != format!("{point:?}") {
            return None;
        }
        fs::write(path, rest).ok()?;
        Some(deed.to_owned())
    }

    fn act(deed: &str) -> ! {
        match deed {
            "Hang" => loop {
                thread::park();
            },
            "Kill" => {
                // Of all signals to itself, this one cannot be refused.
                let _ = raise(Signal::SIGKILL);
                process::abort()
            }
            _ => process::abort(),
        }
    }
}
