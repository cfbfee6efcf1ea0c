//! Workers that do what a test tells them: a daemon of the build with the feature `orders`, which
//! `tests/run` makes and names by `PROXYD_ORDERS_BINARY`.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use nix::libc::{self, c_long};
use serde_json::{Value, json};

use super::{
    PATIENCE, builder::Builder, client::connect, configuration::Listener, eventually, pki::hex,
    process, scene::Scene, skip,
};

/// The line with which a client begins that gives orders.
const GREETING: &[u8] = b"PROXYD-ORDERS\n";

/// The listener whose clients may give orders.
const LISTENER: &str = "orders";

/// How long a call may take that is not to return soon.
const SOON: Duration = Duration::from_secs(10);

/// A daemon whose workers obey.
pub(crate) struct Obeying {
    /// The daemon, whose first listener takes no orders.
    pub(crate) scene: Scene,
    address: SocketAddr,
}

impl Obeying {
    /// Starts one as the tests' own user; `None` skips the test.
    pub(crate) fn with(change: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let program = program()?;
        let scene = Scene::prepare(|it| change(listeners(it)).program(program.as_ref()));
        Some(Self::start(scene))
    }

    /// Starts one that is not root, so that its workers have its own user; `None` skips the test.
    pub(crate) fn unprivileged(change: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let program = program()?;
        let scene = Scene::unprivileged_of(&program, |it| change(listeners(it)))?;
        Some(Self::start(scene))
    }

    fn start(mut scene: Scene) -> Self {
        scene.daemon.start();
        let address = scene.daemon.address_of(LISTENER);
        Self { scene, address }
    }

    /// Returns the worker of a slot.
    pub(crate) fn worker(&self, slot: usize) -> Worker {
        Worker {
            pid: self.scene.daemon.workers()[slot],
            address: self.address,
        }
    }
}

pub(crate) fn program() -> Option<String> {
    let program = env::var("PROXYD_ORDERS_BINARY").ok();
    if program.is_none() {
        skip("PROXYD_ORDERS_BINARY names no build whose workers take orders; tests/run makes one");
    }
    program
}

fn listeners(builder: Builder) -> Builder {
    let backend = builder.backend().address();
    let preferred = "tls = { mode = \"preferred\" }";
    builder
        .listener(Listener::tcp("main", &backend))
        .listener(Listener::tcp(LISTENER, &backend).line(preferred))
}

/// A worker that obeys.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// Its process id.
    pub(crate) pid: u32,
    address: SocketAddr,
}

impl Worker {
    /// Has it make system calls; returns what came of each.
    #[track_caller]
    pub(crate) fn make(&self, calls: &[Value]) -> Vec<Outcome> {
        let made = self.begin(calls, Duration::ZERO).finish();
        made.unwrap_or_else(|error| panic!("worker {} did not answer: {error}", self.pid))
    }

    /// Has it make a system call; returns what came of it.
    #[track_caller]
    pub(crate) fn make_one(&self, call: Value) -> Outcome {
        self.make(&[call]).remove(0)
    }

    /// Has it make system calls again and again for some time, and nothing else; it has begun on return.
    #[track_caller]
    pub(crate) fn begin(&self, calls: &[Value], time: Duration) -> Busy {
        self.order(calls, time, Duration::ZERO)
    }

    /// Does the same with a pause between any two rounds.
    #[track_caller]
    pub(crate) fn begin_slowly(&self, calls: &[Value], time: Duration, pause: Duration) -> Busy {
        self.order(calls, time, pause)
    }

    /// Has it die when a session reaches a point for the `passing`th time from now on, counted from 1.
    #[track_caller]
    pub(crate) fn die_at(&self, point: &str, passing: u64) {
        let stream = eventually("the worker takes an order", PATIENCE, || {
            self.connect().ok().flatten()
        });
        let order = json!({"die": {"point": point, "passing": passing}});
        Self::send(stream, &order, Duration::ZERO).finish().unwrap();
    }

    /// Has it live after all; returns `false` if it has died.
    #[track_caller]
    pub(crate) fn live_on(&self, point: &str) -> bool {
        let stream = eventually(
            "the worker takes an order or is dead",
            PATIENCE,
            || match self.connect() {
                Ok(Some(stream)) => Some(Some(stream)),
                _ if process::is_alive(self.pid) => None,
                _ => Some(None),
            },
        );
        let order = json!({"die": {"point": point, "passing": 0}});
        stream.is_some_and(|it| Self::send(it, &order, Duration::ZERO).finish().is_ok())
    }

    #[track_caller]
    fn order(&self, calls: &[Value], time: Duration, pause: Duration) -> Busy {
        let stream = eventually("the worker takes an order", PATIENCE, || {
            self.connect().ok().flatten()
        });
        let order = json!({
            "calls": calls,
            "for_ms": u64::try_from(time.as_millis()).unwrap(),
            "pause_ms": u64::try_from(pause.as_millis()).unwrap(),
        });
        Self::send(stream, &order, time)
    }

    /// Sends an order that takes so long.
    #[track_caller]
    fn send(mut stream: BufReader<TcpStream>, order: &Value, time: Duration) -> Busy {
        let line = format!("{order}\n");
        stream.get_mut().write_all(line.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap(), "begun");
        let patience = Some(SOON + time);
        stream.get_ref().set_read_timeout(patience).unwrap();
        Busy(stream)
    }

    /// Connects to this worker; `None` if the kernel chose another.
    fn connect(&self) -> io::Result<Option<BufReader<TcpStream>>> {
        let mut stream = BufReader::new(connect(self.address)?);
        stream.get_mut().write_all(GREETING)?;
        let welcome = read_answer(&mut stream)?;
        Ok((welcome["worker"] == self.pid).then_some(stream))
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<Value> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// A worker that is at work on an order.
pub(crate) struct Busy(BufReader<TcpStream>);

impl Busy {
    /// Waits until it is done; returns what came of the last round, or how the connection ended.
    pub(crate) fn finish(mut self) -> io::Result<Vec<Outcome>> {
        let answer = read_answer(&mut self.0)?;
        let results = answer["results"].as_array().unwrap();
        Ok(results.iter().map(Outcome::of).collect())
    }
}

/// What came of a system call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// Its result; -1 if it failed.
    pub(crate) result: i64,
    /// The number of its error; 0 if it succeeded.
    pub(crate) errno: i32,
    /// What the kernel has written into each [`space`] of its arguments, in hexadecimal.
    pub(crate) spaces: Vec<String>,
}

impl Outcome {
    fn of(answer: &Value) -> Self {
        let spaces = answer["spaces"].as_array().unwrap().iter();
        Self {
            result: answer["result"].as_i64().unwrap(),
            errno: answer["errno"].as_i64().unwrap().try_into().unwrap(),
            spaces: spaces.map(|it| it.as_str().unwrap().to_owned()).collect(),
        }
    }

    /// Returns whether the kernel did not let the worker make the call at all.
    pub(crate) fn is_refused(&self) -> bool {
        self.result == -1 && [libc::EPERM, libc::EACCES, libc::ENOSYS].contains(&self.errno)
    }
}

/// Returns the call of this number; arguments that are left out are 0.
pub(crate) fn call(number: c_long, arguments: impl IntoIterator<Item = Value>) -> Value {
    let arguments: Vec<Value> = arguments.into_iter().collect();
    json!({"number": number, "arguments": arguments})
}

/// Returns an argument that is a number.
pub(crate) fn number(number: impl Into<i64>) -> Value {
    json!({"number": number.into()})
}

/// Returns an argument that is the result of an earlier call, by its place.
pub(crate) fn result(earlier: usize) -> Value {
    json!({"result": earlier})
}

/// Returns an argument that is the length of what an earlier argument of the call leads to.
pub(crate) fn length(argument: usize) -> Value {
    json!({"length": argument})
}

/// Returns an argument that leads to these bytes.
pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    json!({"memory": {"bytes": hex(bytes.as_ref())}})
}

/// Returns an argument that leads to a text as C has it.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Value {
    bytes([text.as_ref(), b"\0"].concat())
}

/// Returns an argument that leads to so many zeros, into which the kernel may write.
pub(crate) fn space(length: usize) -> Value {
    json!({"memory": {"space": length}})
}

/// Returns an argument that leads to a message to the supervisor, as it lies on the link.
pub(crate) fn message(message: &Value) -> Value {
    json!({"memory": {"message": message}})
}

/// Returns the call that sends bytes to the supervisor over the link, once there is room.
pub(crate) fn send(packet: &Value) -> Value {
    let zeros = std::iter::repeat_n(number(0), 3);
    let link = [number(0), packet.clone(), length(1)];
    let mut call = call(libc::SYS_sendto, link.into_iter().chain(zeros));
    call["patient"] = json!(true);
    call
}

/// Returns the call that sends this message to the supervisor over the link.
pub(crate) fn say(said: &Value) -> Value {
    send(&message(said))
}

/// Returns the call that sends this memory over a socket, with so many copies of the socket's own
/// descriptor.
pub(crate) fn with_descriptors(socket: i32, memory: &Value, descriptors: usize) -> Value {
    let copies = socket.to_ne_bytes().repeat(descriptors);
    let length = 16 + copies.len();
    let level = libc::SOL_SOCKET.to_ne_bytes();
    let kind = libc::SCM_RIGHTS.to_ne_bytes();
    let head = [&length.to_ne_bytes()[..], &level, &kind].concat();
    let control = [head, copies].concat();
    let field = |bytes: &[u8]| json!({"bytes": hex(bytes)});
    let header = json!({"memory": {"fields": [
        field(&[0; 16]),
        {"address": {"fields": [{"slice": memory}]}},
        field(&1_u64.to_ne_bytes()),
        {"slice": {"bytes": hex(&control)}},
        field(&[0; 8]),
    ]}});
    call(libc::SYS_sendmsg, [number(socket), header, number(0)])
}

/// Returns the call that sends a message to the supervisor, with so many copies of the link's own
/// descriptor.
pub(crate) fn say_with_descriptors(said: &Value, descriptors: usize) -> Value {
    with_descriptors(0, &json!({"message": said}), descriptors)
}
