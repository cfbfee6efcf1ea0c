"""The repository that is packaged: where it is, what its manifest says, and when it was changed last."""

import functools
import os
import subprocess
import sys
import tomllib

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def path(*names):
    """Returns the path of a file of the repository."""
    return os.path.join(REPOSITORY, *names)


def read(name):
    """Returns the text of a file of the repository."""
    with open(path(name), encoding="utf-8") as file:
        return file.read()


def fail(reason):
    """Ends the program with a reason on standard error."""
    sys.exit(f"{os.path.basename(sys.argv[0])}: {reason}")


def output(*command, folder=REPOSITORY):
    """Returns what a command prints; ends the program when the command fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


@functools.cache
def manifest():
    """Returns the table [package] of Cargo.toml."""
    return tomllib.loads(read("Cargo.toml"))["package"]


@functools.cache
def lock():
    """Returns the packages of Cargo.lock by name and version."""
    packages = tomllib.loads(read("Cargo.lock"))["package"]
    return {(package["name"], package["version"]): package for package in packages}


@functools.cache
def epoch():
    """Returns the time that everything made here bears, in seconds: SOURCE_DATE_EPOCH, else the time of the newest commit.

    Nothing made here may bear the time at which it was made, or it would differ from what is made of the same source later.
    """
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told is None and os.path.exists(path(".git")):
        told = output("git", "log", "-1", "--format=%ct").strip()
    if not told:
        fail("this is no git repository: set SOURCE_DATE_EPOCH to the time that the files are to bear, in seconds")
    return int(told)
