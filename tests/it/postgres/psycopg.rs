//! The driver that programs use.

use crate::support::{
    front::{Front, LEGS, TLS_LEGS},
    servers::{Server, postgres, python},
};

/// Runs a program for each leg: its `connect(**more)` connects there.
pub(super) fn psycopg(front: &Front, server: &Server, legs: &[&str], program: &str) {
    let program = [
        "
import psycopg, sys
ca, direct, user, password, database, *legs = sys.argv[1:]
for leg in legs:
    port, binding = leg.split('/')
    def connect(**more):
        how = dict(host='127.0.0.1', port=port, user=user, password=password, dbname=database,
                   sslmode='verify-full', sslrootcert=ca, channel_binding=binding, autocommit=True)
        return psycopg.connect(**{**how, **more})
    def at_the_server():
        return psycopg.connect(host='127.0.0.1', port=direct, user=user, password=password,
                               dbname=database, autocommit=True)
",
        program,
        "\nprint('done')\n",
    ]
    .concat();
    let ports: Vec<_> = legs
        .iter()
        .map(|leg| {
            let binding = if TLS_LEGS.contains(leg) {
                "disable"
            } else {
                "prefer"
            };
            format!("{}/{binding}", front.port(leg))
        })
        .collect();
    let direct = server.port.to_string();
    let mut arguments = vec![
        front.ca_file.to_str().unwrap(),
        &direct,
        server.user,
        server.password,
        server.database,
    ];
    arguments.extend(ports.iter().map(String::as_str));
    if let Some(outcome) = python(&program, &arguments) {
        assert_eq!(outcome.answer(), "done");
    }
}

fn everywhere(program: &str) {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    psycopg(&front, &server, &LEGS, program);
}

#[test]
fn it_gets_answers_over_every_leg() {
    everywhere(
        "
    with connect() as connection:
        assert connection.execute('SELECT %s::int + 1', (41,)).fetchone() == (42,)
        rows = connection.execute('SELECT n FROM generate_series(1, 1000) n').fetchall()
        assert len(rows) == 1000
",
    );
}

#[test]
fn it_prepares_statements() {
    everywhere(
        "
    with connect() as connection:
        for number in range(10):
            row = connection.execute('SELECT %s::int * 2', (number,), prepare=True).fetchone()
            assert row == (number * 2,)
",
    );
}

#[test]
fn it_sends_statements_in_a_pipeline() {
    everywhere(
        "
    with connect() as connection, connection.pipeline():
        cursors = [connection.execute('SELECT %s::int', (number,)) for number in range(500)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(500))
",
    );
}

#[test]
fn it_gets_and_sends_megabytes() {
    everywhere(
        "
    with connect() as connection:
        value = 'y' * 3000000
        assert connection.execute('SELECT %s::text', (value,)).fetchone() == (value,)
",
    );
}

#[test]
fn it_copies_rows_both_ways() {
    everywhere(
        "
    with connect() as connection:
        connection.execute('CREATE TEMPORARY TABLE numbers (number int, words text)')
        with connection.cursor().copy('COPY numbers FROM STDIN') as copy:
            for number in range(50000):
                copy.write_row((number, 'number %d' % number))
        with connection.cursor().copy('COPY numbers TO STDOUT') as copy:
            rows = [tuple(row) for row in copy.rows()]
        assert rows == [(str(number), 'number %d' % number) for number in range(50000)]
",
    );
}

#[test]
fn it_is_notified() {
    everywhere(
        "
    import os
    channel = 'news_%d_%s' % (os.getpid(), port)
    with connect() as listener, connect() as teller:
        listener.execute('LISTEN ' + channel)
        teller.execute('SELECT pg_notify(%s, %s)', (channel, 'hello'))
        news = list(listener.notifies(timeout=20, stop_after=1))
        assert [it.payload for it in news] == ['hello'], news
",
    );
}

#[test]
fn it_is_told_by_the_server_that_its_password_is_wrong() {
    everywhere(
        "
    try:
        connect(password='wrong')
    except psycopg.OperationalError as error:
        assert 'password authentication failed' in str(error), error
    else:
        raise AssertionError('it was let in')
",
    );
}

#[test]
fn it_may_start_with_tls_at_once() {
    everywhere(
        "
    with connect(sslnegotiation='direct') as connection:
        assert connection.execute('SELECT 42').fetchone() == (42,)
",
    );
}

#[test]
fn it_may_ask_for_every_sslmode() {
    everywhere(
        "
    for mode in ['allow', 'prefer', 'require', 'verify-ca', 'verify-full']:
        with connect(sslmode=mode) as connection:
            assert connection.execute('SELECT 42').fetchone() == (42,)
            assert connection.pgconn.ssl_in_use, mode
",
    );
}

#[test]
fn it_is_refused_without_tls_where_that_is_required() {
    everywhere(
        "
    try:
        connect(sslmode='disable')
    except psycopg.OperationalError as error:
        assert 'connections without TLS are not allowed here' in str(error), error
    else:
        raise AssertionError('it was let in')
",
    );
}
