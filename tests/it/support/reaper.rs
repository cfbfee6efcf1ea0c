//! Programs in Python that kill workers themselves, at the moments that they choose.

use super::daemon::TestDaemon;

/// What such a program may call. It stands in a loop, as programs of [`super::servers::python`] do.
const REAPER: &str = "
    import json, os, signal, subprocess, time
    def children():
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/stat' % pid) as stat:
                    head, _, rest = stat.read().rpartition(')')
            except OSError:
                continue
            state, parent = rest.split()[:2]
            if parent == 'SUPERVISOR' and state not in 'ZX' and head.endswith('(proxyd-worker'):
                yield int(pid)
    def ask(*words):
        words = ['PROXYCTL', '--socket', 'SOCKET', '--json', *words]
        return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    def until(what, look):
        end = time.monotonic() + 30
        while not look():
            assert time.monotonic() < end, what
            time.sleep(0.002)
    def are_kept():
        # That of the leg before may not have ended yet.
        young = len(ask('sessions')) - len(ask('sessions', '--older-than', '500ms'))
        sessions = ask('status')['sessions']
        return young == 0 and sessions['kept'] == sessions['open']
    def kept():
        until('the sessions are kept', are_kept)
    def kill():
        dead = []
        while not dead:
            dead = list(children())
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        until('they are dead', lambda: not set(dead) & set(children()))
";

/// Returns a program behind `kept()`, which waits until all sessions outlive their worker, and `kill()`, which
/// kills all workers of a daemon.
pub(crate) fn killing(daemon: &TestDaemon, program: &str) -> String {
    let socket = daemon.socket();
    let reaper = REAPER
        .replace("SUPERVISOR", &daemon.pid().to_string())
        .replace("PROXYCTL", env!("CARGO_BIN_EXE_proxyctl"))
        .replace("SOCKET", socket.to_str().unwrap());
    [&reaper, program].concat()
}

/// Sees that so many sessions were taken over at least, and that none was lost.
#[track_caller]
pub(crate) fn lost_none(daemon: &TestDaemon, takeovers: u64) {
    let sessions = &daemon.status()["sessions"];
    let taken_over = sessions["taken_over_total"].as_u64().unwrap();
    assert!(taken_over >= takeovers, "{sessions}");
    assert_eq!(sessions["lost_total"], 0, "{sessions}");
}
