//! Where to go, and one line of JSON for each step.

use std::{fmt, future::Future, time::Duration};

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, stdin},
    time::timeout,
};

/// How long anything may take that should end by itself.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where to go.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// The port of the listener.
    pub port: u16,
    /// The port of a listener whose certificate is for another name.
    pub wrong_name_port: u16,
    /// The file with the authority's certificate.
    pub ca: String,
    /// The database.
    pub database: String,
    /// Whether a client may bind its login to TLS: `disable` or `prefer`.
    pub channel_binding: String,
    /// The account that may do everything.
    #[serde(flatten)]
    pub account: Login,
    /// An account for each authentication plugin.
    pub logins: Vec<PluginLogin>,
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The authentication plugin by which it logs in; `None` for the account that may do everything.
    #[serde(default)]
    pub plugin: Option<String>,
}

/// An account of an authentication plugin.
#[derive(Clone, Debug, Deserialize)]
pub struct PluginLogin {
    /// Whether the second login is another than the first.
    #[serde(default)]
    pub cache: bool,
    /// The account, with its plugin.
    #[serde(flatten)]
    pub login: Login,
    /// The name of the account to change to within a session, of the same plugin and password.
    #[serde(default)]
    pub changed_to: String,
}

/// The driver has no call for what a step is about.
#[derive(Debug)]
pub struct Unsupported(pub &'static str);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unsupported {}

impl PluginLogin {
    /// Returns the name of the plugin.
    pub fn plugin(&self) -> &str {
        self.login.plugin.as_deref().unwrap_or_default()
    }
}

fn say(step: &str, result: &str, reason: Option<String>) {
    println!(
        "{}",
        json!({ "step": step, "result": result, "reason": reason })
    );
}

/// Does something, and says how it went.
pub async fn step(name: &str, act: impl Future<Output = Result<()>>) {
    match act.await {
        Ok(()) => say(name, "ok", None),
        Err(error) if error.is::<Unsupported>() => {
            say(name, "unsupported", Some(error.to_string()));
        }
        Err(error) => say(name, "failed", Some(format!("{error:#}"))),
    }
}

/// Has the test replace the certificate and waits until that is done.
pub async fn reload() -> Result<()> {
    say("reload", "waiting", None);
    let mut line = String::new();
    BufReader::new(stdin()).read_line(&mut line).await?;
    ensure!(line == "done\n", "{line:?}");
    Ok(())
}

/// Expects an error that says one of these words.
pub fn fails_with<T>(result: Result<T>, words: &[&str]) -> Result<()> {
    match result {
        Ok(_) => anyhow::bail!("it succeeded"),
        Err(error) => {
            let text = format!("{error:?}").to_lowercase();
            ensure!(words.iter().any(|word| text.contains(word)), "{text}");
            Ok(())
        }
    }
}

/// Waits for something that should end by itself.
pub async fn in_time<T>(act: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, act)
        .await
        .map_err(|_| anyhow::anyhow!("it goes on"))
}
