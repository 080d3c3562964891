//! Asks for what it may not have, and for too much of what it may.

use super::{computing, number, rest, text};
use futures::FutureExt as _;
use futures::future::{join, join_all};
use std::collections::BTreeMap;
use std::pin::pin;
use wasip3::http::client;
use wasip3::http::types::{
    ErrorCode, Fields, HeaderError, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};

pub(super) async fn attack(name: &str, arguments: &[&str]) -> Option<String> {
    match name {
        // METHOD SCHEME AUTHORITY PATH [NAME=VALUE...]
        "request" => Some(ask(arguments, None).await),
        // The same with a time limit in front, in milliseconds.
        "impatient" => Some(ask(rest(arguments, 1), Some(number(arguments, 0))).await),
        // SCHEME AUTHORITY PATH: with an empty message of gRPC.
        "call" => Some(call(arguments).await),
        // NAME
        "header" => Some(header(text(arguments, 0))),
        // SCHEME AUTHORITY PATH NAME=VALUE
        "trailer" => Some(trailer(arguments).await),
        // SCHEME AUTHORITY PATH PATH
        "pass-on" => Some(pass_on(arguments).await),
        // SCHEME AUTHORITY PATH PIECE
        "upload" => Some(upload(arguments).await),
        // SCHEME AUTHORITY PATH COUNT
        "many" => Some(many(arguments).await),
        // SCHEME AUTHORITY PATH SIZE
        "spin-at-answer" => Some(spin_at_answer(arguments).await),
        _ => None,
    }
}

/// Everything about a request but its body.
struct Head<'a> {
    method: &'a str,
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
    headers: Vec<(String, Vec<u8>)>,
    milliseconds: Option<u64>,
}

impl<'a> Head<'a> {
    fn post(arguments: &[&'a str]) -> Self {
        Self {
            method: "POST",
            scheme: text(arguments, 0),
            authority: text(arguments, 1),
            path: text(arguments, 2),
            headers: Vec::new(),
            milliseconds: None,
        }
    }

    fn request(
        &self,
        contents: Option<StreamReader<u8>>,
        trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
    ) -> Result<Request, String> {
        let fields =
            Fields::from_list(&self.headers).map_err(|error| format!("headers {error:?}"))?;
        let options = RequestOptions::new();
        let limit = self.milliseconds.map(|count| count * 1_000_000);
        let _ = options.set_first_byte_timeout(limit);
        let _ = options.set_between_bytes_timeout(limit);
        let (request, _sent) = Request::new(fields, contents, trailers, Some(options));
        let method = match self.method {
            "POST" => Method::Post,
            "GET" => Method::Get,
            other => Method::Other(other.to_owned()),
        };
        let scheme = match self.scheme {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            "" => None,
            other => Some(Scheme::Other(other.to_owned())),
        };
        let authority = Some(self.authority).filter(|text| !text.is_empty());
        let path = Some(self.path).filter(|text| !text.is_empty());
        let refused = |what: &str| format!("{what} refused");
        request
            .set_method(&method)
            .map_err(|()| refused("method"))?;
        request
            .set_scheme(scheme.as_ref())
            .map_err(|()| refused("scheme"))?;
        request
            .set_authority(authority)
            .map_err(|()| refused("authority"))?;
        request
            .set_path_with_query(path)
            .map_err(|()| refused("path"))?;
        Ok(request)
    }

    /// A request whose body ends at once.
    fn empty(&self) -> Result<(Request, impl Future<Output = ()> + use<>), String> {
        let (trailers, reader) = wit_future::new(|| Ok(None));
        let request = self.request(None, reader)?;
        Ok((request, end(trailers, None)))
    }
}

/// Says that a body is over. Waited for, it would wait for the request.
async fn end(
    writer: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
    trailers: Option<Trailers>,
) {
    let _ = writer.write(Ok(trailers)).await;
}

async fn ask(arguments: &[&str], milliseconds: Option<u64>) -> String {
    let headers = arguments.iter().skip(4).filter_map(|argument| {
        let (name, value) = argument.split_once('=')?;
        Some((name.to_owned(), value.as_bytes().to_vec()))
    });
    let head = Head {
        method: text(arguments, 0),
        scheme: text(arguments, 1),
        authority: text(arguments, 2),
        path: text(arguments, 3),
        headers: headers.collect(),
        milliseconds,
    };
    let (request, end) = match head.empty() {
        Ok(request) => request,
        Err(error) => return error,
    };
    match join(client::send(request), end).await.0 {
        Ok(response) => read(response).await,
        Err(error) => describe(&error),
    }
}

/// A whole answer: status, headers, size of the body, and how it ended.
async fn read(response: Response) -> String {
    let status = response.get_status_code();
    let headers = show(&response.get_headers().copy_all());
    let (_processed, reader) = wit_future::new(|| Ok(()));
    let (mut contents, trailers) = Response::consume_body(response, reader);
    let mut size = 0;
    loop {
        let (result, data) = contents.read(Vec::with_capacity(64 * 1024)).await;
        size += data.len();
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    let end = match trailers.await {
        Ok(None) => "end".to_owned(),
        Ok(Some(trailers)) => show(&trailers.copy_all()),
        Err(error) => describe(&error),
    };
    format!("status {status} [{headers}] {size} bytes, then {end}")
}

fn show(fields: &[(String, Vec<u8>)]) -> String {
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)));
    fields.collect::<Vec<_>>().join(" ")
}

fn describe(error: &ErrorCode) -> String {
    format!("error {error:?}")
}

/// All the ways of setting a header.
fn header(name: &str) -> String {
    let outcome = |result: Result<(), HeaderError>| match result {
        Ok(()) => "taken".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let value = b"mine".to_vec();
    let appended = Fields::new().append(name, &value);
    let set = Fields::new().set(name, std::slice::from_ref(&value));
    let listed = Fields::from_list(&[(name.to_owned(), value.clone())]).map(drop);
    let cloned = Fields::new().clone().append(name, &value);
    let outcomes = [appended, set, listed, cloned].map(outcome);
    format!("{name}: {}", outcomes.join(" "))
}

/// A request with a trailer.
async fn trailer(arguments: &[&str]) -> String {
    let head = Head::post(arguments);
    let (name, value) = text(arguments, 3).split_once('=').unwrap_or_default();
    let fields = Fields::new();
    if let Err(error) = fields.append(name, value.as_bytes()) {
        return format!("trailer {error:?}");
    }
    let (writer, trailers) = wit_future::new(|| Ok(None));
    let request = match head.request(None, trailers) {
        Ok(request) => request,
        Err(error) => return error,
    };
    match join(client::send(request), end(writer, Some(fields)))
        .await
        .0
    {
        Ok(response) => read(response).await,
        Err(error) => describe(&error),
    }
}

/// Takes the body of one answer, trailers and all, for that of the next request.
async fn pass_on(arguments: &[&str]) -> String {
    let first = Head::post(arguments);
    let second = Head {
        path: text(arguments, 3),
        ..Head::post(arguments)
    };
    let (request, end) = match first.empty() {
        Ok(request) => request,
        Err(error) => return error,
    };
    let response = match join(client::send(request), end).await.0 {
        Ok(response) => response,
        Err(error) => return describe(&error),
    };
    let (_processed, reader) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Response::consume_body(response, reader);
    let request = match second.request(Some(contents), trailers) {
        Ok(request) => request,
        Err(error) => return error,
    };
    match client::send(request).await {
        Ok(response) => read(response).await,
        Err(error) => describe(&error),
    }
}

/// A request whose body never ends by itself.
async fn upload(arguments: &[&str]) -> String {
    let head = Head::post(arguments);
    let piece = vec![b'x'; number(arguments, 3)];
    let (contents, contents_reader) = wit_stream::new();
    let (_trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let request = match head.request(Some(contents_reader), trailers_reader) {
        Ok(request) => request,
        Err(error) => return error,
    };
    let (answer, taken) = join(client::send(request), write_all(contents, &piece)).await;
    let answer = match answer {
        Ok(response) => read(response).await,
        Err(error) => describe(&error),
    };
    format!("{answer} after {taken} bytes")
}

async fn write_all(mut contents: StreamWriter<u8>, piece: &[u8]) -> usize {
    let mut taken = 0;
    loop {
        let rest = contents.write_all(piece.to_vec()).await;
        taken += piece.len() - rest.len();
        if !rest.is_empty() {
            return taken;
        }
    }
}

/// A request with one empty message of gRPC.
async fn call(arguments: &[&str]) -> String {
    let head = Head::post(arguments);
    let (mut contents, contents_reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let request = match head.request(Some(contents_reader), trailers_reader) {
        Ok(request) => request,
        Err(error) => return error,
    };
    let body = async move {
        contents.write_all(vec![0; 5]).await;
        drop(contents);
        end(trailers, None).await;
    };
    match join(client::send(request), body).await.0 {
        Ok(response) => read(response).await,
        Err(error) => describe(&error),
    }
}

/// Many requests at once; how many of them had which outcome.
async fn many(arguments: &[&str]) -> String {
    let head = Head::post(arguments);
    let requests = (0..number(arguments, 3)).map(|_: u32| async {
        let (request, end) = match head.empty() {
            Ok(request) => request,
            Err(error) => return error,
        };
        match join(client::send(request), end).await.0 {
            Ok(response) => format!("status {}", response.get_status_code()),
            Err(error) => describe(&error),
        }
    });
    let mut outcomes = BTreeMap::<String, u32>::new();
    for outcome in join_all(requests).await {
        *outcomes.entry(outcome).or_default() += 1;
    }
    format!("{outcomes:?}")
}

/// Spins when the answer comes and there is a text of this size in it.
async fn spin_at_answer(arguments: &[&str]) -> String {
    let (request, end) = match Head::post(arguments).empty() {
        Ok(request) => request,
        Err(error) => return error,
    };
    let mut sending = pin!(join(client::send(request), end));
    let begun = (&mut sending).now_or_never();
    computing::arm(number(arguments, 3));
    let answer = match begun {
        Some((answer, ())) => answer,
        None => sending.await.0,
    };
    match answer {
        Ok(response) => format!("status {}", response.get_status_code()),
        Err(error) => describe(&error),
    }
}
