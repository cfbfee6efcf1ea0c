//! Sessions of the real server whose workers are killed in the middle of what they do.

use std::{process::Stdio, time::Duration};

use nix::sys::signal::Signal;

use super::psycopg::psycopg;
use crate::support::{
    PATIENCE,
    front::{Front, listener},
    process,
    program::clean_command,
    reaper::{killing, lost_none},
    servers::{self, postgres},
    stream::lines_of,
};

/// The legs to the database: one without TLS and one with it.
const LEGS: [&str; 2] = ["plain", "verify-full"];

fn front(server: &servers::Server) -> Front {
    Front::with(|it| {
        let legs = LEGS.iter();
        legs.fold(it.workers(2), |it, leg| it.listener(listener(server, leg)))
    })
}

/// Runs a program, over each of [`LEGS`], that kills workers.
fn everywhere(program: &str) {
    let Some(server) = postgres() else { return };
    let front = front(&server);
    let program = killing(&front.daemon, program);
    psycopg(&front, &server, &LEGS, &program);
    if servers::found("python", "PROXYD_TEST_PYTHON").is_some() {
        lost_none(&front.daemon, LEGS.len() as u64);
    }
}

#[test]
fn a_large_result_comes_whole_although_its_worker_is_killed_again_and_again() {
    everywhere(
        "
    with connect() as connection:
        kept()
        sql = \"SELECT n, repeat(chr(65 + n % 26), 200) FROM generate_series(1, 80000) n\"
        last = 0
        for number, word in connection.cursor().stream(sql):
            assert (number, word) == (last + 1, chr(65 + number % 26) * 200), (last, number)
            last = number
            if number % 20000 == 1000:
                kill()
        assert last == 80000
        assert connection.execute('SELECT 42').fetchone() == (42,)
",
    );
}

#[test]
fn rows_are_copied_out_and_in_although_the_worker_is_killed_in_the_middle() {
    everywhere(
        "
    name = 'outlive_%d_%s' % (os.getpid(), port)
    with connect() as connection:
        connection.execute('CREATE TABLE %s (number int PRIMARY KEY, word text)' % name)
        kept()
        cursor = connection.cursor()
        with cursor.copy('COPY %s FROM STDIN' % name) as copy:
            for number in range(80000):
                copy.write_row((number, 'x' * 100))
                if number % 20000 == 5000:
                    kill()
        count = 'SELECT count(*), sum(number), sum(length(word)) FROM %s' % name
        assert connection.execute(count).fetchone() == (80000, sum(range(80000)), 8000000)
        read = 0
        with cursor.copy('COPY (SELECT * FROM %s ORDER BY number) TO STDOUT' % name) as copy:
            for number, word in copy.rows():
                assert (int(number), word) == (read, 'x' * 100), (number, read)
                read += 1
                if read % 20000 == 5000:
                    kill()
        assert read == 80000
        connection.execute('DROP TABLE %s' % name)
",
    );
}

#[test]
fn a_transaction_goes_on_and_its_prepared_statement_too() {
    everywhere(
        "
    name = 'outlive_%d_%s' % (os.getpid(), port)
    with connect(autocommit=False) as connection:
        connection.execute('CREATE TABLE %s (number int PRIMARY KEY)' % name)
        connection.commit()
        server_s = connection.execute('SELECT pg_backend_pid()').fetchone()
        connection.commit()
        kept()
        for number in range(10):
            kill()
            connection.execute('INSERT INTO %s VALUES (%%s)' % name, (number,), prepare=True)
        with at_the_server() as watcher:
            assert watcher.execute('SELECT count(*) FROM %s' % name).fetchone() == (0,)
        kill()
        connection.commit()
        with at_the_server() as watcher:
            assert watcher.execute('SELECT sum(number) FROM %s' % name).fetchone() == (45,)
        assert connection.execute('SELECT pg_backend_pid()').fetchone() == server_s
        connection.execute('DROP TABLE %s' % name)
",
    );
}

#[test]
fn a_session_that_listens_is_notified_after_each_death() {
    everywhere(
        "
    channel = 'outlive_%d_%s' % (os.getpid(), port)
    with connect() as connection:
        connection.execute('LISTEN ' + channel)
        kept()
        for number in range(5):
            kill()
            with at_the_server() as other:
                other.execute(\"NOTIFY %s, '%d'\" % (channel, number))
            notified = next(connection.notifies())
            assert (notified.channel, notified.payload) == (channel, str(number))
",
    );
}

/// A walsender's stream is a COPY in both directions for as long as it lasts.
#[test]
fn a_logical_replica_gets_every_change_although_workers_are_killed() {
    everywhere(
        "
    import struct
    from psycopg import pq
    name = 'outlive_%d_%s' % (os.getpid(), port)
    with at_the_server() as watcher:
        watcher.execute('CREATE TABLE %s (number int PRIMARY KEY)' % name)
        watcher.execute('CREATE PUBLICATION %s FOR TABLE %s' % (name, name))
    how = ('host=127.0.0.1 port=%s user=%s password=%s dbname=%s sslmode=verify-full sslrootcert=%s '
           'channel_binding=%s replication=database' % (port, user, password, database, ca, binding))
    replica = pq.PGconn.connect(how.encode())
    assert replica.status == pq.ConnStatus.OK, replica.error_message
    kept()
    create = 'CREATE_REPLICATION_SLOT %s TEMPORARY LOGICAL pgoutput' % name
    assert replica.exec_(create.encode()).status == pq.ExecStatus.TUPLES_OK, replica.error_message
    start = ('START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version \\'1\\', publication_names \\'%s\\')'
             % (name, name))
    started = replica.exec_(start.encode())
    assert started.status == pq.ExecStatus.COPY_BOTH, replica.error_message
    inserted, last = 0, 0
    for round in range(5):
        with at_the_server() as watcher:
            for number in range(200):
                watcher.execute('INSERT INTO %s VALUES (%d)' % (name, round * 200 + number))
                if number == 100:
                    kill()
        while inserted < round * 200 + 200:
            length, data = replica.get_copy_data(0)
            assert length > 0, replica.error_message
            data = bytes(data)
            if data[:1] == b'w':
                last = struct.unpack('>Q', data[9:17])[0]
                inserted += data[25:26] == b'I'
            if inserted % 100 == 0:
                position = struct.pack('>cQQQqb', b'r', last, last, last, 0, 1)
                assert replica.put_copy_data(position) == 1
                replica.flush()
    replica.finish()
    with at_the_server() as watcher:
        watcher.execute('DROP PUBLICATION %s' % name)
        watcher.execute('DROP TABLE %s' % name)
",
    );
}

/// It is told to end when its connection does, and so would not hide it.
#[test]
fn pg_recvlogical_gets_every_change_over_one_connection() {
    let Some(server) = postgres() else { return };
    let front = front(&server);
    let name = format!("outlive_recvlogical_{}", std::process::id());
    let ask = |sql: &str| server.client().run(sql).answer();
    ask(&format!("CREATE TABLE {name} (number int PRIMARY KEY)"));
    ask(&format!(
        "SELECT pg_create_logical_replication_slot('{name}', 'test_decoding')"
    ));
    let place = format!(
        "host=127.0.0.1 port={} user={} dbname={} sslmode=verify-full sslrootcert={}",
        front.port("plain"),
        server.user,
        server.database,
        front.ca_file.display()
    );
    let mut command = clean_command(server.client.with_file_name("pg_recvlogical"));
    command
        .env("PGPASSWORD", server.password)
        .args([
            "--start",
            "--no-loop",
            "--status-interval=1",
            "--fsync-interval=0",
            "--file=-",
        ])
        .arg(format!("--slot={name}"))
        .arg(format!("--dbname={place}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut lines = lines_of(child.stdout.take().unwrap(), PATIENCE * 2);
    front.daemon.await_status("its session is kept", |status| {
        status["sessions"]["kept"] == 1
    });
    for number in 0..20 {
        if number % 4 == 1 {
            for worker in process::workers(front.daemon.pid()) {
                process::send(worker, Signal::SIGKILL);
            }
        }
        ask(&format!("INSERT INTO {name} VALUES ({number})"));
        // The slot tells of what other tests do, too.
        let told = lines.find(|line| line.contains(&format!("{name}: INSERT")));
        let told = told.expect("it goes on");
        assert!(
            told.ends_with(&format!(":{number}")),
            "number {number}: {told}"
        );
    }
    lost_none(&front.daemon, 1);
    // It says goodbye.
    assert!(process::send(child.id(), Signal::SIGINT));
    let ended = crate::support::eventually("it ends", Duration::from_secs(20), || {
        child.try_wait().unwrap()
    });
    assert!(ended.success(), "{ended}");
    ask(&format!("SELECT pg_drop_replication_slot('{name}')"));
    ask(&format!("DROP TABLE {name}"));
}
