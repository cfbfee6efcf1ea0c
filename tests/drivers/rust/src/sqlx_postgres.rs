//! `sqlx`, towards PostgreSQL.

use anyhow::Result;
use futures_util::StreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgSslMode},
};

use crate::{
    report::{Login, Target},
    steps::{self, Dialect, unsupported},
};

pub struct Driver {
    connection: PgConnection,
    options: PgConnectOptions,
}

impl steps::Driver for Driver {
    const DIALECT: Dialect = steps::POSTGRES;

    async fn connect(target: &Target, port: u16, login: &Login) -> Result<Self> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("localhost")
            .port(port)
            .username(&login.user)
            .password(&login.password)
            .database(&target.database)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(&target.ca);
        Ok(Self {
            connection: options.connect().await?,
            options,
        })
    }

    async fn ask(&mut self, sql: &str) -> Result<Option<String>> {
        let sql = AssertSqlSafe(sql.to_owned());
        let row = sqlx::raw_sql(sql)
            .fetch_optional(&mut self.connection)
            .await?;
        Ok(row.and_then(|row| row.try_get(0).ok()))
    }

    async fn prepared(&mut self, sql: &str, values: [&str; 2]) -> Result<[String; 2]> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .bind(values[0])
            .bind(values[1]);
        let row = query.fetch_one(&mut self.connection).await?;
        Ok([row.try_get(0)?, row.try_get(1)?])
    }

    fn canceller(&self) -> Result<impl Future<Output = Result<()>> + use<>> {
        let nothing: Result<std::future::Ready<Result<()>>> =
            unsupported("sqlx has no request to cancel");
        nothing
    }

    async fn change_user(&mut self, _: &Login) -> Result<()> {
        unsupported("MySQL's")
    }

    async fn reset(&mut self) -> Result<()> {
        unsupported("MySQL's")
    }

    async fn copy_in(&mut self, table: &str, lines: String) -> Result<()> {
        let statement = format!("COPY {table} FROM STDIN");
        let mut copy = self.connection.copy_in_raw(&statement).await?;
        copy.send(lines.into_bytes()).await?;
        copy.finish().await?;
        Ok(())
    }

    async fn copy_out(&mut self, table: &str) -> Result<String> {
        let statement = format!("COPY {table} TO STDOUT");
        let mut copy = self.connection.copy_out_raw(&statement).await?;
        let mut lines = Vec::new();
        while let Some(piece) = copy.next().await {
            lines.extend_from_slice(&piece?);
        }
        Ok(String::from_utf8(lines)?)
    }

    async fn notified(
        &mut self,
        channel: &str,
        tell: impl Future<Output = Result<()>>,
    ) -> Result<String> {
        let pool = PgPoolOptions::new().max_connections(1);
        let pool = pool.connect_with(self.options.clone()).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        tell.await?;
        Ok(listener.recv().await?.payload().to_owned())
    }

    async fn close(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}
