"""A command line client that reads statements from a pipe and stays connected."""

import re
import subprocess


class Client:
    """One run of a client, and so one connection."""

    def __init__(self, command, environment, mark, failure):
        """`mark` makes a statement that prints a word; `failure` matches the first line of an error."""
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.mark = mark
        self.failure = re.compile(failure)
        self.asked = 0

    def ask(self, statement):
        """Returns the lines of the answer."""
        self.asked += 1
        mark = f"end of answer {self.asked}"
        try:
            self.process.stdin.write(f"{statement}\n{self.mark(mark)}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # What it said before it left tells why.
        lines = []
        while (line := self.process.stdout.readline()) and line.decode().rstrip("\n") != mark:
            lines.append(line.decode().rstrip("\n"))
            # The mark will not come any more.
            if re.match(r"ERROR (2006|2013|4031)", lines[-1]):
                raise RuntimeError(lines[-1])
        failures = [line for line in lines if self.failure.match(line)]
        if failures or not line:
            raise RuntimeError("\n".join(failures or lines))
        return lines

    def close(self):
        """Ends the client as a user does who has no more to ask."""
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait()


def values_of(line):
    """Splits a line at its tabs, and reads numbers as numbers."""
    return tuple(
        None if word == "NULL" else int(word) if re.fullmatch(r"-?\d{1,18}", word) else word
        for word in line.split("\t")
    )
