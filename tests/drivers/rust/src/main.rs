//! Rust's drivers: the first argument is the driver, the second the target.

mod mysql_async;
mod report;
mod sqlx_mysql;
mod sqlx_postgres;
mod steps;
mod tokio_postgres;

use report::Target;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let driver = arguments.next().unwrap_or_default();
    let target: Target = serde_json::from_str(&arguments.next().unwrap_or_default())?;
    match driver.as_str() {
        "mysql_async" => steps::take::<mysql_async::Driver>(&target).await,
        "sqlx-mysql" => steps::take::<sqlx_mysql::Driver>(&target).await,
        "sqlx-postgres" => steps::take::<sqlx_postgres::Driver>(&target).await,
        "tokio-postgres" => steps::take::<tokio_postgres::Driver>(&target).await,
        other => anyhow::bail!("there is no driver {other:?}"),
    }
    Ok(())
}
