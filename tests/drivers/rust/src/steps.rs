//! The steps, the same for every driver.

use anyhow::{Result, ensure};

use crate::report::{Login, PluginLogin, Target, Unsupported, fails_with, in_time, reload, step};

/// What two databases say differently.
#[derive(Debug)]
pub struct Dialect {
    /// The number of this connection, as text.
    pub number: &'static str,
    /// Who is logged in.
    pub user: &'static str,
    /// Sleeps.
    pub sleep: &'static str,
    /// Whether the connection `NUMBER` sleeps, as text.
    pub asleep: &'static str,
    /// Ends the connection `NUMBER`.
    pub kill: &'static str,
    /// Ends what the connection `NUMBER` does; empty where the driver has a call for it.
    pub cancel: &'static str,
    /// What a cancelled statement fails with, if it fails.
    pub cancelled: &'static [&'static str],
    /// Returns its two values, of which both are texts.
    pub values: &'static str,
    /// How many rows there are, as text.
    pub count: &'static str,
    /// Begins a transaction.
    pub begin: &'static str,
    /// What a wrong password is answered with.
    pub denied: &'static [&'static str],
    /// What a wrong statement is answered with.
    pub syntax: &'static [&'static str],
}

/// MySQL and MariaDB.
pub const MYSQL: Dialect = Dialect {
    number: "SELECT CAST(CONNECTION_ID() AS CHAR)",
    user: "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)",
    sleep: "SELECT SLEEP(100)",
    asleep: "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.PROCESSLIST \
             WHERE ID = NUMBER AND INFO LIKE '%SLEEP%'",
    kill: "KILL NUMBER",
    cancel: "KILL QUERY NUMBER",
    cancelled: &["1317", "interrupted"],
    values: "SELECT CAST(? AS CHAR), CAST(? AS CHAR)",
    count: "SELECT CAST(COUNT(*) AS CHAR) FROM numbers",
    begin: "START TRANSACTION",
    denied: &["1045"],
    syntax: &["1064"],
};

/// PostgreSQL.
pub const POSTGRES: Dialect = Dialect {
    number: "SELECT pg_backend_pid()::text",
    user: "SELECT CURRENT_USER::text",
    sleep: "SELECT pg_sleep(100)",
    asleep: "SELECT COUNT(*)::text FROM pg_stat_activity \
             WHERE pid = NUMBER AND wait_event = 'PgSleep'",
    kill: "SELECT pg_terminate_backend(NUMBER)",
    cancel: "",
    cancelled: &["user request"],
    values: "SELECT $1::text, $2::text",
    count: "SELECT COUNT(*)::text FROM numbers",
    begin: "BEGIN",
    denied: &["password authentication failed"],
    syntax: &["syntax error"],
};

/// A driver, and a connection of it.
///
/// Connections are made by TLS with the server's name verified.
pub trait Driver: Sized {
    /// What it speaks.
    const DIALECT: Dialect;

    /// Connects.
    async fn connect(target: &Target, port: u16, login: &Login) -> Result<Self>;
    /// Runs a statement, and returns the first value if it is text.
    async fn ask(&mut self, sql: &str) -> Result<Option<String>>;
    /// Runs a statement that is prepared once, and returns the two texts of its row.
    async fn prepared(&mut self, sql: &str, values: [&str; 2]) -> Result<[String; 2]>;
    /// Returns what cancels, from elsewhere, what this connection waits for.
    fn canceller(&self) -> Result<impl Future<Output = Result<()>> + use<Self>>;
    /// Logs in as somebody else, or puts the session back to its start.
    async fn change_user(&mut self, login: &Login) -> Result<()>;
    /// Puts the session back to its start.
    async fn reset(&mut self) -> Result<()>;
    /// Copies these lines into a table.
    async fn copy_in(&mut self, table: &str, lines: String) -> Result<()>;
    /// Copies the lines out of a table.
    async fn copy_out(&mut self, table: &str) -> Result<String>;
    /// Waits for news on a channel, which `tell` causes.
    async fn notified(
        &mut self,
        channel: &str,
        tell: impl Future<Output = Result<()>>,
    ) -> Result<String>;
    /// Says goodbye.
    async fn close(self) -> Result<()>;
}

/// Stands in for a canceller that there is not.
pub async fn nothing() -> Result<()> {
    Ok(())
}

/// Takes all steps.
pub async fn take<D: Driver>(target: &Target) {
    let takes = Takes::<D> {
        target,
        driver: std::marker::PhantomData,
    };
    let is_mysql = !D::DIALECT.cancel.is_empty();
    step("connect", takes.connects()).await;
    step("wrong-name", takes.refuses_another_name()).await;
    for login in &target.logins {
        let name = format!("login {}", login.plugin());
        step(&name, takes.logs_in(&login.login)).await;
        if login.cache {
            step(&format!("{name} again"), takes.logs_in(&login.login)).await;
        }
    }
    step("wrong-password", takes.refuses_another_password()).await;
    step("value 1 MB", takes.carries(1 << 20)).await;
    step("value 20 MB", takes.carries(20 << 20)).await;
    step("prepared", takes.prepares()).await;
    step("transaction", takes.transacts()).await;
    step("error", takes.survives_an_error()).await;
    step("cancel", takes.cancels()).await;
    step("kill", takes.is_killed()).await;
    if is_mysql {
        for login in &target.logins {
            let name = format!("change-user {}", login.plugin());
            step(&name, takes.changes_user(login)).await;
        }
        step("reset", takes.resets()).await;
    } else {
        step("copy", takes.copies()).await;
        step("notify", takes.is_notified()).await;
    }
    step("reload", takes.outlives_a_reload()).await;
}

struct Takes<'target, D> {
    target: &'target Target,
    driver: std::marker::PhantomData<D>,
}

impl<D: Driver> Takes<'_, D> {
    async fn connect(&self) -> Result<D> {
        self.connect_as(&self.target.account).await
    }

    async fn connect_as(&self, login: &Login) -> Result<D> {
        D::connect(self.target, self.target.port, login).await
    }

    async fn connects(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        expect(&mut connection, "SELECT '42'", "42").await?;
        connection.close().await
    }

    async fn refuses_another_name(&self) -> Result<()> {
        let port = self.target.wrong_name_port;
        let connection = D::connect(self.target, port, &self.target.account).await;
        fails_with(connection.map(drop), &["certificate"])
    }

    async fn logs_in(&self, login: &Login) -> Result<()> {
        let mut connection = self.connect_as(login).await?;
        expect(&mut connection, D::DIALECT.user, &login.user).await?;
        connection.close().await
    }

    async fn refuses_another_password(&self) -> Result<()> {
        let wrong = Login {
            password: "wrong".to_owned(),
            ..self.target.account.clone()
        };
        fails_with(self.connect_as(&wrong).await.map(drop), D::DIALECT.denied)
    }

    async fn carries(&self, size: usize) -> Result<()> {
        let mut connection = self.connect().await?;
        let value = "0123456789abcdef".repeat(size / 16);
        let [big, small] = connection
            .prepared(D::DIALECT.values, [&value, "small"])
            .await?;
        ensure!(big == value && small == "small", "another value");
        connection.close().await
    }

    async fn prepares(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        for n in 0..10 {
            let word = format!("word {n}");
            let row = connection
                .prepared(D::DIALECT.values, [&n.to_string(), &word])
                .await?;
            ensure!(row == [n.to_string(), word], "{row:?}");
        }
        connection.close().await
    }

    async fn transacts(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        connection
            .ask("CREATE TEMPORARY TABLE numbers (n int)")
            .await?;
        for (end, left) in [("ROLLBACK", "0"), ("COMMIT", "1")] {
            connection.ask(D::DIALECT.begin).await?;
            connection.ask("INSERT INTO numbers VALUES (1)").await?;
            expect(&mut connection, D::DIALECT.count, "1").await?;
            connection.ask(end).await?;
            expect(&mut connection, D::DIALECT.count, left).await?;
        }
        connection.close().await
    }

    async fn survives_an_error(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        fails_with(connection.ask("SELEC 1").await, D::DIALECT.syntax)?;
        expect(&mut connection, "SELECT '7'", "7").await?;
        connection.close().await
    }

    /// Has one connection sleep, and another act once it does; returns the first, and its result.
    async fn sleeping(
        &self,
        act: &str,
        cancel: impl Future<Output = Result<()>>,
        mut connection: D,
    ) -> Result<(D, Result<Option<String>>)> {
        let mut other = self.connect().await?;
        let number = connection.ask(D::DIALECT.number).await?.unwrap_or_default();
        let asleep = D::DIALECT.asleep.replace("NUMBER", &number);
        let acting = async {
            while other.ask(&asleep).await?.as_deref() != Some("1") {}
            if !act.is_empty() {
                other.ask(&act.replace("NUMBER", &number)).await?;
            }
            cancel.await?;
            other.close().await
        };
        let both = async { tokio::join!(connection.ask(D::DIALECT.sleep), acting) };
        let (slept, acted) = in_time(both).await?;
        acted?;
        Ok((connection, slept))
    }

    async fn cancels(&self) -> Result<()> {
        let connection = self.connect().await?;
        let canceller = connection.canceller()?;
        let sleeping = self.sleeping(D::DIALECT.cancel, canceller, connection);
        let (mut connection, slept) = sleeping.await?;
        // MySQL does not call it an error.
        if slept.is_err() || D::DIALECT.cancel.is_empty() {
            fails_with(slept, D::DIALECT.cancelled)?;
        }
        expect(&mut connection, "SELECT '7'", "7").await?;
        connection.close().await
    }

    async fn is_killed(&self) -> Result<()> {
        let connection = self.connect().await?;
        let sleeping = self.sleeping(D::DIALECT.kill, nothing(), connection);
        let (_, slept) = sleeping.await?;
        fails_with(slept, &[""])
    }

    async fn changes_user(&self, login: &PluginLogin) -> Result<()> {
        let mut connection = self.connect().await?;
        let login = Login {
            user: login.changed_to.clone(),
            ..login.login.clone()
        };
        connection.change_user(&login).await?;
        expect(&mut connection, D::DIALECT.user, &login.user).await?;
        connection.close().await
    }

    async fn resets(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        connection.ask("SET @word = 'left'").await?;
        connection.reset().await?;
        expect(&mut connection, "SELECT COALESCE(@word, 'gone')", "gone").await?;
        connection.close().await
    }

    async fn copies(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        connection
            .ask("CREATE TEMPORARY TABLE numbers (n int, words text)")
            .await?;
        let lines: String = (0..50_000).map(|n| format!("{n}\tnumber {n}\n")).collect();
        connection.copy_in("numbers", lines.clone()).await?;
        expect(&mut connection, D::DIALECT.count, "50000").await?;
        ensure!(
            connection.copy_out("numbers").await? == lines,
            "other lines"
        );
        connection.close().await
    }

    async fn is_notified(&self) -> Result<()> {
        let mut listener = self.connect().await?;
        let mut teller = self.connect().await?;
        let channel = format!("news_{}", self.target.port);
        let tell = async {
            teller.ask(&format!("NOTIFY {channel}, 'hello'")).await?;
            teller.close().await
        };
        let news = in_time(listener.notified(&channel, tell)).await??;
        ensure!(news == "hello", "{news}");
        listener.close().await
    }

    async fn outlives_a_reload(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        let number = connection.ask(D::DIALECT.number).await?.unwrap_or_default();
        reload().await?;
        expect(&mut connection, D::DIALECT.number, &number).await?;
        self.connects().await?;
        connection.close().await
    }
}

async fn expect<D: Driver>(connection: &mut D, sql: &str, answer: &str) -> Result<()> {
    let found = connection.ask(sql).await?;
    ensure!(
        found.as_deref() == Some(answer),
        "{found:?} where {answer:?} is expected"
    );
    Ok(())
}

/// Says that a driver has no call for a step.
pub fn unsupported<T>(reason: &'static str) -> Result<T> {
    Err(Unsupported(reason).into())
}
