"""The steps for MySQL and MariaDB, the same for every driver.

A driver is an object with

- `connect(port, user, password)`: a connection by TLS with the server's name verified;
- `query(connection, sql, values=())`: the rows, or an empty list;
- `prepared(connection, sql, rows)`: the rows of one prepared statement that is executed with each of
  `rows`, or `Unsupported`;
- `change_user(connection, user, password)` and `reset(connection)`, or `Unsupported`;
- `close(connection)`.
"""

from report import fails_with, meanwhile, reload, step, target, wait_until


def run(driver):
    """Takes all steps."""

    def connect(login=None, port=None):
        who = login or target
        return driver.connect(port or target["port"], who["user"], who["password"])

    def ask(connection, sql, values=()):
        rows = driver.query(connection, sql, values)
        return rows[0][0] if rows else None

    def connects():
        connection = connect()
        assert ask(connection, "SELECT 42") == 42
        driver.close(connection)

    def refuses_another_name():
        words = ("certificate", "hostname", "host name", "tls", "ssl")
        fails_with(lambda: connect(port=target["wrong_name_port"]), *words)

    def logs_in(login):
        connection = connect(login)
        assert ask(connection, "SELECT CURRENT_USER()").split("@")[0] == login["user"]
        driver.close(connection)

    def refuses_another_password():
        wrong = {"user": target["user"], "password": "wrong"}
        fails_with(lambda: connect(wrong), "1045", "access denied")

    def carries(size):
        connection = connect()
        value = ("0123456789abcdef" * (size // 16 + 1))[:size]
        assert ask(connection, "SELECT %s", (value,)) == value
        driver.close(connection)

    def prepares():
        connection = connect()
        rows = driver.prepared(connection, "SELECT ? * 2, ?", [(n, f"word {n}") for n in range(10)])
        expected = [(n * 2, f"word {n}") for n in range(10)]
        assert [(int(a), b) for a, b in rows] == expected, rows
        driver.close(connection)

    def transacts():
        connection = connect()
        driver.query(connection, "CREATE TEMPORARY TABLE numbers (n int) ENGINE=InnoDB")
        for end, left in (("ROLLBACK", 0), ("COMMIT", 1)):
            driver.query(connection, "START TRANSACTION")
            driver.query(connection, "INSERT INTO numbers VALUES (%s)", (1,))
            assert ask(connection, "SELECT COUNT(*) FROM numbers") == 1
            driver.query(connection, end)
            assert ask(connection, "SELECT COUNT(*) FROM numbers") == left
        driver.close(connection)

    def survives_an_error():
        connection = connect()
        fails_with(lambda: driver.query(connection, "SELEC 1"), "1064", "syntax")
        assert ask(connection, "SELECT 7") == 7
        driver.close(connection)

    def sleeping(act):
        """Calls `act` with the id of a connection that sleeps; returns it and its sleep's result."""
        connection, other = connect(), connect()
        number = ask(connection, "SELECT CONNECTION_ID()")
        asleep = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = NUMBER AND INFO LIKE '%SLEEP%'"
        result = meanwhile(lambda: driver.query(connection, "SELECT SLEEP(100)"))
        wait_until("it sleeps", lambda: ask(other, asleep.replace("NUMBER", str(number))) == 1)
        driver.query(other, f"{act} {number}")
        driver.close(other)
        return connection, result

    def cancels():
        connection, result = sleeping("KILL QUERY")
        try:
            assert result() == [(1,)]
        except AssertionError:
            raise
        except Exception as error:  # MariaDB calls it an error.
            assert "1317" in str(error) or "interrupted" in str(error), error
        assert ask(connection, "SELECT 7") == 7
        driver.close(connection)

    def is_killed():
        _, result = sleeping("KILL")
        fails_with(result, "")

    def changes_user(login):
        connection = connect()
        driver.change_user(connection, login["changed_to"], login["password"])
        assert ask(connection, "SELECT CURRENT_USER()").split("@")[0] == login["changed_to"]
        driver.close(connection)

    def resets():
        connection = connect()
        driver.query(connection, "SET @word = 'left'")
        driver.reset(connection)
        assert ask(connection, "SELECT @word") is None
        driver.close(connection)

    def outlives_a_reload():
        connection = connect()
        number = ask(connection, "SELECT CONNECTION_ID()")
        reload()
        assert ask(connection, "SELECT CONNECTION_ID()") == number
        connects()
        driver.close(connection)

    step("connect", connects)
    step("wrong-name", refuses_another_name)
    for login in target["logins"]:
        step(f"login {login['plugin']}", lambda login=login: logs_in(login))
        if login["cache"]:
            step(f"login {login['plugin']} again", lambda login=login: logs_in(login))
    step("wrong-password", refuses_another_password)
    step("value 1 MB", lambda: carries(1 << 20))
    step("value 20 MB", lambda: carries(20 << 20))
    step("prepared", prepares)
    step("transaction", transacts)
    step("error", survives_an_error)
    step("cancel", cancels)
    step("kill", is_killed)
    for login in target["logins"]:
        step(f"change-user {login['plugin']}", lambda login=login: changes_user(login))
    step("reset", resets)
    step("reload", outlives_a_reload)
