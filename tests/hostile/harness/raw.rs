//! Servers that speak bytes, so that they can break HTTP/2's rules.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Frame types of RFC 9113, section 6.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `:status: 200` in HPACK.
pub(crate) const STATUS_200: &[u8] = &[0x88];

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header in HPACK, spelled out.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let mut encoded = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            encoded.push(u8::try_from(length).unwrap());
        } else {
            // RFC 7541, 5.1.
            encoded.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                encoded.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            encoded.push(u8::try_from(rest).unwrap());
        }
        encoded.extend_from_slice(text.as_bytes());
    }
    encoded
}

/// A server that does what it likes with each connection.
pub(crate) struct Raw {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Raw {
    /// `serve` gets connections as they come.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(socket));
            }
        });
        Self {
            address,
            requests: Arc::default(),
        }
    }

    /// `attack` gets connections on which a request has begun, and its stream.
    pub(crate) async fn after_request<F>(
        attack: impl Fn(TcpStream, u32) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let requests: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&requests);
        let mut server = Self::start(move |mut socket| {
            let counted = Arc::clone(&counted);
            let attack = attack.clone();
            async move {
                let hello = frame(SETTINGS, 0, 0, &[]);
                if socket.write_all(&hello).await.is_err() {
                    return;
                }
                if let Some(stream) = first_request(&mut socket).await {
                    counted.fetch_add(1, Ordering::Relaxed);
                    attack(socket, stream).await;
                }
            }
        })
        .await;
        server.requests = requests;
        server
    }

    /// `attack` is all that follows a request; then the connection stays open.
    pub(crate) async fn sends(attack: Vec<Vec<u8>>) -> Self {
        Self::after_request(move |mut socket, _| {
            let attack = attack.clone();
            async move {
                for piece in attack {
                    if socket.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                drain(&mut socket).await;
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Connections on which a request has begun.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Reads until the other side has closed.
pub(crate) async fn drain(socket: &mut TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while matches!(socket.read(&mut buffer).await, Ok(1..)) {}
}

/// The stream of the first request on a connection.
async fn first_request(socket: &mut TcpStream) -> Option<u32> {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.ok()?;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        socket.read_exact(&mut payload).await.ok()?;
        if kind == HEADERS {
            return Some(u32::from_be_bytes(stream));
        }
    }
}
