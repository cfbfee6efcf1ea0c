"""asyncpg, which speaks the protocol itself, in binary."""

import asyncio
import io
import ssl
import threading

import asyncpg

import postgres_steps
from report import PATIENCE, target

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def wait(what):
    """Waits for something that the loop does, from another thread."""
    return asyncio.run_coroutine_threadsafe(what, LOOP).result()


class Driver:
    """asyncpg."""

    def __init__(self):
        self.news = asyncio.Queue()
        self.running = {}

    def connect(self, port, user, password):
        return wait(asyncpg.connect(
            host="localhost", port=port, user=user, password=password, database=target["database"],
            ssl=ssl.create_default_context(cafile=target["ca"]),
        ))

    def query(self, connection, sql, values=()):
        async def run():
            if sql.startswith("LISTEN"):
                await connection.add_listener(sql.split()[1], lambda *news: self.news.put_nowait(news[3]))
                return []
            self.running[connection] = asyncio.current_task()
            return [tuple(row) for row in await connection.fetch(sql, *values)]

        return wait(run())

    def prepared(self, connection, sql, rows):
        async def run():
            statement = await connection.prepare(sql)
            return [tuple(await statement.fetchrow(*row)) for row in rows]

        return wait(run())

    def cancel(self, connection):
        # The driver sends the request when the task that waits for the answer is cancelled.
        LOOP.call_soon_threadsafe(self.running[connection].cancel, "57014")

    def copy_in(self, connection, table, rows):
        wait(connection.copy_records_to_table(table, records=rows))

    def copy_out(self, connection, table):
        text = io.BytesIO()
        wait(connection.copy_from_table(table, output=text))
        return [line.split("\t") for line in text.getvalue().decode().splitlines()]

    def notified(self, connection):
        return wait(asyncio.wait_for(self.news.get(), PATIENCE))

    def close(self, connection):
        wait(connection.close())


postgres_steps.run(Driver())
