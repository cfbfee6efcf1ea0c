//! A driver that programs use.

use super::servers_and_clients;
use crate::support::{
    front::{Front, LEGS},
    servers::{Server, python},
};

/// Runs a program for each leg: its `connect(port, **more)` connects there.
pub(super) fn pymysql(front: &Front, server: &Server, legs: &[&str], program: &str) {
    let program = [
        "
import pymysql, sys
ca, user, password, database, *ports = sys.argv[1:]
def connect(port, **more):
    how = dict(host='127.0.0.1', port=int(port), user=user, password=password, database=database,
               ssl={'ca': ca, 'check_hostname': True})
    return pymysql.connect(**{**how, **more})
for port in ports:
",
        program,
        "\nprint('done')\n",
    ]
    .concat();
    let ports: Vec<_> = legs.iter().map(|leg| front.port(leg).to_string()).collect();
    let mut arguments = vec![
        front.ca_file.to_str().unwrap(),
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
    for (server, _) in servers_and_clients() {
        pymysql(&Front::new(&server), &server, &LEGS, program);
    }
}

#[test]
fn it_gets_an_answer_over_every_leg() {
    everywhere(
        "
    cursor = connect(port).cursor()
    cursor.execute('SELECT 1, %s', ('two',))
    assert cursor.fetchall() == ((1, 'two'),)
    cursor.execute('PREPARE statement FROM \"SELECT ? + 1\"')
    cursor.execute('SET @number = 41')
    cursor.execute('EXECUTE statement USING @number')
    assert cursor.fetchall() == ((42,),)
",
    );
}

#[test]
fn it_gets_and_sends_megabytes_over_every_leg() {
    everywhere(
        "
    cursor = connect(port).cursor()
    cursor.execute('SELECT REPEAT(\"x\", 2000000)')
    assert cursor.fetchone()[0] == 'x' * 2000000
    cursor.execute('SELECT LENGTH(%s)', ('y' * 3000000,))
    assert cursor.fetchone() == (3000000,)
",
    );
}

#[test]
fn it_is_told_by_the_server_that_its_password_is_wrong() {
    everywhere(
        "
    try:
        connect(port, password='wrong')
    except pymysql.err.OperationalError as error:
        assert error.args[0] == 1045 and user in error.args[1], error.args
    else:
        raise AssertionError('it was let in')
",
    );
}
