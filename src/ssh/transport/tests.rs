use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);
/// How long to wait for what must not come.
const SHORT: Duration = Duration::from_millis(20);

/// A transport with small buffers and the plain stream at its other end.
async fn pair(write_stall: Duration) -> (Transport, Arc<TransportControl>, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(1).unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    let (client, accepted) = tokio::join!(
        client.connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    let control = Arc::new(TransportControl::default());
    let transport = Transport::new(accepted.unwrap().0, Arc::clone(&control), write_stall);
    (transport, control, client.unwrap())
}

#[tokio::test]
async fn bytes_are_counted_and_the_version_is_read() {
    let (mut transport, control, mut client) = pair(SOON).await;
    client.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    let mut buf = [0; 5];
    transport.read_exact(&mut buf).await.unwrap();
    assert_eq!(control.client_version().as_str(), "");
    transport.read_exact(&mut buf).await.unwrap();
    transport.read_u8().await.unwrap();
    transport.write_all(b"hi").await.unwrap();
    assert_eq!((control.received(), control.sent()), (11, 2));
    assert_eq!(control.client_version().as_str(), "SSH-2.0-x");
}

#[tokio::test]
async fn nothing_is_read_while_input_is_held() {
    let (mut transport, control, mut client) = pair(SOON).await;
    client.write_all(b"ab").await.unwrap();
    control.hold_input(2);
    control.hold_input(1);
    {
        let mut reading = pin!(transport.read_u8());
        assert!(timeout(SHORT, &mut reading).await.is_err());
        control.release_input(2);
        assert!(timeout(SHORT, &mut reading).await.is_err());
        control.release_input(1);
        assert_eq!(timeout(SOON, reading).await.unwrap().unwrap(), b'a');
    }
    // A waiting write resumes reading, unless too much is held.
    control.hold_input(crate::ssh::control::MAX_HELD - 1);
    let waiting = control.begin_write_wait();
    assert_eq!(
        timeout(SOON, transport.read_u8()).await.unwrap().unwrap(),
        b'b'
    );
    client.write_all(b"c").await.unwrap();
    control.hold_input(1);
    assert!(timeout(SHORT, transport.read_u8()).await.is_err());
    control.release_input(1);
    drop(waiting);
    assert!(timeout(SHORT, transport.read_u8()).await.is_err());
}

#[tokio::test]
async fn who_hangs_up_is_noticed_behind_what_is_not_read() {
    let (mut transport, control, mut client) = pair(SOON).await;
    client.write_all(b"unread").await.unwrap();
    control.hold_input(1);
    drop(client);
    let error = timeout(SOON, transport.read_u8()).await.unwrap();
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_cut_ends_a_read_that_is_held_back() {
    let (mut transport, control, _client) = pair(SOON).await;
    control.hold_input(1);
    let reading = tokio::spawn(async move { transport.read_u8().await });
    tokio::task::yield_now().await;
    control.close(CloseReason::Stop);
    assert!(timeout(SOON, reading).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_cut_ends_a_pending_read() {
    let (mut transport, control, _client) = pair(SOON).await;
    let reading = tokio::spawn(async move { transport.read_u8().await });
    tokio::task::yield_now().await;
    control.close(CloseReason::LoginGrace);
    control.close(CloseReason::Stop);
    let error = timeout(SOON, reading).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    assert_eq!(control.close_reason(), Some(CloseReason::LoginGrace));
}

#[tokio::test]
async fn a_cut_ends_a_write_that_nobody_takes() {
    let (mut transport, control, _client) = pair(Duration::from_secs(600)).await;
    let writing = tokio::spawn(async move { transport.write_all(&vec![0; 8 << 20]).await });
    timeout(SOON, async {
        // Some bytes fit into the buffers of the system; then the write waits.
        let mut before = u64::MAX;
        while control.sent() == 0 || control.sent() != before {
            before = control.sent();
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    control.close(CloseReason::Session);
    let error = timeout(SOON, writing).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn somebody_who_reads_nothing_is_cut() {
    let (mut transport, control, _client) = pair(Duration::from_millis(50)).await;
    let error = timeout(SOON, transport.write_all(&vec![0; 8 << 20]))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(control.close_reason(), Some(CloseReason::WriteStall));
    // Nothing can be done with it any more, in either direction.
    assert!(transport.read_u8().await.is_err());
}

#[tokio::test]
async fn somebody_who_reads_slowly_is_not_cut() {
    let (mut transport, control, mut client) = pair(Duration::from_secs(600)).await;
    let total = 1 << 20;
    let reading = tokio::spawn(async move {
        let mut buf = vec![0; total];
        client.read_exact(&mut buf).await
    });
    timeout(SOON, transport.write_all(&vec![0; total]))
        .await
        .unwrap()
        .unwrap();
    timeout(SOON, reading).await.unwrap().unwrap().unwrap();
    assert_eq!((control.close_reason(), control.sent()), (None, 1 << 20));
}
