"""Logs in to an account whose second factor is a security key, over the ports given.

Argument 1 is the authority's file, 2 and 3 are the name and password of somebody who may empty the server's
memory of passwords; the account is `key_holder`, its password `first`. The key is made here: it does what
the device would (Web Authentication, sections 6.1 and 6.5) and its answers have the form that the client's
plugin gives them.
"""
import base64
import datetime
import hashlib
import sys
import types

import mysql.connector
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mysql.connector.connection import MySQLConnection
from mysql.connector.plugins import MySQLAuthPlugin

PLUGIN = "authentication_webauthn_client"
SHA256 = hashes.SHA256()


def cbor(kind, length):
    """Returns the head of an item (RFC 8949, section 3)."""
    if length < 24:
        return bytes([kind << 5 | length])
    return bytes([kind << 5 | 25]) + length.to_bytes(2, "big")


def cbor_bytes(value):
    return cbor(2, len(value)) + value


def cbor_text(value):
    return cbor(3, len(value)) + value.encode()


def counted(value):
    """Returns a string with its length before it, as MySQL does."""
    if len(value) < 251:
        return bytes([len(value)]) + value
    return b"\xfc" + len(value).to_bytes(2, "little") + value


def challenge_of(data):
    """Returns the challenge and the server's name for itself, from behind a byte of flags."""
    length = 2 + data[1]
    return data[2:length], data[length + 1 : length + 1 + data[length]]


class SecurityKey:
    """A device that holds one key and asks nobody."""

    name = b"the only credential of this key."

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())

    def sign(self, kind, data, flags, more=b""):
        """Returns what was signed, the signature and what the client adds."""
        challenge, server = challenge_of(data)
        challenge = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        client = '{"type":"webauthn.%s","challenge":"%s","origin":"https://%s","crossOrigin":false}'
        client = (client % (kind, challenge, server.decode())).encode()
        # No signature was counted.
        device = hashlib.sha256(server).digest() + bytes([flags]) + bytes(4) + more
        signature = self.key.sign(device + hashlib.sha256(client).digest(), ec.ECDSA(SHA256))
        return cbor_bytes(device), signature, client

    def register(self, challenge):
        """Returns what ALTER USER wants to know of a new key."""
        point = self.key.public_key().public_numbers()
        x, y = (cbor_bytes(it.to_bytes(32, "big")) for it in (point.x, point.y))
        # An elliptic key of P-256 for ES256 (RFC 9053, section 7.1.1).
        public = cbor(5, 5) + b"\x01\x02\x03\x26\x20\x01\x21" + x + b"\x22" + y
        device = bytes(16) + len(self.name).to_bytes(2, "big") + self.name + public
        device, signature, client = self.sign("create", base64.b64decode(challenge), 0x41, device)
        certificate = self.certificate()
        statement = cbor(5, 3) + cbor_text("alg") + b"\x26" + cbor_text("sig") + cbor_bytes(signature)
        statement += cbor_text("x5c") + cbor(4, 1) + cbor_bytes(certificate)
        parts = [device, signature, certificate, client, statement, b"packed"]
        # The flag says that the statement is whole.
        return base64.b64encode(b"\x02" + b"".join(map(counted, parts))).decode()

    def certificate(self):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a security key")])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
        builder = builder.public_key(self.key.public_key()).not_valid_before(now)
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        return builder.sign(self.key, SHA256).public_bytes(serialization.Encoding.DER)

    def answer(self, data):
        device, signature, client = self.sign("get", data, 0x01)
        return b"\x02\x01" + counted(device) + counted(signature) + counted(client)


class Plugin(MySQLAuthPlugin):
    """The client's side of the second factor, with a key that does not know its credential's name."""

    key = None
    name = PLUGIN
    requires_ssl = False

    def auth_response(self, auth_data, **_):
        raise AssertionError("it is not the first factor")

    def auth_switch_response(self, sock, auth_data, **_):
        if not auth_data:
            # There is no key yet, and the server says so in the session.
            return bytes(sock.recv())
        self.challenge = auth_data
        sock.send(b"\x01")
        return bytes(sock.recv())

    def auth_more_response(self, sock, auth_data, **_):
        assert auth_data == counted(SecurityKey.name), auth_data
        sock.send(Plugin.key.answer(self.challenge))
        return bytes(sock.recv())


class Unprepared(MySQLConnection):
    """A connection that says nothing of its own: without a key the server takes one statement only."""

    def _post_connection(self):
        pass


module = types.ModuleType(PLUGIN)
module.Plugin = Plugin
module.AUTHENTICATION_PLUGIN_CLASS = "Plugin"
sys.modules["mysql.connector.plugins." + PLUGIN] = module

ca, admin, admin_password, *ports = sys.argv[1:]


def how(port, user="key_holder", password="first"):
    return {
        "host": "127.0.0.1",
        "port": int(port),
        "user": user,
        "password": password,
        "ssl_ca": ca,
        "ssl_verify_cert": True,
        "ssl_verify_identity": True,
    }


def connect(*arguments):
    return mysql.connector.connect(use_pure=True, **how(*arguments))


def register(port):
    connection = Unprepared(**how(port))
    # The answer lacks a packet that the driver waits for. No attributes come before the statement.
    statement = b"\0\1ALTER USER USER() 2 FACTOR INITIATE REGISTRATION"
    packets = [connection._send_cmd(0x03, statement)]
    while packets[-1][4] != 0xFE:
        assert packets[-1][4] != 0xFF, packets
        packets.append(connection._socket.recv())
    row = packets[-2][4:]
    answer = Plugin.key.register(bytes(row[1 : 1 + row[0]]))
    connection.cmd_query(
        "ALTER USER USER() 2 FACTOR FINISH REGISTRATION SET CHALLENGE_RESPONSE AS '%s'" % answer
    )


def log_in(port):
    # The server wants to see the password of everybody once more.
    connect(port, admin, admin_password).cmd_query("FLUSH PRIVILEGES")
    connection = connect(port)
    cursor = connection.cursor()
    cursor.execute("SELECT CURRENT_USER()")
    return cursor.fetchone()[0]


real = Plugin.key = SecurityKey()
register(ports[0])
for port in ports:
    assert log_in(port) == "key_holder@%"
    Plugin.key = SecurityKey()
    try:
        log_in(port)
        raise AssertionError("any key is good enough")
    except mysql.connector.errors.Error as error:
        assert error.errno == 1045, error
    Plugin.key = real
print("done")
