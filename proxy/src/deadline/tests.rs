use std::cell::Cell;

use keyside_config::{Settings, Sources};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::*;
use crate::{activity::InFlightGuard, drain::Drain};

fn limits() -> Deadlines {
    let settings = Settings::load(&Sources::default()).unwrap().settings;
    settings.proxy.deadlines
}

fn permit() -> OwnedSemaphorePermit {
    let limit = Arc::new(Semaphore::new(1));
    limit.try_acquire_owned().unwrap()
}

fn connection() -> (DuplexStream, Arc<Activity>, DeadlineStream<DuplexStream>) {
    let (client, server) = duplex(16);
    let activity = Activity::new(Drain::default(), permit());
    let socket = DeadlineStream::new(server, activity.clone(), &limits(), Framing::new(1024));
    (client, activity, socket)
}

async fn closed_after(socket: &mut DeadlineStream<DuplexStream>, since: Instant) -> u64 {
    let mut byte = [0; 1];
    loop {
        match socket.read_exact(&mut byte).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return since.elapsed().as_secs();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_closed_at_the_header_deadline() {
    let (_client, _, mut socket) = connection();
    assert_eq!(closed_after(&mut socket, Instant::now()).await, 10);
}

#[tokio::test(start_paused = true)]
async fn dripping_bytes_do_not_extend_the_header_deadline() {
    let (mut client, _, mut socket) = connection();
    let start = Instant::now();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            if client.write_all(b"a").await.is_err() {
                return;
            }
        }
    });
    assert_eq!(closed_after(&mut socket, start).await, 10);
}

#[tokio::test(start_paused = true)]
async fn between_requests_the_idle_deadline_applies_until_the_first_byte_of_a_head() {
    let (mut client, activity, mut socket) = connection();
    drop(activity.begin(false));
    let start = Instant::now();
    assert_eq!(closed_after(&mut socket, start).await, 75);

    drop(activity.begin(false));
    let mut byte = [0; 1];
    let idle = tokio::time::timeout(Duration::from_secs(50), socket.read_exact(&mut byte));
    assert!(idle.await.is_err());
    let start = Instant::now();
    client.write_all(b"G").await.unwrap();
    assert_eq!(closed_after(&mut socket, start).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_response_in_flight_has_no_read_deadline() {
    let (_client, activity, mut socket) = connection();
    let _in_flight = activity.begin(false);
    let mut byte = [0; 1];
    let read = tokio::time::timeout(Duration::from_secs(3600), socket.read_exact(&mut byte));
    assert!(read.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_closed() {
    let (_client, activity, mut socket) = connection();
    let _in_flight = activity.begin(false);
    let start = Instant::now();
    let error = socket.write_all(&[0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 60);
}

thread_local! {
    /// The unacknowledged count that the fake kernel reports. Each test runs on its own thread.
    static UNACKNOWLEDGED: Cell<usize> = const { Cell::new(1_000) };
}

/// A client with a request in flight.
fn watched() -> (DuplexStream, InFlightGuard, DeadlineStream<DuplexStream>) {
    let (client, activity, socket) = connection();
    let socket = socket.with_unacknowledged(|_| Some(UNACKNOWLEDGED.get()));
    (client, activity.begin(false), socket)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_acknowledges_a_little_now_and_then_is_not_closed() {
    let (_client, _in_flight, mut socket) = watched();
    let start = Instant::now();
    let slow = async {
        for left in (0..10).rev() {
            tokio::time::sleep(Duration::from_secs(50)).await;
            UNACKNOWLEDGED.set(left);
        }
        start.elapsed().as_secs()
    };
    let writing = socket.write_all(&[0; 64]);
    tokio::pin!(writing);
    let acknowledged = tokio::select! {
        written = &mut writing => panic!("{written:?} after {:?}", start.elapsed()),
        acknowledged = slow => acknowledged,
    };
    assert_eq!(acknowledged, 500);
    // From here on it acknowledges nothing.
    assert_eq!(writing.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let closed = start.elapsed().as_secs();
    assert!((560..=575).contains(&closed), "{closed}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_acknowledges_nothing_is_closed_however_often_it_is_checked() {
    let (_client, _in_flight, mut socket) = watched();
    let start = Instant::now();
    let error = socket.write_all(&[0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_in_flight_until_its_response_is_written() {
    let (_client, server) = duplex(16);
    let drain = Drain::default();
    let activity = Activity::new(drain.clone(), permit());
    let mut socket = DeadlineStream::new(server, activity.clone(), &limits(), Framing::new(1024));
    drop(activity.begin(false));
    assert_eq!(drain.in_flight(), 1);
    socket.flush().await.unwrap();
    assert_eq!(drain.in_flight(), 0);

    let in_flight = activity.begin(false);
    drop((socket, activity));
    assert_eq!(drain.in_flight(), 1);
    drop(in_flight);
    assert_eq!(drain.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_counts_from_the_end_also_when_the_last_read_was_before_it() {
    let (_client, activity, mut socket) = connection();
    let in_flight = activity.begin(false);
    let mut byte = [0; 1];
    let read = tokio::spawn(async move {
        let error = socket.read_exact(&mut byte).await.unwrap_err();
        (error.kind(), Instant::now())
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    let end = Instant::now();
    drop(in_flight);
    let (kind, closed) = read.await.unwrap();
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert_eq!((closed - end).as_secs(), 75);
}

fn last_request() -> http::Request<()> {
    let request = http::Request::builder().header("Connection", "close");
    request.body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_end_is_hidden_while_the_last_request_is_answered() {
    let (client, activity, mut socket) = connection();
    let in_flight = activity.receive(&last_request());
    drop(client);
    let mut byte = [0; 1];
    let read = tokio::time::timeout(Duration::from_secs(3600), socket.read(&mut byte));
    assert!(read.await.is_err());
    drop(in_flight);
    socket.flush().await.unwrap();
    assert_eq!(socket.read(&mut byte).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_not_hidden_for_any_other_request() {
    let (client, activity, mut socket) = connection();
    let _in_flight = activity.begin(false);
    drop(client);
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
}
