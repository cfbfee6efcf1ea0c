"""What a session costs in programs that run side by side, in turns, for docs/compare.md.

    cost.py ROUNDS HOLD PROGRAM...   memory of 1,000 idle sessions, then in each round, for each program, the CPU time of
                                     1,000 new connections, 200 a second, that stay for HOLD seconds
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
    return writer


async def visit(program, hold):
    writer = await connect(program)
    await asyncio.sleep(hold)
    writer.close()


async def idle(program):
    before = memory_kib(program)
    writers = [await connect(program) for _ in range(1000)]
    await asyncio.sleep(1)
    grown = memory_kib(program) - before
    for writer in writers:
        writer.close()
    await asyncio.sleep(1)
    return round(grown / 1000, 1)


async def turn(program, hold):
    before, start, tasks = cpu_seconds(program), time.monotonic(), []
    for number in range(1000):
        await asyncio.sleep(max(0, start + number / 200 - time.monotonic()))
        tasks.append(asyncio.create_task(visit(program, hold)))
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.3)
    return round((cpu_seconds(program) - before) * 1000)


async def main(rounds, hold, programs):
    memory = {program: await idle(program) for program in programs}
    cpu = {program: [] for program in programs}
    for number in range(rounds):
        first = number % len(programs)
        for program in programs[first:] + programs[:first]:
            cpu[program].append(await turn(program, hold))
    for program in programs:
        ratios = [round(own / base, 2) for own, base in zip(cpu[program], cpu[programs[0]])]
        print(json.dumps({"program": program, "KiB of an idle session": memory[program],
                          "µs of CPU for a connection": cpu[program], "median": statistics.median(cpu[program]),
                          f"ratio to {programs[0]}": ratios}, ensure_ascii=False))


asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
