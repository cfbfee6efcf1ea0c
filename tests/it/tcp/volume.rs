//! A lot of bytes.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use rustix::event::{PollFd, PollFlags, poll};

use super::front;
use crate::support::{
    PATIENCE, backend::Backend, client::Session, fake::Fake, pki::hex, process, until,
};

const MIB: usize = 1 << 20;

/// Long enough without progress to be called stuck.
const STUCK: Duration = Duration::from_millis(500);

/// What the kernel may hold of one session in its four buffers, and a little more.
const BUFFERS: usize = 64 * MIB;

/// Sends so many bytes and takes what comes back meanwhile; returns the digests of both.
fn pump(session: &mut Session, total: usize) -> (String, String) {
    let mut block: Vec<u8> = (0..=250).cycle().take(MIB).collect();
    let (mut sent, mut received) = (Context::new(&SHA256), Context::new(&SHA256));
    let (mut to_send, mut to_receive, mut offset) = (total, total, 0);
    let mut space = vec![0; 256 * 1024];
    let (tls, socket) = session.parts();
    tls.set_buffer_limit(Some(MIB));
    socket.set_nonblocking(true).unwrap();
    let blocked = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    while to_receive > 0 {
        if to_send > 0 && offset == 0 {
            block[..8].copy_from_slice(&to_send.to_le_bytes());
        }
        if to_send > 0 {
            let written = tls.writer().write(&block[offset..]).unwrap();
            sent.update(&block[offset..offset + written]);
            offset = (offset + written) % MIB;
            to_send -= written;
        }
        let mut wanted = PollFlags::IN;
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(_) => {}
                Err(error) if blocked(&error) => {
                    wanted |= PollFlags::OUT;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if wanted.contains(PollFlags::OUT) || to_send == 0 {
            let timeout = PATIENCE.try_into().unwrap();
            let ready = poll(&mut [PollFd::new(socket, wanted)], Some(&timeout));
            assert_eq!(ready, Ok(1), "nothing moves");
        }
        match tls.read_tls(socket) {
            Ok(read) => assert_ne!(read, 0, "it ended early"),
            Err(error) if blocked(&error) => continue,
            Err(error) => panic!("{error}"),
        }
        tls.process_new_packets().unwrap();
        while let Ok(read @ 1..) = tls.reader().read(&mut space) {
            received.update(&space[..read]);
            to_receive -= read;
        }
    }
    socket.set_nonblocking(false).unwrap();
    let digest = |context: Context| hex(context.finish().as_ref());
    (digest(sent), digest(received))
}

fn pumped(tls12: bool) {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "");
    let client = if tls12 { client.tls12() } else { client };
    let mut session = client.connect(daemon.address()).unwrap();
    let (sent, received) = pump(&mut session, 64 * MIB);
    assert_eq!(sent, received);
    session.finish().unwrap();
    assert_eq!(session.rest().unwrap(), b"");
}

#[test]
fn sixty_four_mebibytes_both_ways_at_once_come_whole_over_tls_1_3() {
    pumped(false);
}

#[test]
fn sixty_four_mebibytes_both_ways_at_once_come_whole_over_tls_1_2() {
    pumped(true);
}

/// Returns how much memory a process uses, in bytes.
fn memory(pid: u32) -> usize {
    let line = process::status_line(pid, "VmRSS").unwrap();
    let kib: usize = line.split(' ').next().unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn a_client_that_does_not_read_holds_its_backend_up_and_takes_no_memory() {
    let poured = Arc::new(AtomicUsize::new(0));
    let (stuck, is_stuck) = mpsc::channel();
    let count = Arc::clone(&poured);
    let backend = Fake::new(move |connection| {
        connection.stream().set_write_timeout(Some(STUCK))?;
        let block = vec![0; 64 * 1024];
        loop {
            match connection.write(&block) {
                Ok(written) => count.fetch_add(written, Ordering::SeqCst),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
        }
        let _ = stuck.send(());
        connection.stream().set_write_timeout(None)?;
        connection.write_all(b"the end")
    });
    let (client, daemon) = front(&backend.address(), "");
    let worker = daemon.workers()[0];
    let mut session = client.connect(daemon.address()).unwrap();
    let before = memory(worker);
    is_stuck.recv_timeout(PATIENCE).unwrap();
    let grown = memory(worker).saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown}");
    let poured = poured.load(Ordering::SeqCst);
    assert!(poured < BUFFERS, "{poured}");
    let rest = session.rest().unwrap();
    assert_eq!(rest.len(), poured + b"the end".len());
    assert!(rest.ends_with(b"the end"));
}

#[test]
fn a_backend_that_does_not_read_holds_its_client_up_and_takes_no_memory() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Fake::new(move |connection| {
        let _ = wait.lock().unwrap().recv();
        connection.listen()
    });
    let (client, daemon) = front(&backend.address(), "");
    let worker = daemon.workers()[0];
    let mut session = client.connect(daemon.address()).unwrap();
    let before = memory(worker);
    let (tls, socket) = session.parts();
    socket.set_write_timeout(Some(STUCK)).unwrap();
    let block = vec![7; 64 * 1024];
    let mut poured = 0;
    'stuck: loop {
        tls.writer().write_all(&block).unwrap();
        poured += block.len();
        assert!(poured < BUFFERS, "{poured}");
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 'stuck,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let grown = memory(worker).saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown}");
    drop(go_on);
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    session.finish().unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    until("the backend has it all", || {
        backend.heard().concat().len() == poured
    });
}
