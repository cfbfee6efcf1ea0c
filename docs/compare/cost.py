"""What sessions cost in programs that run side by side, for docs/compare.md.

    cost.py WHAT ROUNDS PROGRAM...    in each round, each program has a turn; the first program is what others are compared to

WHAT is `idle` (memory of 1,000 idle sessions), or CPU time of `connections` (1,000, 200 a second), of `kept` (the same,
but each stays for 0.2 s), of `requests` (5,000 of 64 bytes in one session, and as many answers) or of `bytes` (200 MB in
one session, and the same back).
"""
import asyncio, json, os, ssl, statistics, subprocess, sys, time

PORTS = dict(proxyd=24101, haproxy=24102, envoy=24103, nginx=24104, stunnel=24105, hitch=24106)
BASE = "/srv/trial"
TLS = ssl.create_default_context(cafile=f"{BASE}/certificates/ca.pem")
TLS.check_hostname = False


def processes(program):
    with open(f"{BASE}/{program}/main") as file:
        found = [int(file.read())]
    for pid in found:
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
        found += [int(child) for child in children.stdout.split()]
    return found


def cpu_seconds(program):
    ticks = 0
    for pid in processes(program):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_kib(program):
    total = 0
    for pid in processes(program):
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


async def connect(program):
    reader, writer = await asyncio.open_connection("127.0.0.1", PORTS[program], ssl=TLS)
    writer.write(b"x")
    await reader.readexactly(1)
    return reader, writer


async def visit(program, hold):
    _, writer = await connect(program)
    await asyncio.sleep(hold)
    writer.close()


async def visits(program, hold):
    start, tasks = time.monotonic(), []
    for number in range(1000):
        await asyncio.sleep(max(0, start + number / 200 - time.monotonic()))
        tasks.append(asyncio.create_task(visit(program, hold)))
    await asyncio.gather(*tasks)


async def requests(program):
    reader, writer = await connect(program)
    for _ in range(5000):
        writer.write(bytes(64))
        await reader.readexactly(64)
    writer.close()


async def send(writer, size):
    for _ in range(size // 65536):
        writer.write(bytes(65536))
        await writer.drain()


async def many_bytes(program):
    reader, writer = await connect(program)
    size = 200_000_000 // 65536 * 65536
    sending = asyncio.create_task(send(writer, size))
    while size:
        size -= len(await reader.read(1 << 20))
    await sending
    writer.close()


async def idle(program):
    before = memory_kib(program)
    sessions = [await connect(program) for _ in range(1000)]
    await asyncio.sleep(1)
    grown = memory_kib(program) - before
    for _, writer in sessions:
        writer.close()
    await asyncio.sleep(1)
    return round(grown / 1000, 1)


WORK = dict(connections=lambda program: visits(program, 0), kept=lambda program: visits(program, 0.2),
            requests=requests, bytes=many_bytes)


async def turn(what, program):
    if what == "idle":
        return await idle(program)
    before = cpu_seconds(program)
    await WORK[what](program)
    await asyncio.sleep(0.3)
    return round(cpu_seconds(program) - before, 2)


async def main(what, rounds, programs):
    cost = {program: [] for program in programs}
    for number in range(rounds):
        first = number % len(programs)
        for program in programs[first:] + programs[:first]:
            cost[program].append(await turn(what, program))
    for program in programs:
        ratios = [round(own / base, 2) for own, base in zip(cost[program], cost[programs[0]])]
        print(json.dumps({what: program, "KiB" if what == "idle" else "seconds": cost[program],
                          "median": statistics.median(cost[program]), "ratios": ratios,
                          "median ratio": round(statistics.median(ratios), 2)}), flush=True)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
