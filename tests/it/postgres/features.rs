//! What sessions are used for, beside queries.

use super::psycopg::psycopg;
use crate::support::{
    front::{Front, LEGS},
    servers::postgres,
};

#[test]
fn large_objects_are_written_and_read_over_every_leg() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    let program = "
    import os
    value = os.urandom(1 << 20)
    with connect(autocommit=False) as connection:
        oid, = connection.execute('SELECT lo_from_bytea(0, %s)', (value,)).fetchone()
        number, = connection.execute('SELECT lo_open(%s, 131072 | 262144)', (oid,)).fetchone()
        connection.execute('SELECT lo_lseek(%s, 1000, 0)', (number,))
        part, = connection.execute('SELECT loread(%s, 100000)', (number,)).fetchone()
        assert bytes(part) == value[1000:101000]
        whole, = connection.execute('SELECT lo_get(%s)', (oid,)).fetchone()
        assert bytes(whole) == value
        connection.execute('SELECT lo_unlink(%s)', (oid,))
";
    psycopg(&front, &server, &LEGS, program);
}

/// A walsender's stream is a COPY in both directions for as long as it lasts.
#[test]
fn changes_are_replicated_logically_over_every_leg() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    let program = "
    import os, struct, time
    from psycopg import pq
    name = 'proxyd_%d_%s' % (os.getpid(), port)
    with at_the_server() as watcher:
        watcher.execute('CREATE TABLE %s (number int PRIMARY KEY)' % name)
        watcher.execute('CREATE PUBLICATION %s FOR TABLE %s' % (name, name))
    how = ('host=127.0.0.1 port=%s user=%s password=%s dbname=%s sslmode=verify-full sslrootcert=%s '
           'channel_binding=%s replication=database' % (port, user, password, database, ca, binding))
    replica = pq.PGconn.connect(how.encode())
    assert replica.status == pq.ConnStatus.OK, replica.error_message
    create = 'CREATE_REPLICATION_SLOT %s TEMPORARY LOGICAL pgoutput' % name
    assert replica.exec_(create.encode()).status == pq.ExecStatus.TUPLES_OK, replica.error_message
    start = ('START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version \\'1\\', publication_names \\'%s\\')'
             % (name, name))
    started = replica.exec_(start.encode())
    assert started.status == pq.ExecStatus.COPY_BOTH, replica.error_message
    with connect() as connection:
        for number in range(1000):
            connection.execute('INSERT INTO %s VALUES (%d)' % (name, number))
    inserted, last = 0, 0
    while inserted < 1000:
        length, data = replica.get_copy_data(0)
        assert length > 0, replica.error_message
        data = bytes(data)
        if data[:1] == b'w':
            last = struct.unpack('>Q', data[9:17])[0]
            inserted += data[25:26] == b'I'
        if inserted % 100 == 0:
            # So that data goes the other way too.
            position = struct.pack('>cQQQqb', b'r', last, last, last, 0, 1)
            assert replica.put_copy_data(position) == 1
            replica.flush()
    replica.finish()
    with at_the_server() as watcher:
        watcher.execute('DROP PUBLICATION %s' % name)
        watcher.execute('DROP TABLE %s' % name)
";
    psycopg(&front, &server, &LEGS, program);
}
