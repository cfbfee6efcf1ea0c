//! `sqlx`, towards MySQL and MariaDB.

use anyhow::Result;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection, Row as _,
    mysql::{MySqlConnectOptions, MySqlSslMode},
};

use crate::{
    report::{Login, Target},
    steps::{self, Dialect, unsupported},
};

pub struct Driver(MySqlConnection);

impl steps::Driver for Driver {
    const DIALECT: Dialect = steps::MYSQL;

    async fn connect(target: &Target, port: u16, login: &Login) -> Result<Self> {
        let options = MySqlConnectOptions::new()
            .host("localhost")
            .port(port)
            .username(&login.user)
            .password(&login.password)
            .database(&target.database)
            .ssl_mode(MySqlSslMode::VerifyIdentity)
            .ssl_ca(&target.ca);
        Ok(Self(options.connect().await?))
    }

    async fn ask(&mut self, sql: &str) -> Result<Option<String>> {
        let sql = AssertSqlSafe(sql.to_owned());
        let row = sqlx::raw_sql(sql).fetch_optional(&mut self.0).await?;
        Ok(row.and_then(|row| row.try_get(0).ok()))
    }

    async fn prepared(&mut self, sql: &str, values: [&str; 2]) -> Result<[String; 2]> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .bind(values[0])
            .bind(values[1]);
        let row = query.fetch_one(&mut self.0).await?;
        Ok([row.try_get(0)?, row.try_get(1)?])
    }

    fn canceller(&self) -> Result<impl Future<Output = Result<()>> + use<>> {
        Ok(steps::nothing())
    }

    async fn change_user(&mut self, _: &Login) -> Result<()> {
        unsupported("sqlx has no change of user")
    }

    async fn reset(&mut self) -> Result<()> {
        unsupported("sqlx has no reset of a connection")
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
        Ok(self.0.close().await?)
    }
}
