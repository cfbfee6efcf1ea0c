//! The plugins that `MariaDB` tests itself with: questions and answers in clear, of which nobody knows
//! how many will come, and one that no client knows by name.

use crate::support::{
    front::{Front, OPEN_LEGS},
    own_server::OwnServer,
    program::Outcome,
    servers::{self, Client},
    skip,
};

/// What an account is identified by, the client's password and what it says when asked.
struct Login {
    user: &'static str,
    plugin: &'static str,
    password: &'static str,
    said: &'static [&'static str],
}

const LOGINS: [Login; 5] = [
    Login {
        user: "two_questions",
        plugin: "two_questions USING 'secret'",
        password: "secret",
        said: &["yes, of course"],
    },
    Login {
        user: "three_attempts",
        plugin: "three_attempts USING 'secret'",
        password: "secret",
        said: &[],
    },
    Login {
        user: "at_the_third",
        plugin: "three_attempts USING 'secret'",
        password: "wrong",
        said: &["wrong again", "secret"],
    },
    Login {
        user: "in_clear",
        plugin: "cleartext_plugin_server USING 'secret'",
        password: "secret",
        said: &[],
    },
    // It lets in whom it was given the name of.
    Login {
        user: "own_plugin",
        plugin: "test_plugin_server USING 'in_clear'",
        password: "in_clear",
        said: &[],
    },
];

fn start() -> Option<(OwnServer, String)> {
    let known = servers::mariadb()?;
    let folder = known.client().run("SELECT @@plugin_dir").answer();
    if !std::path::Path::new(&folder)
        .join("dialog_examples.so")
        .exists()
    {
        skip("MariaDB's own tests are not there, and so its plugins for them");
        return None;
    }
    let plugins = format!("--plugin-dir={folder}");
    let options = [
        &*plugins,
        "--plugin-maturity=unknown",
        "--plugin-load-add=dialog_examples;auth_test_plugin",
    ];
    let own = OwnServer::start(&known, "127.0.0.1", &options);
    for login in LOGINS {
        let Login { user, plugin, .. } = login;
        own.ask(&format!(
            "CREATE USER {user} IDENTIFIED VIA {plugin}; GRANT ALL ON test.* TO {user}"
        ));
    }
    let root = own.server.client().login("root", "");
    let root = root.at_socket(&own.server.socket);
    root.run("GRANT PROXY ON in_clear TO own_plugin").answer();
    Some((own, plugins))
}

fn log_in(client: &Client<'_>, login: &Login, last: Option<&str>) -> Outcome {
    let client = client.clone().login(login.user, login.password);
    let client = client.option("--execute=SELECT 'let in'");
    let mut session = client.open();
    let before = login
        .said
        .split_last()
        .map_or(&[][..], |(_, before)| before);
    for line in before.iter().chain(last.as_ref()) {
        session.say(line);
    }
    session.close()
}

#[test]
fn questions_pass_however_many_there_are() {
    let Some((own, plugins)) = start() else {
        return;
    };
    let server = &own.server;
    let front = Front::with_legs(server, OPEN_LEGS.into_iter().chain(["network"]));
    for login in &LOGINS {
        let client = |leg| match login.user {
            // The client's side of it is where the server's is.
            "own_plugin" => front.client(server, leg).option(&plugins),
            _ => front.client(server, leg),
        };
        let right = login.said.last().copied();
        for leg in OPEN_LEGS {
            let what = format!("{} {leg}", login.user);
            let answer = log_in(&client(leg), login, right).answer();
            assert!(answer.ends_with("let in"), "{what}: {answer}");
            if right.is_some() {
                let complaint = log_in(&client(leg), login, Some("no")).complaint();
                assert!(complaint.contains("1045"), "{what}: {complaint}");
            }
        }
        let complaint = log_in(&client("network"), login, right).complaint();
        assert!(complaint.contains("1251"), "{}: {complaint}", login.user);
    }
}
