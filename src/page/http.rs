//! HTTP for monitoring systems and browsers.

use std::{convert::Infallible, io, net, os::fd::OwnedFd, rc::Rc, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, VARY},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, spawn_local},
    time::{sleep, timeout},
};

use super::{
    desk::{ALIVE_PATIENCE, Desk, NoAnswer, STATUS_PATIENCE},
    document::Document,
    metrics,
    people::{self, Query},
};

/// How long a client may take to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may last: a scrape is short.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(30);

/// Connections served at one time.
const MAX_CONNECTIONS: usize = 32;

/// The pause after a connection could not be accepted, which mostly is for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the page at a listening socket until the handle is told to abort. Must be called in a
/// [`tokio::task::LocalSet`].
pub(super) fn serve(socket: OwnedFd, desk: Rc<Desk>) -> io::Result<AbortHandle> {
    // It does not block: the supervisor sees to that, because this process may not.
    let listener = TcpListener::from_std(net::TcpListener::from(socket))?;
    Ok(spawn_local(accept(listener, desk)).abort_handle())
}

async fn accept(listener: TcpListener, desk: Rc<Desk>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let desk = Rc::clone(&desk);
        spawn_local(async move {
            converse(stream, desk).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, desk: Rc<Desk>) {
    let service = service_fn(move |request| {
        let desk = Rc::clone(&desk);
        async move { Ok::<_, Infallible>(respond(&request, &desk).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks the protocol or leaves is no fault of the daemon.
    let _ = timeout(CONNECTION_PATIENCE, connection).await;
}

async fn respond(request: &Request<Incoming>, desk: &Desk) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered\n".into(),
        );
    }
    match request.uri().path() {
        "/healthz" => health(desk.alive().await),
        "/" => for_people(request.uri().query(), desk).await,
        path @ ("/metrics" | "/readyz") => match desk.status().await {
            Ok(document) => page(path, request.headers(), &document),
            Err(why) => unavailable(no_status(why) + "\n"),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz, /readyz and /\n".into(),
        ),
    }
}

fn health(alive: Result<(), NoAnswer>) -> Response<Full<Bytes>> {
    match alive {
        Ok(()) => text(StatusCode::OK, "alive\n".into()),
        Err(_) => unavailable(format!(
            "the supervisor has not answered for {} s: its loop does not turn\n",
            ALIVE_PATIENCE.as_secs()
        )),
    }
}

/// Says why there is no status.
fn no_status(why: NoAnswer) -> String {
    match why {
        NoAnswer::Late => format!(
            "the supervisor has not told its status for {} s, or other clients are slow to take their \
             answers",
            STATUS_PATIENCE.as_secs()
        ),
        NoAnswer::Failed => "the status cannot be told; the daemon's log says why".to_owned(),
    }
}

/// Returns the page for people, also when there is no status.
async fn for_people(query: Option<&str>, desk: &Desk) -> Response<Full<Bytes>> {
    let query = Query::read(query);
    // Without news the page shows what is remembered.
    let (document, _) = tokio::join!(desk.status(), desk.news());
    let (status, body) = match document {
        Ok(document) => (
            StatusCode::OK,
            document.page(&query, desk.host(), &desk.recent()),
        ),
        Err(why) => {
            let page = people::render_silence(desk.host(), &no_status(why), Timestamp::now());
            (StatusCode::SERVICE_UNAVAILABLE, page.into())
        }
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    people::headers(response.headers_mut());
    response
}

fn page(path: &str, headers: &HeaderMap, document: &Document) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => {
            let format = metrics::chosen(headers.get_all(ACCEPT));
            let text = document.metrics(format);
            let mut response = reply(StatusCode::OK, format.content_type(), text);
            let vary = HeaderValue::from_static("accept");
            response.headers_mut().insert(VARY, vary);
            response
        }
        "/readyz" if document.serves() => text(StatusCode::OK, "serving\n".into()),
        _ => unavailable("no worker serves\n".to_owned()),
    }
}

fn text(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body)
}

fn unavailable(body: String) -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, body.into())
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
