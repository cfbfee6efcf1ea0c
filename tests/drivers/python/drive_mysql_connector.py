"""mysql-connector-python, in C, or in Python where `pure` is its second argument."""

import sys

import mysql.connector

import mysql_steps
from report import target

PURE = sys.argv[2:] == ["pure"]


class Driver:
    """mysql-connector-python."""

    def connect(self, port, user, password):
        return mysql.connector.connect(
            host="localhost", port=port, user=user, password=password, database=target["database"],
            ssl_ca=target["ca"], ssl_verify_cert=True, ssl_verify_identity=True, use_pure=PURE,
            autocommit=True,
        )

    def query(self, connection, sql, values=()):
        cursor = connection.cursor()
        cursor.execute(sql, values or None)
        rows = cursor.fetchall() if cursor.with_rows else []
        cursor.close()
        return rows

    def prepared(self, connection, sql, rows):
        cursor = connection.cursor(prepared=True)
        answers = []
        for row in rows:
            cursor.execute(sql, row)
            answers += cursor.fetchall()
        cursor.close()
        return answers

    def change_user(self, connection, user, password):
        connection.cmd_change_user(user, password, target["database"])

    def reset(self, connection):
        connection.cmd_reset_connection()

    def close(self, connection):
        connection.close()


mysql_steps.run(Driver())
