"""psycopg 3, on libpq."""

import re

import psycopg

import postgres_steps
from report import PATIENCE, target


def numbered(sql):
    """Writes `$1` as psycopg does."""
    return re.sub(r"\$\d", "%s", sql)


class Driver:
    """psycopg 3."""

    def connect(self, port, user, password):
        return psycopg.connect(
            host="localhost", port=port, user=user, password=password, dbname=target["database"],
            sslmode="verify-full", sslrootcert=target["ca"], autocommit=True,
            channel_binding=target["channel_binding"],
        )

    def query(self, connection, sql, values=(), prepare=None):
        cursor = connection.execute(numbered(sql), values or None, prepare=prepare)
        return [] if cursor.description is None else cursor.fetchall()

    def prepared(self, connection, sql, rows):
        return [self.query(connection, sql, row, prepare=True)[0] for row in rows]

    def cancel(self, connection):
        connection.cancel_safe()

    def copy_in(self, connection, table, rows):
        with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def copy_out(self, connection, table):
        with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
            return list(copy.rows())

    def notified(self, connection):
        return next(connection.notifies(timeout=PATIENCE, stop_after=1)).payload

    def close(self, connection):
        connection.close()


postgres_steps.run(Driver())
