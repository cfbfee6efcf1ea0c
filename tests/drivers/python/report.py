"""What the scripts for Python share: where to go, and one line of JSON for each step.

The test that runs a script gives it the target as its one argument, and knows from the steps' names
what must come.
"""

import json
import sys
import threading
import time
import traceback

target = json.loads(sys.argv[1])

# How long anything may take that should end by itself.
PATIENCE = 30


class Unsupported(Exception):
    """The driver has no call for what a step is about."""


def say(step, result, reason=None):
    print(json.dumps({"step": step, "result": result, "reason": reason}), flush=True)


def step(name, act):
    """Does something, and says how it went."""
    try:
        act()
    except Unsupported as error:
        say(name, "unsupported", str(error))
    except BaseException as error:  # pylint: disable=broad-exception-caught
        traceback.print_exc()
        say(name, "failed", f"{type(error).__name__}: {error}"[:500])
    else:
        say(name, "ok")


def reload():
    """Has the test replace the certificate and waits until that is done."""
    say("reload", "waiting")
    assert sys.stdin.readline().strip() == "done"


def fails_with(act, *words):
    """Expects an error that says one of these words."""
    try:
        act()
    except Exception as error:  # pylint: disable=broad-exception-caught
        text = f"{type(error).__name__} {error} {error.__cause__}".lower()
        assert any(word in text for word in words), text
        return
    raise AssertionError("it succeeded")


def wait_until(what, is_it):
    """Looks until something is so."""
    end = time.monotonic() + PATIENCE
    while not is_it():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.01)


def meanwhile(act):
    """Does something in another thread; returns a call that waits for its result."""
    outcome = {}

    def run():
        try:
            outcome["value"] = act()
        except BaseException as error:  # pylint: disable=broad-exception-caught
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(PATIENCE)
        assert not thread.is_alive(), "it goes on"
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]

    return result
