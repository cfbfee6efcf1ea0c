"""The load of the trials in docs/compare.md: sessions over TLS, and new connections beside them, while a command runs.

    load.py echo PORT             the backend: sends back what it is sent
    load.py PORT [--run COMMAND]  100 sessions that exchange 8 bytes every 50 ms, a new connection every 20 ms, and after
                                  2 s the command; prints one line of JSON about both
"""
import argparse, asyncio, collections, glob, hashlib, json, os, ssl, struct, sys, time


async def echo(port):
    async def answer(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--certificates", default="/srv/trial/certificates")
    parser.add_argument("--name", default="")
    parser.add_argument("--run", default="true")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8)
    return parser.parse_args()


class Load:
    def __init__(self, args):
        self.args = args
        self.tls = ssl.create_default_context(cafile=f"{args.certificates}/ca.pem")
        self.tls.check_hostname = False
        self.names = {}
        for file in sorted(glob.glob(f"{args.certificates}/*.crt")):
            with open(file) as pem:
                der = ssl.PEM_cert_to_DER_cert(pem.read())
            self.names[hashlib.sha256(der).digest()] = os.path.basename(file)[:-4]
        self.lost, self.pauses, self.new, self.done, self.shown = [], [0], collections.Counter(), [], []

    def now(self):
        return time.monotonic() - self.start

    async def dial(self):
        opening = asyncio.open_connection("127.0.0.1", self.args.port, ssl=self.tls)
        return await asyncio.wait_for(opening, 10)

    async def session(self, reader, writer):
        number, longest = 0, 0
        try:
            while self.now() < self.args.seconds:
                number, sent = number + 1, self.now()
                writer.write(struct.pack(">Q", number))
                if await asyncio.wait_for(reader.readexactly(8), 5) != struct.pack(">Q", number):
                    raise ValueError("other bytes")
                longest = max(longest, self.now() - sent)
                await asyncio.sleep(0.05)
        except Exception as error:
            self.lost.append((round(self.now(), 2), type(error).__name__))
        self.pauses.append(longest)
        writer.close()

    async def connection(self):
        try:
            reader, writer = await self.dial()
            writer.write(b"x")
            await asyncio.wait_for(reader.readexactly(1), 10)
            der = writer.get_extra_info("ssl_object").getpeercert(True)
            shown = self.names.get(hashlib.sha256(der).digest(), "another")
            if not self.shown or self.shown[-1][1] != shown:
                self.shown.append((round(self.now(), 2), shown))
            self.done.append(self.now())
            self.new["served"] += 1
            writer.close()
        except ConnectionRefusedError:
            self.new["refused"] += 1
        except asyncio.TimeoutError:
            self.new["without answer for 10 s"] += 1
        except Exception:
            self.new["broken off"] += 1

    async def command(self):
        await asyncio.sleep(2)
        process = await asyncio.create_subprocess_shell(
            self.args.run, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        said, _ = await process.communicate()
        return {"exit": process.returncode, "said": said.decode(errors="replace").strip()}

    async def run(self):
        open_sessions = [await self.dial() for _ in range(self.args.sessions)]
        self.start = time.monotonic()
        tasks = [asyncio.create_task(self.session(*streams)) for streams in open_sessions]
        command = asyncio.create_task(self.command())
        while self.now() < self.args.seconds:
            tasks.append(asyncio.create_task(self.connection()))
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)
        ends = [2] + sorted(at for at in self.done if at > 2) + [self.args.seconds]
        print(json.dumps({
            "name": self.args.name,
            "sessions": self.args.sessions,
            "lost": dict(collections.Counter(reason for _, reason in self.lost)),
            "lost_at": [min(self.lost)[0], max(self.lost)[0]] if self.lost else None,
            "longest_answer_ms": round(max(self.pauses) * 1000),
            "new": dict(self.new),
            "longest_without_new_ms": round(max(b - a for a, b in zip(ends, ends[1:])) * 1000),
            "shown": self.shown[:8],
            "command": await command,
        }))


if sys.argv[1] == "echo":
    asyncio.run(echo(int(sys.argv[2])))
else:
    asyncio.run(Load(arguments()).run())
