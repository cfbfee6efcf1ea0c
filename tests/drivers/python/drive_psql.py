"""The command line client `psql`: the program is the second argument."""

import os
import re
import signal
import sys

import postgres_steps
from client import Client, values_of
from report import target

PROGRAM = sys.argv[2]


def literal(value):
    """Writes a value into a statement."""
    return str(value) if isinstance(value, int) else "'{}'".format(value.replace("'", "''"))


class Driver:
    """psql."""

    ends_with_cancel = True

    def connect(self, port, user, password):
        words = (
            f"host=localhost port={port} user={user} dbname={target['database']} sslmode=verify-full "
            f"sslrootcert={target['ca']} channel_binding={target['channel_binding']}"
        )
        command = [PROGRAM, "-X", "-A", "-t", "-q", "-w", "-F", "\t", "-P", "null=NULL", "-d", words]
        environment = {"PATH": os.environ["PATH"], "PGPASSWORD": password, "HOME": "/nonexistent"}
        connection = Client(
            command, environment, lambda mark: f"\\echo {mark}", r"(ERROR|FATAL|psql: error):"
        )
        connection.ask("SELECT 1;")
        return connection

    def query(self, connection, sql, values=()):
        statement = re.sub(r"\$(\d)", lambda at: literal(values[int(at[1]) - 1]), sql)
        return [values_of(line) for line in connection.ask(f"{statement};")]

    def prepared(self, connection, sql, rows):
        connection.ask(f"PREPARE it AS {sql};")
        return [
            values_of(connection.ask(f"EXECUTE it({first}, {literal(second)});")[0])
            for first, second in rows
        ]

    def cancel(self, connection):
        connection.process.send_signal(signal.SIGINT)

    def copy_in(self, connection, table, rows):
        lines = "".join(f"{n}\t{words}\n" for n, words in rows)
        connection.ask(f"COPY {table} FROM STDIN;\n{lines}\\.")

    def copy_out(self, connection, table):
        return [line.split("\t") for line in connection.ask(f"COPY {table} TO STDOUT;")]

    def notified(self, connection):
        # psql shows what came with the answer to a statement.
        for _ in range(1000):
            for line in connection.ask("SELECT 1;"):
                if found := re.search(r'with payload "(.*)" received', line):
                    return found[1]
        raise AssertionError("no notification came")

    def close(self, connection):
        connection.close()


postgres_steps.run(Driver())
