//! Servers that speak bytes, so that they can break HTTP/2's rules.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
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

    /// `attack` writes to connections on which a request has begun. Everything
    /// that comes in is read and counted, until it has written its last.
    pub(crate) async fn after_request<F>(
        attack: impl Fn(OwnedWriteHalf) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let requests: Arc<AtomicUsize> = Arc::default();
        let counter = Arc::clone(&requests);
        let mut server = Self::start(move |socket| {
            let (mut reader, mut writer) = socket.into_split();
            let (counter, attack) = (Arc::clone(&counter), attack.clone());
            async move {
                let _ = writer.write_all(&frame(SETTINGS, 0, 0, &[])).await;
                if !next_request(&mut reader, true).await {
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                let counting = async {
                    while next_request(&mut reader, false).await {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                };
                futures::join!(counting, attack(writer));
            }
        })
        .await;
        server.requests = requests;
        server
    }

    /// `attack` is all that follows a request; then the connection stays open.
    pub(crate) async fn sends(attack: Vec<Vec<u8>>) -> Self {
        Self::after_request(move |mut writer| {
            let attack = attack.clone();
            async move {
                for piece in attack {
                    if writer.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                std::future::pending().await
            }
        })
        .await
    }

    /// Sends the same for as long as it is let.
    pub(crate) async fn floods(first: Vec<u8>, piece: Vec<u8>) -> Self {
        Self::after_request(move |mut writer| {
            let (first, piece) = (first.clone(), piece.clone());
            async move {
                if writer.write_all(&first).await.is_ok() {
                    while writer.write_all(&piece).await.is_ok() {}
                }
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

    /// Requests that have begun, on whatever connection.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Reads on until a request begins; false at the end. The first one comes after
/// the client's greeting.
async fn next_request(reader: &mut OwnedReadHalf, first: bool) -> bool {
    async {
        if first {
            reader.read_exact(&mut [0; 24]).await?;
        }
        loop {
            let mut head = [0; 9];
            reader.read_exact(&mut head).await?;
            let [a, b, c, kind, ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]);
            reader.read_exact(&mut vec![0; length as usize]).await?;
            if kind == HEADERS {
                return std::io::Result::Ok(());
            }
        }
    }
    .await
    .is_ok()
}
