//! Passwords that are asked for by PAM, which gets them as they are: MariaDB's `dialog`, with as many
//! questions as there are modules that ask, and `mysql_clear_password`.
//!
//! These tests have an `/etc/pam.d` of their own.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use tempfile::TempDir;

use crate::support::{
    front::{Front, OPEN_LEGS, with_client_of},
    inside::Place,
    own_server::OwnServer,
    program::Outcome,
    servers::{self, Client, Kind, Server, python},
    skip,
};

/// Where services are.
const SERVICES: &str = "/etc/pam.d";

/// The first asks for the password. The second asks once more: `pam_ftp` takes any answer of this user
/// for the name of a remote one, and the program behind it looks at that.
const ONE: &str = "auth requisite pam_exec.so quiet expose_authtok /etc/pam.d/password
account required pam_permit.so
";
const TWO: &str = "auth requisite pam_exec.so quiet expose_authtok /etc/pam.d/password
auth requisite pam_ftp.so users=pam_two
auth requisite pam_exec.so quiet /etc/pam.d/answer
account required pam_permit.so
";

/// They judge. The first writes down what it was given.
const PASSWORD: &str = "#!/bin/sh
password=$(tr -d '\\0')
echo \"$password\" >>/etc/pam.d/heard
[ \"$password\" = pam-pw ]
";
const ANSWER: &str = "#!/bin/sh
[ \"$PAM_RUSER\" = again ]
";

/// Whether this is where `/etc/pam.d` is the test's own. Outside it runs the test there, and the answer
/// is no.
fn is_inside(test: &str) -> bool {
    let services = TempDir::new().unwrap();
    let place = Place {
        own: &["--mount"],
        prepare: "mount --bind \"$1\" /etc/pam.d",
        arguments: &[services.path().into()],
    };
    if !place.is_here(test) {
        return false;
    }
    let write = |name: &str, text: &str, mode| {
        let path = Path::new(SERVICES).join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    write("one", ONE, 0o644);
    write("two", TWO, 0o644);
    write("password", PASSWORD, 0o755);
    write("answer", ANSWER, 0o755);
    write("heard", "", 0o666);
    fs::set_permissions(SERVICES, Permissions::from_mode(0o755)).unwrap();
    true
}

/// Returns how often PAM has heard the password.
fn heard() -> usize {
    let heard = fs::read_to_string(Path::new(SERVICES).join("heard"));
    heard.unwrap().lines().filter(|it| *it == "pam-pw").count()
}

/// Starts a server with this plugin, and accounts for both services; `None` skips the test.
fn start(known: Option<Server>, plugin: &str, options: &[&str]) -> Option<OwnServer> {
    let known = known?;
    let plugins = known.client().run("SELECT @@plugin_dir").answer();
    if !Path::new(&plugins).join(format!("{plugin}.so")).exists() {
        skip(&format!("{} comes without {plugin}", known.name));
        return None;
    }
    let folder = format!("--plugin-dir={plugins}");
    let load = format!("--plugin-load-add={plugin}");
    let own = OwnServer::start(&known, "127.0.0.1", &[&[&*folder, &load], options].concat());
    for service in ["one", "two"] {
        own.ask(&format!(
            "CREATE USER pam_{service} IDENTIFIED VIA pam USING '{service}'; \
             GRANT ALL ON test.* TO pam_{service}"
        ));
    }
    Some(own)
}

fn front(server: &Server) -> Front {
    Front::with_legs(server, OPEN_LEGS.into_iter().chain(["network"]))
}

/// Returns the server as the clients see it that know how to answer.
fn clients(server: &Server, cleartext: bool) -> Vec<Server> {
    let all = [
        servers::mariadb(),
        servers::mariadb_newer(),
        servers::mysql(),
    ];
    all.into_iter()
        .flatten()
        .filter(|other| cleartext || other.kind == Kind::Mariadb)
        .map(|other| with_client_of(server, &other))
        .collect()
}

/// Has a client answer the first question with its password, and the second, if there is one, with this.
fn log_in(client: &Client<'_>, answer: &str) -> Outcome {
    let client = client.clone().option("--execute=SELECT CURRENT_USER()");
    let mut session = client.open();
    session.say(answer);
    session.close()
}

/// Changes the user of a session over each leg, and says what came of it.
const CHANGE: &str = "
import MySQLdb, sys
ca, user, password, name, *ports = sys.argv[1:]
for port in ports:
    connection = MySQLdb.connect(host='127.0.0.1', port=int(port), user=user, password=password,
                                 database='test', ssl={'ca': ca}, ssl_mode='VERIFY_IDENTITY')
    try:
        connection.change_user(name, 'pam-pw', 'test')
        cursor = connection.cursor()
        cursor.execute('SELECT CURRENT_USER()')
        print(cursor.fetchone()[0])
    except MySQLdb.OperationalError as error:
        print(error.args[0])
";

/// What each of [`OPEN_LEGS`] lets through, and `network` does not.
fn passwords_go_where_nobody_hears_them(own: &OwnServer, cleartext: bool) {
    let server = &own.server;
    let front = front(server);
    for client in clients(server, cleartext) {
        let aimed = |leg, password| front.client(&client, leg).login("pam_one", password);
        let aimed = |leg, password| match client.kind {
            Kind::Mysql => aimed(leg, password).option("--enable-cleartext-plugin"),
            _ => aimed(leg, password),
        };
        for leg in OPEN_LEGS {
            let what = format!("{leg} {}", client.client.display());
            let outcome = log_in(&aimed(leg, "pam-pw"), "");
            assert_eq!(outcome.answer(), "pam_one@%", "{what}");
            let complaint = log_in(&aimed(leg, "wrong"), "").complaint();
            assert!(complaint.contains("1045"), "{what}: {complaint}");
        }
        let before = heard();
        for first in ["mysql_native_password", "mysql_clear_password"] {
            if client.kind == Kind::Mysql && first != "mysql_clear_password" {
                continue;
            }
            let client = aimed("network", "pam-pw").option(format!("--default-auth={first}"));
            let complaint = log_in(&client, "").complaint();
            assert!(complaint.contains("1251"), "{first}: {complaint}");
        }
        assert_eq!(heard(), before, "the password has crossed the network");
    }
    let legs = OPEN_LEGS.into_iter().chain(["network"]);
    let ports: Vec<_> = legs.map(|leg| front.port(leg).to_string()).collect();
    let mut arguments = vec![
        front.ca_file.to_str().unwrap(),
        server.user,
        server.password,
    ];
    arguments.push("pam_one");
    arguments.extend(ports.iter().map(String::as_str));
    if let Some(outcome) = python(CHANGE, &arguments) {
        let expected = ["pam_one@%"; OPEN_LEGS.len()].join("\n") + "\n1251";
        assert_eq!(outcome.answer(), expected);
    }
}

fn every_question_is_answered(own: &OwnServer) {
    let front = front(&own.server);
    for client in clients(&own.server, false) {
        for leg in OPEN_LEGS {
            let what = format!("{leg} {}", client.client.display());
            let client = front.client(&client, leg).login("pam_two", "pam-pw");
            let answer = log_in(&client, "again").answer();
            assert!(answer.ends_with("pam_two@%"), "{what}: {answer}");
            let complaint = log_in(&client, "wrong").complaint();
            assert!(complaint.contains("1045"), "{what}: {complaint}");
        }
    }
}

fn dialog(known: Option<Server>) {
    if let Some(own) = start(known, "auth_pam_v1", &[]) {
        passwords_go_where_nobody_hears_them(&own, false);
        every_question_is_answered(&own);
    }
}

fn cleartext(known: Option<Server>) {
    if let Some(own) = start(known, "auth_pam", &["--pam-use-cleartext-plugin"]) {
        passwords_go_where_nobody_hears_them(&own, true);
    }
}

#[test]
fn passwords_by_dialog_go_to_mariadb_where_nobody_hears_them() {
    let test = "mysql::pam::passwords_by_dialog_go_to_mariadb_where_nobody_hears_them";
    if is_inside(test) {
        dialog(servers::mariadb());
    }
}

#[test]
fn passwords_by_dialog_go_to_a_newer_mariadb_where_nobody_hears_them() {
    let test = "mysql::pam::passwords_by_dialog_go_to_a_newer_mariadb_where_nobody_hears_them";
    if is_inside(test) {
        dialog(servers::mariadb_newer());
    }
}

#[test]
fn passwords_in_clear_go_to_mariadb_where_nobody_hears_them() {
    let test = "mysql::pam::passwords_in_clear_go_to_mariadb_where_nobody_hears_them";
    if is_inside(test) {
        cleartext(servers::mariadb());
    }
}

#[test]
fn passwords_in_clear_go_to_a_newer_mariadb_where_nobody_hears_them() {
    let test = "mysql::pam::passwords_in_clear_go_to_a_newer_mariadb_where_nobody_hears_them";
    if is_inside(test) {
        cleartext(servers::mariadb_newer());
    }
}
