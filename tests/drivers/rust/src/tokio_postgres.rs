//! `tokio-postgres`, with rustls by `tokio-postgres-rustls`.

use std::{future::poll_fn, pin::pin, sync::Arc};

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::{
    AsyncMessage, Client, Config, SimpleQueryMessage, Statement,
    config::{ChannelBinding, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    report::{Login, Target},
    steps::{self, Dialect, unsupported},
};

pub struct Driver {
    client: Client,
    connection: JoinHandle<()>,
    news: mpsc::UnboundedReceiver<String>,
    tls: MakeRustlsConnect,
    statement: Option<Statement>,
}

fn tls(target: &Target) -> Result<MakeRustlsConnect> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&target.ca)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

impl steps::Driver for Driver {
    const DIALECT: Dialect = steps::POSTGRES;

    async fn connect(target: &Target, port: u16, login: &Login) -> Result<Self> {
        let tls = tls(target)?;
        let binding = match target.channel_binding.as_str() {
            "disable" => ChannelBinding::Disable,
            _ => ChannelBinding::Prefer,
        };
        let (client, mut connection) = Config::new()
            .host("localhost")
            .port(port)
            .user(&login.user)
            .password(&login.password)
            .dbname(&target.database)
            .ssl_mode(SslMode::Require)
            .channel_binding(binding)
            .connect(tls.clone())
            .await?;
        let (tell, news) = mpsc::unbounded_channel();
        let connection = tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(it)) => drop(tell.send(it.payload().to_owned())),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        });
        Ok(Self {
            client,
            connection,
            news,
            tls,
            statement: None,
        })
    }

    async fn ask(&mut self, sql: &str) -> Result<Option<String>> {
        let messages = self.client.simple_query(sql).await?;
        Ok(messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    async fn prepared(&mut self, sql: &str, values: [&str; 2]) -> Result<[String; 2]> {
        let statement = match &self.statement {
            Some(statement) => statement.clone(),
            None => self.client.prepare(sql).await?,
        };
        let row = self
            .client
            .query_one(&statement, &[&values[0], &values[1]])
            .await?;
        self.statement = Some(statement);
        Ok([row.try_get(0)?, row.try_get(1)?])
    }

    fn canceller(&self) -> Result<impl Future<Output = Result<()>> + use<>> {
        let (token, tls) = (self.client.cancel_token(), self.tls.clone());
        Ok(async move { Ok(token.cancel_query(tls).await?) })
    }

    async fn change_user(&mut self, _: &Login) -> Result<()> {
        unsupported("MySQL's")
    }

    async fn reset(&mut self) -> Result<()> {
        unsupported("MySQL's")
    }

    async fn copy_in(&mut self, table: &str, lines: String) -> Result<()> {
        let statement = format!("COPY {table} FROM STDIN");
        let mut sink = pin!(self.client.copy_in::<_, bytes::Bytes>(&statement).await?);
        sink.send(bytes::Bytes::from(lines)).await?;
        sink.close().await?;
        Ok(())
    }

    async fn copy_out(&mut self, table: &str) -> Result<String> {
        let statement = format!("COPY {table} TO STDOUT");
        let mut copy = pin!(self.client.copy_out(&statement).await?);
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
        self.ask(&format!("LISTEN {channel}")).await?;
        tell.await?;
        self.news.recv().await.context("the connection ended")
    }

    async fn close(self) -> Result<()> {
        drop(self.client);
        Ok(self.connection.await?)
    }
}
