//! The metrics page: HTTP for monitoring systems and browsers.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::queries::Message;
use crate::{
    control::{Status, SupervisorState},
    page::metrics,
};

/// How long a client may take to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may last: a scrape is short.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(30);

/// How long the loop may take to give a status before the page answers that the supervisor does not.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// Connections served at one time.
const MAX_CONNECTIONS: usize = 32;

/// Binds the page's address.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the page for the daemon's life.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    supervisor: mpsc::UnboundedSender<Message>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the metrics page cannot be served");
            return;
        }
    };
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let supervisor = supervisor.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| respond(request, supervisor.clone()));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks the protocol or leaves is no fault of the daemon.
            let _ = timeout(CONNECTION_PATIENCE, connection).await;
            drop(place);
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    supervisor: mpsc::UnboundedSender<Message>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered\n",
        ));
    }
    let path = request.uri().path();
    if !matches!(path, "/" | "/healthz" | "/metrics" | "/readyz") {
        return Ok(text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz, /readyz and /\n",
        ));
    }
    if path == "/healthz" {
        // The supervisor's own thread serves the page, so that any answer proves that it is alive.
        return Ok(text(StatusCode::OK, "alive\n"));
    }
    let (reply, status) = oneshot::channel();
    let _ = supervisor.send(Message::Page(reply));
    Ok(match timeout(STATUS_PATIENCE, status).await {
        Ok(Ok(status)) => page(path, &status),
        _ => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the supervisor does not answer\n",
        ),
    })
}

fn page(path: &str, status: &Status) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => reply(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            metrics::render(status),
        ),
        "/readyz" if status.supervisor.state == SupervisorState::Serving => {
            text(StatusCode::OK, "serving\n")
        }
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "no worker serves\n"),
        _ => text(StatusCode::OK, &metrics::overview(status)),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body.to_owned())
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
