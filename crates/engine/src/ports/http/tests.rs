use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use super::gate::is_public;
use super::*;

const SHORT: Duration = Duration::from_secs(5);

fn http(allowed: &[&str]) -> Http {
    Http::new(allowed.iter().map(|net| net.parse().unwrap()).collect()).unwrap()
}

/// Answers each connection with `answer` after its request has come; the requests can be received. `answer` empty: says nothing.
fn server(answer: &'static str, filler: usize) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            requests.send(read_request(&mut stream)).ok();
            if answer.is_empty() {
                std::thread::sleep(SHORT);
            }
            stream.write_all(answer.as_bytes()).ok();
            // The client hangs up in the middle of a body that is too long.
            (0..filler).try_for_each(|_| stream.write_all(&[b'x'; 1024])).ok();
        }
    });
    (address, received)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    let ended = |text: &str| text.ends_with("the body") || text.ends_with("the+body") || (text.starts_with("GET") && text.ends_with("\r\n\r\n"));
    while !ended(&text) {
        let n = stream.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    text
}

async fn post(http: &Http, url: &str, timeout: Duration) -> Result<Answer, HttpFailure> {
    http.post(&Url::parse(url).unwrap(), &[("x-test", "1".to_owned())], b"the body".to_vec(), timeout).await
}

#[test]
fn public_addresses() {
    for ip in "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1".split_whitespace() {
        assert!(is_public(ip.parse().unwrap()), "{ip}");
    }
    for ip in ["2606:4700:4700::1111", "2a00:1450:4001::1", "2001:200::1", "2003::1"] {
        assert!(is_public(ip.parse().unwrap()), "{ip}");
    }
    for ip in "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 \
            172.31.255.255 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7 \
            203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"
        .split_whitespace()
    {
        assert!(!is_public(ip.parse().unwrap()), "{ip}");
    }
    for ip in ":: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 ::8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 \
            2001:2::1 2001:db8::1 2002:7f00:1::1 3fff::1 5f00::1 fc00::1 fdff::1 fe80::1 febf::1 fec0::1 ff02::1"
        .split_whitespace()
    {
        assert!(!is_public(ip.parse().unwrap()), "{ip}");
    }
}

#[tokio::test]
async fn targets_that_are_not_public_are_refused_however_they_are_spelt() {
    let http = http(&[]);
    for host in "127.0.0.1 127.1 2130706433 0x7f.1 0x7f000001 017700000001 0177.0.0.1 127.0.0.1. 0 0.0.0.0 10.0.0.1 \
            169.254.169.254 2852039166 192.168.0.1 172.16.0.1 100.64.0.1 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] \
            [::127.0.0.1] [64:ff9b::127.0.0.1] [2002:7f00:1::] [fc00::1] [fd00:ec2::254] [fe80::1] １２７.0.0.1 127。0。0。1 \
            %31%32%37.0.0.1 localhost LOCALHOST"
        .split_whitespace()
    {
        for scheme in ["https", "http"] {
            let answer = post(&http, &format!("{scheme}://{host}:9/"), SHORT).await;
            assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{scheme} {host}: {answer:?}");
        }
    }
    for url in ["http://8.8.8.8/", "http://example.com/", "ftp://8.8.8.8/", "file:///etc/passwd", "https://user@8.8.8.8/", "https://:pw@8.8.8.8/"] {
        let answer = post(&http, url, SHORT).await;
        assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{url}: {answer:?}");
    }
}

#[tokio::test]
async fn an_allowed_network_is_reached_and_no_other() {
    let (address, requests) = server("HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno", 0);
    let allowed = http(&["127.0.0.1/32"]);
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let answer = post(&allowed, &format!("http://{host}:{}/hook?x=1", address.port()), SHORT).await.unwrap();
        assert_eq!((answer.status, answer.retry_after, answer.body.as_slice()), (429, Some(Duration::from_secs(7)), b"no".as_slice()));
        let request = requests.recv().unwrap();
        assert!(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n") && request.ends_with("\r\n\r\nthe body"), "{request}");
        assert!(request.contains("x-test: 1\r\n") && request.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{request}");
    }
    let answer = post(&allowed, &format!("http://127.0.0.2:{}/", address.port()), SHORT).await;
    assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{answer:?}");
    let answer = post(&http(&["10.0.0.0/8"]), &format!("http://localhost:{}/", address.port()), SHORT).await;
    assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{answer:?}");
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (address, requests) = server("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 0);
    let answer = post(&http(&["127.0.0.1/32"]), &format!("http://{address}/"), SHORT).await.unwrap();
    assert_eq!(answer.status, 302);
    assert!(requests.recv().is_ok() && requests.try_recv().is_err());
}

#[tokio::test]
async fn a_long_body_is_cut_off() {
    let (address, _requests) = server("HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n", 8 * 1024);
    let answer = post(&http(&["127.0.0.1/32"]), &format!("http://{address}/"), SHORT).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, BODY_LIMIT));
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let http = http(&["127.0.0.1/32"]);
    let (address, _requests) = server("", 0);
    let answer = post(&http, &format!("http://{address}/secret-path"), Duration::from_millis(200)).await;
    assert_eq!(answer.unwrap_err(), HttpFailure::Unreachable("no answer within 200 ms".to_owned()));

    // The status came, the body never does: the status counts.
    let (address, _requests) = server("HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nabc", 0);
    let answer = post(&http, &format!("http://{address}/"), Duration::from_secs(1)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (503, b"abc".as_slice()));
}

#[tokio::test]
async fn an_answer_that_trickles_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").ok();
            // Never quiet for long, and never done.
            while stream.write_all(b"z").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    let answer = post(&http(&["127.0.0.1/32"]), &format!("http://{address}/"), Duration::from_millis(300)).await;
    assert_eq!(answer.unwrap_err(), HttpFailure::Unreachable("no answer within 300 ms".to_owned()));
}

#[tokio::test]
async fn a_closed_port_and_a_bad_header_differ() {
    let http = http(&["127.0.0.1/32"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let answer = post(&http, &format!("http://127.0.0.1:{port}/secret-path"), SHORT).await.unwrap_err();
    assert!(matches!(&answer, HttpFailure::Unreachable(text) if !text.contains("secret-path")), "{answer}");
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let answer = http.post(&url, &[("x-test", "a\r\nb: c".to_owned())], Vec::new(), SHORT).await.unwrap_err();
    assert!(matches!(answer, HttpFailure::Refused(_)), "{answer}");
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date() {
    let read = |value: &'static str, date: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        date.map(|date| headers.insert(DATE, date.parse().unwrap()));
        retry_after(&headers)
    };
    let noon = Some("Wed, 21 Oct 2015 12:00:00 GMT");
    assert_eq!(read("120", None), Some(Duration::from_mins(2)));
    assert_eq!(read("Wed, 21 Oct 2015 12:01:30 GMT", noon), Some(Duration::from_secs(90)));
    assert_eq!(read("Wed, 21 Oct 2015 11:00:00 GMT", noon), Some(Duration::ZERO));
    for wrong in ["Wed, 21 Oct 2015 12:01:30 GMT", "-1", "soon", ""] {
        assert_eq!(read(wrong, None), None, "{wrong}");
    }
}

async fn get(http: &Http, address: SocketAddr) -> Result<Whole, HttpFailure> {
    http.get(&Url::parse(&format!("http://{address}/there")).unwrap(), &[("x-test", "1".to_owned())]).await
}

#[tokio::test]
async fn an_answer_is_read_as_a_whole_or_not_at_all() {
    let http = http(&["127.0.0.1/32"]);
    let (address, _requests) = server("HTTP/1.1 418 Whatever <b>\r\nContent-Length: 2\r\n\r\nno", 0);
    let answer = get(&http, address).await.unwrap();
    assert_eq!((answer.status, answer.reason(), answer.body.as_slice(), answer.is_success()), (418, "I'm a teapot", b"no".as_slice(), false));

    for (answer, filler, detail) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n", 1_024, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\nx", 1_024, "longer than 1048576 bytes"),
        ("HTTP/1.1 200 OK\r\n\r\n", 8 * 1_024, "longer than 1048576 bytes"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 0, "unreachable"),
        ("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 0, "a redirect (302)"),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", 0, "a redirect (304)"),
    ] {
        let (address, requests) = server(answer, filler);
        let got = get(&http, address).await.map(|whole| whole.body.len()).map_err(|e| e.to_string());
        if detail.is_empty() {
            assert_eq!(got, Ok(WHOLE_LIMIT));
        } else {
            assert!(got.as_ref().is_err_and(|text| text.contains(detail)), "{answer}: {got:?}");
        }
        assert!(requests.recv().is_ok() && requests.try_recv().is_err(), "one request: {answer}");
    }
}

#[tokio::test]
async fn the_deadline_covers_the_body_of_a_whole() {
    let http = http(&["127.0.0.1/32"]);
    // The listener accepts, and nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/secret-path", listener.local_addr().unwrap())).unwrap();
    let request = http.client_for(&url).unwrap().get(url);
    let answer = whole(request, Duration::from_millis(200)).await;
    assert_eq!(answer.unwrap_err(), HttpFailure::Unreachable("no answer within 200 ms".to_owned()));
}

#[tokio::test]
async fn fields_of_a_form_arrive_as_they_are() {
    let http = http(&["127.0.0.1/32"]);
    let (address, requests) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    let url = Url::parse(&format!("http://{address}/token")).unwrap();
    http.post_form(&url, &[("accept", "application/json".to_owned())], &[("code", "x&redirect_uri=http://e"), ("last", "the body")]).await.unwrap();
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n") && request.contains("accept: application/json\r\n"), "{request}");
    assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ncode=x%26redirect_uri%3Dhttp%3A%2F%2Fe&last=the+body"), "{request}");
}
