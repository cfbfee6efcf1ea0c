//! What sessions are used for, beside queries.

use super::{pymysql::pymysql, servers_and_clients};
use crate::support::{
    front::{Front, LEGS, listener},
    servers::{self, Server},
};

/// Runs a program over every leg, and over one that nobody knows to stay within the machine.
fn over_every_leg(server: &Server, program: &str) {
    let legs: Vec<_> = LEGS.into_iter().chain(["network"]).collect();
    let front = Front::with_legs(server, legs.iter().copied());
    pymysql(&front, server, &legs, program);
}

fn everywhere(program: &str) {
    for (server, _) in servers_and_clients() {
        over_every_leg(&server, program);
    }
}

#[test]
fn values_of_more_than_16_mib_pass_both_ways() {
    for (server, _) in servers_and_clients() {
        let sql = "SET GLOBAL max_allowed_packet = 67108864";
        server.client().run(sql).answer();
        // The second is as long as a packet can be, so that an empty one follows.
        let program = "
    connection = connect(port, max_allowed_packet=1 << 26)
    cursor = connection.cursor()
    for size in [20 << 20, (1 << 24) - 1 - len('SELECT SHA2(\"\", 256)') - 1]:
        cursor.execute('SELECT SHA2(\"%s\", 256)' % ('x' * size))
        import hashlib
        assert cursor.fetchone()[0] == hashlib.sha256(b'x' * size).hexdigest(), size
    cursor.execute('SELECT REPEAT(\"y\", %d)' % (20 << 20))
    assert cursor.fetchone()[0] == 'y' * (20 << 20)
";
        over_every_leg(&server, program);
    }
}

/// The numbers of the packets of an upload come round many times, also where data looks like a command.
#[test]
fn files_of_clients_are_loaded() {
    for (server, _) in servers_and_clients() {
        server.client().run("SET GLOBAL local_infile = 1").answer();
        let program = "
    import os, tempfile
    name = 'infile_%d_%s' % (os.getpid(), port)
    connection = connect(port, local_infile=True, autocommit=True)
    connection.max_allowed_packet = 512
    cursor = connection.cursor()
    cursor.execute('CREATE TABLE %s (line VARCHAR(32)) CHARACTER SET latin1' % name)
    with tempfile.NamedTemporaryFile() as file:
        # Each line is as long as 16 of them make a packet, and begins with COM_CHANGE_USER.
        lines = 32 * 1024
        file.write(b'\\x11aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\n' * lines)
        file.flush()
        cursor.execute('LOAD DATA LOCAL INFILE \"%s\" INTO TABLE %s' % (file.name, name))
    cursor.execute('SELECT COUNT(*) FROM %s' % name)
    assert cursor.fetchone() == (lines,)
    cursor.execute('DROP TABLE %s' % name)
";
        over_every_leg(&server, program);
    }
}

#[test]
fn several_statements_have_several_results() {
    everywhere(
        "
    from pymysql.constants import CLIENT
    cursor = connect(port, client_flag=CLIENT.MULTI_STATEMENTS).cursor()
    cursor.execute('SELECT 1; DO 2; SELECT 3, 4')
    results = [list(cursor.fetchall())]
    while cursor.nextset():
        results.append(list(cursor.fetchall()))
    assert results == [[(1,)], [], [(3, 4)]], results
",
    );
}

/// Prepares a statement, opens a cursor on it and fetches some rows at a time, in the binary protocol.
#[test]
fn prepared_statements_have_cursors() {
    everywhere(
        "
    import struct
    connection = connect(port)
    connection.cursor().execute(
        'CREATE TEMPORARY TABLE numbers AS WITH RECURSIVE it AS '
        '(SELECT 1 AS n UNION ALL SELECT n + 1 FROM it WHERE n < 100) SELECT n FROM it')
    connection._execute_command(0x16, 'SELECT n FROM numbers WHERE n <= ?')
    packet = connection._read_packet()
    statement, columns, parameters = struct.unpack('<IHH', packet.get_all_data()[1:9])
    assert (columns, parameters) == (1, 1)
    def skip_to_end():
        while not connection._read_packet().is_eof_packet():
            pass
    skip_to_end(), skip_to_end()
    # A read-only cursor, one iteration, no NULL, a new binding: one LONGLONG.
    execute = struct.pack('<IBI', statement, 1, 1) + b'\\0\\x01\\x08\\0' + struct.pack('<q', 64)
    connection._execute_command(0x17, execute)
    connection._read_packet()
    skip_to_end()
    rows, last = 0, False
    while not last:
        connection._execute_command(0x1c, struct.pack('<II', statement, 10))
        got = 0
        while True:
            packet = connection._read_packet()
            if packet.is_eof_packet():
                last = bool(struct.unpack('<H', packet.get_all_data()[3:5])[0] & 128)
                break
            got += 1
        assert got <= 10
        rows += got
    assert rows == 64, rows
    connection._execute_command(0x19, struct.pack('<I', statement))
    cursor = connection.cursor()
    cursor.execute('SELECT 42')
    assert cursor.fetchone() == (42,)
",
    );
}

/// Resets the session and changes its user, to one whom the server has not seen, with much to carry
/// before, between and after.
#[test]
fn a_session_is_reset_and_changes_its_user_and_carries_much_meanwhile() {
    for (server, _) in servers_and_clients() {
        let sql = "SET GLOBAL max_allowed_packet = 67108864";
        server.client().run(sql).answer();
        let program = "
    import hashlib
    connection = connect(port, max_allowed_packet=1 << 26)
    def ask(sql):
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchone()[0]
    def carry(size=1 << 20):
        assert ask('SELECT SHA2(\"%s\", 256)' % ('x' * size)) == hashlib.sha256(b'x' * size).hexdigest()
        assert ask('SELECT REPEAT(\"y\", %d)' % size) == 'y' * size
    def reset():
        connection.cursor().execute('SET @word = 42')
        assert ask('SELECT @word') == 42
        connection._execute_command(0x1f, b'')
        connection._read_ok_packet()
        assert ask('SELECT @word') is None
    def change(name, password):
        connection.user, connection.password = name.encode(), password.encode()
        # No proof, the character set's two bytes, and no attributes.
        names = [name.encode(), b'', database.encode(), b'!', b'mysql_native_password', b'', b'']
        connection._execute_command(0x11, bytes(1).join(names))
        packet = connection._read_packet()
        while packet.is_auth_switch_request():
            packet.read_uint8()
            packet = connection._process_auth(packet.read_string(), packet)
        assert packet.is_ok_packet()
        assert ask('SELECT CURRENT_USER()') == name + '@%'
    other = 'other_' + port
    connection.cursor().execute('DROP USER IF EXISTS ' + other)
    connection.cursor().execute('CREATE USER %s IDENTIFIED BY \"other-pw\"' % other)
    connection.cursor().execute('GRANT ALL ON test.* TO ' + other)
    number = ask('SELECT CONNECTION_ID()')
    reset(), carry()
    change(other, 'other-pw'), carry(17 << 20), reset(), carry()
    change(user, password), reset(), carry()
    assert ask('SELECT CONNECTION_ID()') == number
    connection.cursor().execute('DROP USER ' + other)
";
        over_every_leg(&server, program);
    }
}

#[test]
fn a_session_that_is_idle_for_too_long_is_ended_by_the_server_and_the_client_is_told() {
    everywhere(
        "
    import select
    connection = connect(port)
    cursor = connection.cursor()
    cursor.execute('SET SESSION wait_timeout = 1')
    # The server's end is passed on by itself, without anything being asked.
    readable, _, _ = select.select([connection._sock], [], [], 20)
    assert readable, 'the session goes on'
    try:
        cursor.execute('SELECT 1')
    except pymysql.err.OperationalError as error:
        assert error.args[0] in (2006, 2013, 4031), error.args
    else:
        raise AssertionError('the session goes on')
",
    );
}

#[test]
fn compression_of_either_kind_passes_over_every_leg_within_the_machine() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for client in &clients {
            for leg in LEGS {
                let options = match (server.kind, client.kind) {
                    (servers::Kind::Mysql, servers::Kind::Mysql) => vec![
                        "--compression-algorithms=zlib",
                        "--compression-algorithms=zstd",
                    ],
                    _ => vec!["--compress"],
                };
                for option in options {
                    let client = front.client(client, leg).option(option);
                    let sql = "SHOW STATUS LIKE 'Compression'; SELECT REPEAT('x', 1000000)";
                    let answer = client.run(sql).answer();
                    assert!(answer.starts_with("Compression\tON"), "{leg} {option}");
                    assert!(answer.ends_with(&"x".repeat(1_000_000)), "{leg} {option}");
                }
            }
        }
    }
}

/// Given a session to resume, the client fails if it cannot.
#[test]
fn mysql_s_client_resumes_its_tls_session() {
    let Some(server) = servers::mysql() else {
        return;
    };
    let front = Front::with(|it| {
        let leg = |resumption: &str| {
            let line = format!("tls = {{ resumption = \"{resumption}\" }}");
            let mut leg = listener(&server, "plain").line(&line);
            leg.name = resumption.to_owned();
            leg
        };
        it.listener(leg("tickets")).listener(leg("off"))
    });
    let file = front.daemon.path("session.pem");
    let mut session = front
        .client(&server, "tickets")
        .option("--named-commands")
        .option("--commands")
        .open();
    let print = format!("ssl_session_data_print {}\nDO 1", file.display());
    session.ask(&print).unwrap();
    let with_session = |leg: &str| {
        let option = format!("--ssl-session-data={}", file.display());
        front.client(&server, leg).option(option).run("SELECT 1")
    };
    for _ in 0..3 {
        assert_eq!(with_session("tickets").answer(), "1");
    }
    let complaint = with_session("off").complaint();
    assert!(complaint.contains("session"), "{complaint}");
}
