//! HTTP load that costs little: requests are made before the clock starts and only their numbers are written anew; answers are read by
//! their length. The sender shares the machine with what is measured, so what it spends is lost there.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Texts that differ in numbers of a fixed width only.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where each event's numbers stand: that of the event, that of its user.
    places: Vec<(usize, usize)>,
}

/// Stands where an event's number goes.
pub(crate) const NUMBER: &str = "############";
/// Stands where its user's number goes.
pub(crate) const USER: &str = "@@@@";
/// How many users there are.
const USERS: usize = 5_000;

impl Template {
    /// A text with [`NUMBER`] and [`USER`] once an event, in any order.
    pub(crate) fn new(text: String) -> Self {
        let found = |mark: &str| text.match_indices(mark).map(|(at, _)| at).collect::<Vec<_>>();
        let (numbers, users) = (found(NUMBER), found(USER));
        assert_eq!(numbers.len(), users.len(), "each event has both");
        Self { places: numbers.into_iter().zip(users).collect(), bytes: text.into_bytes() }
    }

    /// The text of the events from `first` on.
    pub(crate) fn fill(&mut self, first: usize) -> &[u8] {
        for (n, (number, user)) in (first..).zip(&self.places) {
            digits(&mut self.bytes[*number..*number + NUMBER.len()], n);
            digits(&mut self.bytes[*user..*user + USER.len()], n % USERS);
        }
        &self.bytes
    }

    /// Events in it.
    pub(crate) fn events(&self) -> usize {
        self.places.len()
    }
}

fn digits(place: &mut [u8], mut n: usize) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, answer: Vec::with_capacity(4_096) }
    }

    /// Sends a request and waits for the whole answer, which must be a 200.
    pub(crate) async fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect("the request goes out");
        self.answer.clear();
        while !whole(&self.answer) {
            let read = self.stream.read_buf(&mut self.answer).await.expect("an answer");
            assert!(read > 0, "the connection stays open");
        }
        assert!(self.answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.answer));
    }
}

/// Whether an answer is there with all of its body.
fn whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&answer[..head]).expect("a head of text");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a length"))
    });
    answer.len() >= head + 4 + length.expect("an answer has a length")
}
