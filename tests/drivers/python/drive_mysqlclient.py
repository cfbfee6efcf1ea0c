"""mysqlclient: MariaDB's client library in C."""

import MySQLdb

import mysql_steps
from report import Unsupported, target


class Driver:
    """mysqlclient."""

    def connect(self, port, user, password):
        return MySQLdb.connect(
            # By the name it would take a Unix socket.
            host="127.0.0.1", port=port, user=user, password=password, database=target["database"],
            ssl_mode="VERIFY_IDENTITY", ssl={"ca": target["ca"]}, autocommit=True,
        )

    def query(self, connection, sql, values=()):
        cursor = connection.cursor()
        cursor.execute(sql, values or None)
        rows = [] if cursor.description is None else list(cursor.fetchall())
        cursor.close()
        return rows

    def prepared(self, connection, sql, rows):
        raise Unsupported("mysqlclient has no prepared statements")

    def change_user(self, connection, user, password):
        connection.change_user(user, password, target["database"])

    def reset(self, connection):
        raise Unsupported("mysqlclient has no reset of a connection")

    def close(self, connection):
        connection.close()


mysql_steps.run(Driver())
