"""asyncmy, for programs that wait for many things at once."""

import asyncio
import ssl
import threading

import asyncmy

import mysql_steps
from report import Unsupported, target

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def wait(what):
    """Waits for something that the loop does, from another thread."""
    return asyncio.run_coroutine_threadsafe(what, LOOP).result()


class Driver:
    """asyncmy."""

    def connect(self, port, user, password):
        return wait(asyncmy.connect(
            host="localhost", port=port, user=user, password=password, database=target["database"],
            ssl=ssl.create_default_context(cafile=target["ca"]), autocommit=True,
        ))

    def query(self, connection, sql, values=()):
        async def run():
            async with connection.cursor() as cursor:
                await cursor.execute(sql, values or None)
                return [] if cursor.description is None else list(await cursor.fetchall())

        return wait(run())

    def prepared(self, connection, sql, rows):
        raise Unsupported("asyncmy has no prepared statements")

    def change_user(self, connection, user, password):
        raise Unsupported("asyncmy has no change of user")

    def reset(self, connection):
        raise Unsupported("asyncmy has no reset of a connection")

    def close(self, connection):
        wait(connection.ensure_closed())


mysql_steps.run(Driver())
