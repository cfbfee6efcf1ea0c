"""A release from a checkout of the newest commit: programs that do not tell where and when they were built."""

import os
import subprocess
import sys
import tempfile

import publish
import source

PROGRAMS = "target/release"


def make(compression, folder):
    """Makes a release in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="proxyd-release-") as checkout:
        make_in(checkout, compression, folder)


def make_twice(compression, folder):
    """Makes a release in an empty folder, and the same again elsewhere; ends the program if they differ."""
    # Paths of different lengths: a path that is left somewhere shows.
    prefixes = ("proxyd-release-", "proxyd-release-of-the-second-time-")
    with tempfile.TemporaryDirectory() as again:
        digests = []
        for prefix, output in zip(prefixes, (folder, again)):
            with tempfile.TemporaryDirectory(prefix=prefix) as checkout:
                make_in(checkout, compression, output)
                programs = os.path.join(checkout, PROGRAMS)
                built = {f"{PROGRAMS}/{name}": os.path.join(programs, name) for name in ("proxyd", "proxyctl")}
                made = {name: os.path.join(output, name) for name in os.listdir(output)}
                digests.append({name: publish.digest(path) for name, path in (built | made).items()})
    first, second = digests
    differ = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    if differ:
        source.fail(f"built twice, these differ: {', '.join(differ)}")
    say(f"built twice, all {len(first)} files are the same, byte for byte")


def make_in(checkout, compression, folder):
    """Makes a release of a checkout in an empty folder."""
    if source.output("git", "status", "--porcelain"):
        say("what no commit has is not in the release")
    say(f"building {source.output('git', 'rev-parse', '--short', 'HEAD').strip()} in {checkout}")
    archive = subprocess.Popen(["git", "archive", "HEAD"], cwd=source.REPOSITORY, stdout=subprocess.PIPE)
    subprocess.run(["tar", "--extract", "--directory", checkout], stdin=archive.stdout, check=True)
    if archive.wait() != 0:
        source.fail("git archive failed")
    settings = environment(checkout)
    run(["cargo", "build", "--release", "--locked", "--bins"], checkout, settings)
    programs = os.path.join(checkout, PROGRAMS)
    # The checkout's own, which may be of another commit than this program.
    command = [os.path.join(checkout, "packaging/release"), "--programs", programs]
    run([*command, "--compression", compression, folder], checkout, settings)


def environment(checkout):
    """Returns the variables by which a build depends on the source and the compiler alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUSTFLAGS", "CARGO_"))}
    cargo = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
    places = {checkout: "/usr/src/proxyd", cargo: "/usr/share/cargo"}
    # How cargo is reached is the caller's business.
    home = {name: os.environ[name] for name in os.environ if name.startswith(("CARGO_HOME", "CARGO_HTTP", "CARGO_NET"))}
    return kept | home | {
        "CARGO_INCREMENTAL": "0",
        "CARGO_TARGET_DIR": os.path.join(checkout, "target"),
        "CFLAGS": " ".join(f"-ffile-prefix-map={there}={name}" for there, name in places.items()),
        "LC_ALL": "C.UTF-8",
        "RUSTFLAGS": " ".join(f"--remap-path-prefix={there}={name}" for there, name in places.items()),
        "SOURCE_DATE_EPOCH": str(source.epoch()),
        "TZ": "UTC",
    }


def run(command, folder, settings):
    """Runs a command, whose output goes to standard error; ends the program when it fails."""
    done = subprocess.run(command, cwd=folder, env=settings, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        source.fail(f"{' '.join(command)} failed")


def say(text):
    """Tells the caller what happens."""
    print(f"release: {text}", file=sys.stderr)
