"""OpenSSL on both sides of the daemon, by Python: a client that talks to a server of its own through it.

Says where the server is, reads where the daemon is, and for each suite sends bytes both ways at once,
in pieces of random lengths, and ends both sides as TLS should be ended.
"""

import hashlib
import random
import selectors
import socket
import ssl
import sys
import threading

CERT, KEY, TOTAL = sys.argv[1], sys.argv[2], int(sys.argv[3])
SUITES = [None] + [
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
]
PATIENCE = 30


def limit(context, suite):
    """Leaves one suite of TLS 1.2, or those of TLS 1.3."""
    version = ssl.TLSVersion.TLSv1_2 if suite else ssl.TLSVersion.TLSv1_3
    context.minimum_version = context.maximum_version = version
    if suite:
        context.set_ciphers(suite)
    return context


def served(suite):
    context = limit(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), suite)
    for kind in ("ec", "rsa"):
        context.load_cert_chain(f"{CERT}.{kind}", f"{KEY}.{kind}")
    return context


def asked(suite):
    context = limit(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), suite)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def block(seed):
    return random.Random(seed).randbytes(1 << 16)


def talk(tls, seed, heard):
    """Sends TOTAL bytes and takes as many meanwhile; returns the digests of both."""
    lengths, out = random.Random(seed), block(seed)
    sent, received = hashlib.sha256(), hashlib.sha256()
    left, missing, piece = TOTAL, TOTAL, b""
    tls.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(tls, selectors.EVENT_READ)
        while left or piece or missing:
            wanted = selectors.EVENT_READ
            try:
                while missing:
                    data = tls.recv(1 << 16)
                    if not data:
                        raise EOFError(f"{missing} bytes are missing")
                    received.update(data)
                    missing -= len(data)
            except ssl.SSLWantReadError:
                pass
            try:
                for _ in range(16):
                    if not piece and left:
                        piece = out[: min(left, lengths.randint(1, 40_000))]
                        sent.update(piece)
                        left -= len(piece)
                    if piece:
                        piece = piece[tls.send(piece) :]
                if piece or left:
                    continue
            except ssl.SSLWantWriteError:
                wanted |= selectors.EVENT_WRITE
            if missing or piece or left:
                selector.modify(tls, wanted)
                if not selector.select(PATIENCE):
                    raise TimeoutError("nothing moves")
    tls.settimeout(PATIENCE)
    heard[seed] = (sent.hexdigest(), received.hexdigest())


def serve(listener, heard, failures):
    """Talks to one client for each suite, and ends when it does."""
    try:
        for suite in SUITES:
            connection, _ = listener.accept()
            with served(suite).wrap_socket(connection, server_side=True) as tls:
                check_suite(tls, suite)
                talk(tls, 2, heard)
                # The client is the first to end; it is told of an end in turn.
                assert tls.recv(1) == b"", "more than was sent"
                tls.unwrap().close()
    except Exception as error:
        failures.append(error)
        raise


def check_suite(tls, suite):
    name, version, _ = tls.cipher()
    assert suite in (None, name), f"{name} instead of {suite}"


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE)
    heard, failures = {}, []
    server = threading.Thread(target=serve, args=(listener, heard, failures), daemon=True)
    server.start()
    print(listener.getsockname()[1], flush=True)
    host, port = sys.stdin.readline().strip().rsplit(":", 1)
    for suite in SUITES:
        raw = socket.create_connection((host, int(port)), PATIENCE)
        with asked(suite).wrap_socket(raw) as tls:
            check_suite(tls, suite)
            talk(tls, 1, heard)
            # It comes back when the other side's end has come.
            tls.unwrap().close()
        print(f"{suite or 'TLS 1.3'} is done", flush=True)
    server.join(PATIENCE)
    assert not failures and not server.is_alive(), failures
    assert heard[1] == heard[2][::-1], heard
    print("all came whole", flush=True)


main()
