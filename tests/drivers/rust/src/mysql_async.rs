//! `mysql_async`.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use mysql_async::{
    ChangeUserOpts, Conn, OptsBuilder, SslOpts, Value, from_value_opt, prelude::Queryable as _,
};

use crate::{
    report::{Login, Target},
    steps::{self, Dialect, unsupported},
};

/// Logins after which the driver's panics have another reason.
const TRIES: usize = 3;

pub struct Driver(Conn);

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
        // The driver takes a zero at the end of a nonce for a terminator, and panics where `parsec` needs
        // the whole nonce: one login of 256. Another connection has another nonce.
        for _ in 0..TRIES {
            match tokio::spawn(Conn::new(options.clone())).await {
                Err(ended) if ended.is_panic() => {}
                connected => return Ok(Self(connected??)),
            }
        }
        bail!("the driver panicked at {TRIES} logins")
    }

    async fn ask(&mut self, sql: &str) -> Result<Option<String>> {
        let value: Option<Value> = self.0.query_first(sql).await?;
        Ok(value.and_then(|value| from_value_opt(value).ok()))
    }

    async fn prepared(&mut self, sql: &str, values: [&str; 2]) -> Result<[String; 2]> {
        let row: Option<(String, String)> = self.0.exec_first(sql, (values[0], values[1])).await?;
        row.map(|(first, second)| [first, second])
            .ok_or_else(|| anyhow::anyhow!("no row"))
    }

    fn canceller(&self) -> Result<impl Future<Output = Result<()>> + use<>> {
        Ok(steps::nothing())
    }

    async fn change_user(&mut self, login: &Login) -> Result<()> {
        let options = ChangeUserOpts::new()
            .with_user(Some(login.user.clone()))
            .with_pass(Some(login.password.clone()));
        Ok(self.0.change_user(options).await?)
    }

    async fn reset(&mut self) -> Result<()> {
        ensure!(self.0.reset().await?, "it was not reset");
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
        Ok(self.0.disconnect().await?)
    }
}
