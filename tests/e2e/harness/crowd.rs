//! A fake provider for thousands of connections: HTTP/1.1 without TLS on one thread, with one large
//! response for all.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

use super::holds;

/// A listening fake provider; it stops with the test process.
pub struct Crowd {
    address: SocketAddr,
    sent: Arc<AtomicUsize>,
}

/// The contents of its responses, and of those of [`super::h2_upstream`].
pub static ZEROES: [u8; 16 * 1024] = [0; 16 * 1024];

impl Crowd {
    /// Responds to each request, which must have no body, with this many zeroes.
    pub fn answering(size: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(serve(socket, size, Arc::clone(&counted)));
                }
            });
        });
        Self { address, sent }
    }

    /// Its value for `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many bytes of bodies it could write, in all.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

async fn serve(mut socket: TcpStream, size: usize, sent: Arc<AtomicUsize>) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    loop {
        let mut asked = Vec::new();
        while !holds(&asked, "\r\n\r\n") {
            match socket.read_buf(&mut asked).await {
                Ok(got) if got > 0 => {}
                _ => return,
            }
        }
        if socket.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        let mut left = size;
        while left > 0 {
            let Ok(got) = socket.write(&ZEROES[..left.min(ZEROES.len())]).await else {
                return;
            };
            sent.fetch_add(got, Ordering::SeqCst);
            left -= got;
        }
    }
}
