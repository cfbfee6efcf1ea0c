"""PyMySQL, which is written in Python alone."""

import pymysql

import mysql_steps
from report import Unsupported, target


class Driver:
    """PyMySQL."""

    def connect(self, port, user, password):
        return pymysql.connect(
            host="localhost", port=port, user=user, password=password, database=target["database"],
            ssl={"ca": target["ca"], "check_hostname": True}, autocommit=True,
            max_allowed_packet=1 << 26,
        )

    def query(self, connection, sql, values=()):
        with connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return [] if cursor.description is None else list(cursor.fetchall())

    def prepared(self, connection, sql, rows):
        raise Unsupported("PyMySQL has no prepared statements")

    def change_user(self, connection, user, password):
        raise Unsupported("PyMySQL has no change of user")

    def reset(self, connection):
        raise Unsupported("PyMySQL has no reset of a connection")

    def close(self, connection):
        connection.close()


mysql_steps.run(Driver())
