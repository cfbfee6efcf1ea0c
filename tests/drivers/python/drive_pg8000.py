"""pg8000, which is written in Python alone."""

import io
import re
import ssl
import time

import pg8000.dbapi

import postgres_steps
from report import PATIENCE, Unsupported, target


class Driver:
    """pg8000."""

    def connect(self, port, user, password):
        connection = pg8000.dbapi.connect(
            host="localhost", port=port, user=user, password=password, database=target["database"],
            ssl_context=ssl.create_default_context(cafile=target["ca"]),
        )
        connection.autocommit = True
        return connection

    def query(self, connection, sql, values=()):
        cursor = connection.cursor()
        cursor.execute(re.sub(r"\$\d", "%s", sql), values)
        return [] if cursor.description is None else [tuple(row) for row in cursor.fetchall()]

    def prepared(self, connection, sql, rows):
        # The native interface of the same connection.
        statement = connection.prepare(re.sub(r"\$(\d)", r":v\1", sql)) if hasattr(
            connection, "prepare"
        ) else None
        if statement is None:
            raise Unsupported("pg8000's DB-API has no prepared statements")
        return [statement.run(**{f"v{n + 1}": value for n, value in enumerate(row)})[0] for row in rows]

    def cancel(self, connection):
        raise Unsupported("pg8000 has no request to cancel")

    def copy_in(self, connection, table, rows):
        text = io.StringIO("".join(f"{n}\t{words}\n" for n, words in rows))
        connection.cursor().execute(f"COPY {table} FROM STDIN", stream=text)

    def copy_out(self, connection, table):
        text = io.StringIO()
        connection.cursor().execute(f"COPY {table} TO STDOUT", stream=text)
        return [line.split("\t") for line in text.getvalue().splitlines()]

    def notified(self, connection):
        end = time.monotonic() + PATIENCE
        while not connection.notifications:
            assert time.monotonic() < end, "no notification came"
            # They come with answers.
            self.query(connection, "SELECT 1")
        return connection.notifications[0][2]

    def close(self, connection):
        connection.close()


postgres_steps.run(Driver())
