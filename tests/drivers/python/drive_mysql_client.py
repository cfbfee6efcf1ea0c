"""The command line clients `mysql` and `mariadb`: the program is the second argument."""

import os
import sys

import mysql_steps
from client import Client, values_of
from report import Unsupported, target

PROGRAM = sys.argv[2]
IS_MARIADB = os.path.basename(PROGRAM) == "mariadb"


def literal(value):
    """Writes a value into a statement."""
    return str(value) if isinstance(value, int) else "'{}'".format(value.replace("'", "''"))


class Driver:
    """A command line client."""

    def connect(self, port, user, password):
        verify = ["--ssl-verify-server-cert"]
        if not IS_MARIADB:
            verify = ["--ssl-mode=VERIFY_IDENTITY", "--commands"]
        command = [
            PROGRAM, *(["--no-defaults"] if IS_MARIADB else []), "--batch", "--raw", "--skip-column-names", "--skip-reconnect",
            "--unbuffered", "--force", "--max-allowed-packet=64M", "--protocol=tcp",
            "--host=localhost", f"--port={port}", f"--user={user}",
            f"--database={target['database']}", f"--ssl-ca={target['ca']}", *verify,
        ]
        environment = {"PATH": os.environ["PATH"], "MYSQL_PWD": password, "HOME": "/nonexistent"}
        connection = Client(
            command, environment, lambda mark: f"SELECT '{mark}';", r"ERROR \d+"
        )
        # It connects when it starts, and says only now whether it could.
        connection.ask("SELECT 1;")
        return connection

    def query(self, connection, sql, values=()):
        statement = sql % tuple(literal(value) for value in values) if values else sql
        return [values_of(line) for line in connection.ask(f"{statement};")]

    def prepared(self, connection, sql, rows):
        self.query(connection, "PREPARE it FROM %s", (sql,))
        answers = []
        for first, second in rows:
            self.query(connection, "SET @first = %s, @second = %s", (first, second))
            answers += self.query(connection, "EXECUTE it USING @first, @second")
        return answers

    def change_user(self, connection, user, password):
        raise Unsupported("the client has no change of user")

    def reset(self, connection):
        if IS_MARIADB:
            raise Unsupported("the client has no reset of a connection")
        connection.ask("\\x")

    def close(self, connection):
        connection.close()


mysql_steps.run(Driver())
