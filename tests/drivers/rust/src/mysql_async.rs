//! `mysql_async`.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use mysql_async::{
    ChangeUserOpts, Conn, Error, OptsBuilder, SslOpts, Value, from_value_opt,
    prelude::Queryable as _,
};

use crate::{
    report::{Login, Target},
    steps::{self, Dialect, unsupported},
};

/// Logins that may go wrong because of the driver. Three in a row do so once in 16 million times.
const TRIES: usize = 3;

/// The plugins of MariaDB whose nonce is 32 random bytes, of which the last may be zero.
const RANDOM: [&str; 2] = ["ed25519", "parsec"];

/// What a server says that does not believe a client (`ER_ACCESS_DENIED_ERROR`).
const DENIED: u16 = 1045;

/// A connection, and how to make another one like it.
pub struct Driver {
    connection: Conn,
    options: OptsBuilder,
}

/// Returns what became of logins by `log_in` as `login`, each on a connection of its own.
///
/// The driver takes a zero at the end of a nonce for a terminator and leaves it out, in one login of 256:
/// for `ed25519` it signs another message, so that the server denies the login, and for `parsec` it panics.
/// In 8000 logins without a proxy exactly those with such a nonce failed. Another connection has another
/// nonce. What another plugin denies is denied.
async fn try_again<T: Send + 'static, L>(login: &Login, log_in: impl Fn() -> L) -> Result<T>
where
    L: Future<Output = Result<T, Error>> + Send + 'static,
{
    let plugin = login.plugin.as_deref().unwrap_or_default();
    let tries = if RANDOM.contains(&plugin) { TRIES } else { 1 };
    for left in (0..tries).rev() {
        match tokio::spawn(log_in()).await {
            Err(ended) if ended.is_panic() => {}
            Ok(Err(Error::Server(error))) if error.code == DENIED && left > 0 => {}
            done => return Ok(done??),
        }
    }
    bail!("the driver panicked at {tries} logins")
}

impl steps::Driver for Driver {
    const DIALECT: Dialect = steps::MYSQL;

    async fn connect(target: &Target, port: u16, login: &Login) -> Result<Self> {
        let tls = SslOpts::default()
            .with_root_certs(vec![PathBuf::from(&target.ca).into()])
            .with_disable_built_in_roots(true);
        let options = OptsBuilder::default()
            .ip_or_hostname("localhost")
            .tcp_port(port)
            // It would leave the connection for the server's Unix socket.
            .prefer_socket(false)
            .user(Some(&login.user))
            .pass(Some(&login.password))
            .db_name(Some(&target.database))
            .ssl_opts(tls);
        let connection = try_again(login, || Conn::new(options.clone())).await?;
        Ok(Self {
            connection,
            options,
        })
    }

    async fn ask(&mut self, sql: &str) -> Result<Option<String>> {
        let value: Option<Value> = self.connection.query_first(sql).await?;
        Ok(value.and_then(|value| from_value_opt(value).ok()))
    }

    async fn prepared(&mut self, sql: &str, values: [&str; 2]) -> Result<[String; 2]> {
        let row: Option<(String, String)> = self
            .connection
            .exec_first(sql, (values[0], values[1]))
            .await?;
        row.map(|(first, second)| [first, second])
            .ok_or_else(|| anyhow::anyhow!("no row"))
    }

    fn canceller(&self) -> Result<impl Future<Output = Result<()>> + use<>> {
        Ok(steps::nothing())
    }

    async fn change_user(&mut self, login: &Login) -> Result<()> {
        let change = ChangeUserOpts::new()
            .with_user(Some(login.user.clone()))
            .with_pass(Some(login.password.clone()));
        // On a connection of its own too, because a server that has denied a change hangs up.
        self.connection = try_again(login, || {
            let (options, change) = (self.options.clone(), change.clone());
            async {
                let mut connection = Conn::new(options).await?;
                connection.change_user(change).await?;
                Ok(connection)
            }
        })
        .await?;
        Ok(())
    }

    async fn reset(&mut self) -> Result<()> {
        ensure!(self.connection.reset().await?, "it was not reset");
        Ok(())
    }

    async fn copy_in(&mut self, _: &str, _: String) -> Result<()> {
        unsupported("PostgreSQL's")
    }

    async fn copy_out(&mut self, _: &str) -> Result<String> {
        unsupported("PostgreSQL's")
    }

    async fn notified(&mut self, _: &str, _: impl Future<Output = Result<()>>) -> Result<String> {
        unsupported("PostgreSQL's")
    }

    async fn close(self) -> Result<()> {
        Ok(self.connection.disconnect().await?)
    }
}
