//! Sessions of real servers whose workers are killed in the middle of what they do.

use super::{pymysql::pymysql, servers_and_clients};
use crate::support::{
    front::{Front, listener},
    reaper::{killing, lost_none},
    servers,
};

/// The legs to the database: one without TLS and one with it.
const LEGS: [&str; 2] = ["plain", "verify-full"];

/// Runs a program, for each server and each of [`LEGS`], that kills workers.
fn everywhere(program: &str) {
    for (server, _) in servers_and_clients() {
        server.client().run("SET GLOBAL local_infile = 1").answer();
        let front = Front::with(|it| {
            let legs = LEGS.iter();
            legs.fold(it.workers(2), |it, leg| it.listener(listener(&server, leg)))
        });
        let program = killing(&front.daemon, program);
        pymysql(&front, &server, &LEGS, &program);
        if servers::found("python", "PROXYD_TEST_PYTHON").is_some() {
            lost_none(&front.daemon, LEGS.len() as u64);
        }
    }
}

#[test]
fn a_large_result_comes_whole_although_its_worker_is_killed_again_and_again() {
    everywhere(
        "
    import pymysql.cursors
    connection = connect(port, cursorclass=pymysql.cursors.SSCursor)
    kept()
    cursor = connection.cursor()
    cursor.execute(
        'WITH RECURSIVE it AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM it WHERE n < 300) '
        'SELECT one.n, other.n, '
        'REPEAT(SUBSTR(\"ABCDEFGHIJKLMNOPQRSTUVWXYZ\", 1 + (one.n + other.n) % 26, 1), 200) '
        'FROM it AS one, it AS other')
    rows, total = 0, 0
    for one, other, word in cursor:
        assert word == chr(65 + (one + other) % 26) * 200, (one, other, word)
        rows, total = rows + 1, total + one * 1000 + other
        if rows % 20000 == 1000:
            kill()
    assert (rows, total) == (90000, 300 * 150 * 301 * 1001), (rows, total)
    cursor.execute('SELECT 42')
    assert cursor.fetchall() == [(42,)]
",
    );
}

#[test]
fn a_file_is_loaded_whole_although_the_worker_is_killed_in_the_middle() {
    everywhere(
        "
    import tempfile, threading
    name = 'outlive_%d_%s' % (os.getpid(), port)
    connection = connect(port, local_infile=True, autocommit=True)
    connection.max_allowed_packet = 4096
    cursor = connection.cursor()
    cursor.execute('CREATE TABLE %s (number INT PRIMARY KEY, word CHAR(100))' % name)
    kept()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'pipe')
        os.mkfifo(path)
        def write():
            with open(path, 'wb', buffering=0) as file:
                for number in range(50000):
                    file.write(b'%d\\t%s\\n' % (number, b'x' * 100))
                    if number % 10000 == 5000:
                        kill()
        writer = threading.Thread(target=write)
        writer.start()
        cursor.execute('LOAD DATA LOCAL INFILE \"%s\" INTO TABLE %s' % (path, name))
        writer.join()
    cursor.execute('SELECT COUNT(*), SUM(number), SUM(LENGTH(word)) FROM %s' % name)
    assert cursor.fetchone() == (50000, sum(range(50000)), 5000000)
    cursor.execute('DROP TABLE %s' % name)
",
    );
}

#[test]
fn a_transaction_goes_on_and_its_prepared_statement_too() {
    everywhere(
        "
    name = 'outlive_%d_%s' % (os.getpid(), port)
    connection = connect(port, autocommit=False)
    cursor = connection.cursor()
    cursor.execute('CREATE TABLE %s (number INT PRIMARY KEY) ENGINE=InnoDB' % name)
    cursor.execute('SELECT CONNECTION_ID()')
    server_s, = cursor.fetchone()
    others = connect(port, autocommit=True)
    kept()
    cursor.execute('PREPARE one_more FROM \"INSERT INTO %s VALUES (?)\"' % name)
    for number in range(5):
        kill()
        cursor.execute('SET @number = %d' % number)
        cursor.execute('EXECUTE one_more USING @number')
    watcher = others.cursor()
    watcher.execute('SELECT COUNT(*) FROM %s' % name)
    assert watcher.fetchone() == (0,), 'the transaction is not over'
    kill()
    connection.commit()
    cursor.execute('SELECT CONNECTION_ID()')
    assert cursor.fetchone() == (server_s,)
    watcher.execute('SELECT SUM(number) FROM %s' % name)
    assert watcher.fetchone() == (10,)
    watcher.execute('DROP TABLE %s' % name)
",
    );
}

/// In the binary protocol, with a cursor at the server that gives some rows at a time.
#[test]
fn a_cursor_of_a_prepared_statement_goes_on_behind_each_death() {
    everywhere(
        "
    import struct
    connection = connect(port)
    connection.cursor().execute(
        'CREATE TEMPORARY TABLE numbers AS WITH RECURSIVE it AS '
        '(SELECT 1 AS n UNION ALL SELECT n + 1 FROM it WHERE n < 100) SELECT n FROM it')
    kept()
    connection._execute_command(0x16, 'SELECT n FROM numbers WHERE n <= ?')
    kill()
    packet = connection._read_packet()
    statement, columns, parameters = struct.unpack('<IHH', packet.get_all_data()[1:9])
    def skip_to_end():
        while not connection._read_packet().is_eof_packet():
            pass
    skip_to_end(), skip_to_end()
    kill()
    execute = struct.pack('<IBI', statement, 1, 1) + b'\\0\\x01\\x08\\0' + struct.pack('<q', 64)
    connection._execute_command(0x17, execute)
    connection._read_packet()
    skip_to_end()
    rows, last = 0, False
    while not last:
        kill()
        connection._execute_command(0x1c, struct.pack('<II', statement, 10))
        while True:
            packet = connection._read_packet()
            if packet.is_eof_packet():
                last = bool(struct.unpack('<H', packet.get_all_data()[3:5])[0] & 128)
                break
            rows += 1
    assert rows == 64, rows
",
    );
}

/// Before the command, when it is on its way, between the server's question and the answer, and after.
#[test]
fn a_user_is_changed_although_the_worker_is_killed_before_during_and_after() {
    everywhere(
        "
    connection = connect(port)
    def value(sql):
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchone()[0]
    def change(name, password):
        connection.user, connection.password = name.encode(), password.encode()
        names = [name.encode(), b'', database.encode(), b'!', b'mysql_native_password', b'', b'']
        connection._execute_command(0x11, bytes(1).join(names))
        kill()
        packet = connection._read_packet()
        while packet.is_auth_switch_request():
            kill()
            packet.read_uint8()
            packet = connection._process_auth(packet.read_string(), packet)
        assert packet.is_ok_packet()
        kill()
        assert value('SELECT CURRENT_USER()') == name + '@%'
    other = 'outlive_' + port
    connection.cursor().execute('DROP USER IF EXISTS ' + other)
    connection.cursor().execute('CREATE USER %s IDENTIFIED BY \"other-pw\"' % other)
    connection.cursor().execute('GRANT ALL ON test.* TO ' + other)
    number = value('SELECT CONNECTION_ID()')
    kept()
    kill()
    change(other, 'other-pw')
    assert value('SELECT REPEAT(\"y\", 1000000)') == 'y' * 1000000
    change(user, password)
    assert value('SELECT CONNECTION_ID()') == number
    connection.cursor().execute('DROP USER ' + other)
",
    );
}
