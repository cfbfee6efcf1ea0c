"""The steps for PostgreSQL, the same for every driver.

A driver is an object with

- `connect(port, user, password)`: a connection by TLS with the server's name verified;
- `query(connection, sql, values=())`: the rows, or an empty list; values are `$1` and so on;
- `prepared(connection, sql, rows)`: the rows of one prepared statement that is executed with each of
  `rows`;
- `cancel(connection)`: cancels, from another thread, what the connection waits for; or `Unsupported`;
- `copy_in(connection, table, rows)` and `copy_out(connection, table)`, or `Unsupported`;
- `notified(connection)`: waits for a notification and returns its payload, or `Unsupported`;
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
        words = ("certificate", "hostname", "tls", "ssl")
        fails_with(lambda: connect(port=target["wrong_name_port"]), *words)

    def logs_in(login):
        connection = connect(login)
        assert ask(connection, "SELECT CURRENT_USER") == login["user"]
        driver.close(connection)

    def refuses_another_password():
        wrong = {"user": target["user"], "password": "wrong"}
        fails_with(lambda: connect(wrong), "28p01", "password authentication failed")

    def carries(size):
        connection = connect()
        value = ("0123456789abcdef" * (size // 16 + 1))[:size]
        assert ask(connection, "SELECT $1::text", (value,)) == value
        driver.close(connection)

    def prepares():
        connection = connect()
        rows = [(n, f"word {n}") for n in range(10)]
        answers = driver.prepared(connection, "SELECT $1::int * 2, $2::text", rows)
        assert [tuple(row) for row in answers] == [(n * 2, f"word {n}") for n in range(10)], answers
        driver.close(connection)

    def transacts():
        connection = connect()
        driver.query(connection, "CREATE TEMPORARY TABLE numbers (n int)")
        for end, left in (("ROLLBACK", 0), ("COMMIT", 1)):
            driver.query(connection, "BEGIN")
            driver.query(connection, "INSERT INTO numbers VALUES ($1::int)", (1,))
            assert ask(connection, "SELECT COUNT(*) FROM numbers") == 1
            driver.query(connection, end)
            assert ask(connection, "SELECT COUNT(*) FROM numbers") == left
        driver.close(connection)

    def survives_an_error():
        connection = connect()
        fails_with(lambda: driver.query(connection, "SELEC 1"), "42601", "syntax")
        assert ask(connection, "SELECT 7") == 7
        driver.close(connection)

    def sleeping(act):
        """Calls `act` while a connection sleeps; returns it and its sleep's result."""
        connection, other = connect(), connect()
        number = ask(connection, "SELECT pg_backend_pid()")
        result = meanwhile(lambda: driver.query(connection, "SELECT pg_sleep(100)"))
        asleep = f"SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {number} AND wait_event = 'PgSleep'"
        wait_until("it sleeps", lambda: ask(other, asleep) == 1)
        act(connection, other, number)
        driver.close(other)
        return connection, result

    def cancels():
        connection, result = sleeping(lambda connection, other, number: driver.cancel(connection))
        # asyncio has its own word for it.
        fails_with(result, "57014", "user request", "cancellederror")
        # psql ends when it reads from a pipe and is told to cancel.
        if not getattr(driver, "ends_with_cancel", False):
            assert ask(connection, "SELECT 7") == 7
        driver.close(connection)

    def is_killed():
        _, result = sleeping(
            lambda connection, other, number: driver.query(other, f"SELECT pg_terminate_backend({number})")
        )
        fails_with(result, "")

    def copies():
        connection = connect()
        driver.query(connection, "CREATE TEMPORARY TABLE copied (n int, words text)")
        rows = [(n, f"number {n}") for n in range(50_000)]
        driver.copy_in(connection, "copied", rows)
        assert ask(connection, "SELECT COUNT(*) FROM copied") == len(rows)
        assert sorted((int(n), words) for n, words in driver.copy_out(connection, "copied")) == rows
        driver.close(connection)

    def is_notified():
        listener, teller = connect(), connect()
        channel = f"news_{target['port']}"
        driver.query(listener, f"LISTEN {channel}")
        driver.query(teller, f"NOTIFY {channel}, 'hello'")
        assert driver.notified(listener) == "hello"
        driver.close(teller)
        driver.close(listener)

    def outlives_a_reload():
        connection = connect()
        number = ask(connection, "SELECT pg_backend_pid()")
        reload()
        assert ask(connection, "SELECT pg_backend_pid()") == number
        connects()
        driver.close(connection)

    step("connect", connects)
    step("wrong-name", refuses_another_name)
    for login in target["logins"]:
        step(f"login {login['plugin']}", lambda login=login: logs_in(login))
    step("wrong-password", refuses_another_password)
    step("value 1 MB", lambda: carries(1 << 20))
    step("value 20 MB", lambda: carries(20 << 20))
    step("prepared", prepares)
    step("transaction", transacts)
    step("error", survives_an_error)
    step("cancel", cancels)
    step("kill", is_killed)
    step("copy", copies)
    step("notify", is_notified)
    step("reload", outlives_a_reload)
