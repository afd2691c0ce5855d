//! A TCP proxy that breaks connections on purpose, and a place that nobody reaches: what a network does, without one.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// What is written must have arrived before a reset, which throws away what has not.
const BEFORE_RESET: Duration = Duration::from_millis(3);

/// What happens to one connection. Bytes are those of the answers on it, heads included.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    None,
    /// It is reset after so many bytes.
    Reset(u64),
    /// It is ended, as if all was well, after so many bytes.
    Close(u64),
    /// Nothing more comes after so many bytes, and it stays open.
    Stall(u64),
    /// It is reset before a request was read.
    Refuse,
    /// Every part of the answers comes so much later.
    Delay(Duration),
    /// It is reset when it is so old, whatever it is doing.
    Lifetime(Duration),
}

/// A running proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    /// `http://127.0.0.1:PORT`.
    pub(crate) endpoint: String,
    struck: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// A proxy before `upstream` (`http://host:port`). `script` says what happens to the connection of that number.
    pub(crate) fn start(upstream: &str, script: impl Fn(u64) -> Trouble + Send + 'static) -> Self {
        let upstream: SocketAddr = upstream.trim_start_matches("http://").parse().expect("an address and a port");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be built");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("every socket can");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let struck = Arc::new(AtomicU64::new(0));
        let strikes = Arc::clone(&struck);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("it is bound");
            for number in 0.. {
                let Ok((client, _)) = listener.accept().await else { return };
                let (trouble, strikes) = (script(number), Arc::clone(&strikes));
                // A client may hang up at any time.
                tokio::spawn(async move { pass(client, upstream, trouble, &strikes).await.ok() });
            }
        });
        Self { endpoint, struck, runtime: Some(runtime) }
    }

    /// How often trouble came.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.runtime.take().expect("it is taken once").shutdown_background();
    }
}

async fn pass(mut client: TcpStream, upstream: SocketAddr, trouble: Trouble, struck: &AtomicU64) -> io::Result<()> {
    let strike = || struck.fetch_add(1, Ordering::Relaxed);
    if let Trouble::Refuse = trouble {
        strike();
        return client.set_zero_linger();
    }
    let mut server = TcpStream::connect(upstream).await?;
    let is_struck = {
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
        let age = async {
            match trouble {
                Trouble::Lifetime(age) => tokio::time::sleep(age).await,
                _ => pending().await,
            }
        };
        tokio::select! {
            gone = tokio::io::copy(&mut from_client, &mut to_server) => gone.map(|_| false)?,
            end = answers(&mut from_server, &mut to_client, trouble, &strike) => end?,
            () = age => { strike(); true }
        }
    };
    if is_struck && matches!(trouble, Trouble::Reset(_) | Trouble::Lifetime(_)) {
        tokio::time::sleep(BEFORE_RESET).await;
        client.set_zero_linger()?;
    }
    Ok(())
}

/// Passes answers on until trouble comes (true) or the server ends the connection (false).
async fn answers(
    server: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    trouble: Trouble,
    strike: &impl Fn() -> u64,
) -> io::Result<bool> {
    let mut left = match trouble {
        Trouble::Reset(bytes) | Trouble::Close(bytes) | Trouble::Stall(bytes) => bytes,
        _ => u64::MAX,
    };
    let mut buffer = vec![0; 16 << 10];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = server.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Ok(false);
        }
        if let Trouble::Delay(time) = trouble {
            tokio::time::sleep(time).await;
        }
        client.write_all(&buffer[..read]).await?;
        left -= read as u64;
    }
    strike();
    if let Trouble::Stall(_) = trouble {
        pending::<()>().await;
    }
    Ok(true)
}

/// An address that answers no attempt to connect, as behind a firewall: its queue of connections is full.
pub(crate) struct BlackHole {
    pub(crate) endpoint: String,
    _listener: TcpListener,
    _queued: Vec<std::net::TcpStream>,
    _runtime: Runtime,
}

impl BlackHole {
    pub(crate) fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
            socket.listen(1).expect("it is bound")
        });
        let address = listener.local_addr().expect("it is bound");
        let mut queued = Vec::new();
        while let Ok(connection) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queued.push(connection);
            assert!(queued.len() < 100, "the queue is never full");
        }
        Self { endpoint: format!("http://{address}"), _listener: listener, _queued: queued, _runtime: runtime }
    }
}
