//! What a client can do on a connection that is in.

use russh::ChannelOpenFailure;

use super::*;
use crate::text::Text;

fn rejected<T: std::fmt::Debug>(opened: Result<T, russh::Error>) -> ChannelOpenFailure {
    match opened {
        Err(russh::Error::ChannelOpenFailure(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn granted_requests_arrive_in_order() {
    let running = start(Settings::default()).await;
    let client = running.guest().await;
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.window_change(1, 1, 0, 0).await.unwrap();
    channel.set_env(true, "LD_PRELOAD", "x").await.unwrap();
    channel.set_env(true, "LANG", "C").await.unwrap();
    channel
        .request_pty(true, "xterm\u{7}", 80, 24, 0, 0, &[])
        .await
        .unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    channel
        .request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0)
        .await
        .unwrap();
    channel.agent_forward(true).await.unwrap();
    channel.window_change(100, 50, 0, 0).await.unwrap();
    channel.exec(true, "seen").await.unwrap();
    let answer = answer(channel).await;
    let expected = [
        Input::Env {
            name: "LANG".into(),
            value: "C".into(),
        },
        Input::Pty {
            term: Text::stored_line("xterm?"),
            cols: 80,
            rows: 24,
        },
        Input::Resize {
            cols: 100,
            rows: 50,
        },
    ];
    assert_eq!(answer.out, format!("{expected:?}"));
    assert_eq!(answer.failures, 4, "LD_PRELOAD, sftp, x11, agent");
    assert_eq!(answer.status, Some(0));
}

#[tokio::test]
async fn one_write_is_one_packet() {
    let running = start(Settings::default()).await;
    let answer = exec(&running.guest().await, "big").await;
    assert_eq!((answer.out.len(), answer.packets), (8 * 1024, 1));
    assert_eq!((answer.err.as_str(), answer.status), ("no", Some(3)));
}

#[tokio::test]
async fn a_session_that_returns_closes_its_channel() {
    let running = start(Settings::default()).await;
    let answer = exec(&running.guest().await, "return").await;
    assert_eq!(answer, Answer::default());
}

#[tokio::test]
async fn a_session_can_close_its_connection() {
    let running = start(Settings::default()).await;
    let client = running.guest().await;
    assert_eq!(exec(&client, "cut").await, Answer::default());
    running.open(0).await;
}

#[tokio::test]
async fn channels_are_limited_and_reusable() {
    let running = start(Settings {
        max_channels: 2,
        ..Settings::default()
    })
    .await;
    let client = running.guest().await;
    let first = client.channel_open_session().await.unwrap();
    let second = client.channel_open_session().await.unwrap();
    first.request_shell(true).await.unwrap();
    second.request_shell(true).await.unwrap();
    let third = soon("a refusal", client.channel_open_session()).await;
    assert_eq!(rejected(third), ChannelOpenFailure::ResourceShortage);
    first.eof().await.unwrap();
    assert_eq!(answer(first).await.status, Some(0));
    soon("a free channel", async {
        while client.channel_open_session().await.is_err() {
            a_moment().await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_forwarded() {
    let running = start(Settings::default()).await;
    let client = running.guest().await;
    let prohibited = ChannelOpenFailure::AdministrativelyProhibited;
    let tcp = client.channel_open_direct_tcpip("169.254.169.254", 80, "127.0.0.1", 1);
    assert_eq!(rejected(soon("tcp", tcp).await), prohibited);
    let unix = client.channel_open_direct_streamlocal("/run/x");
    assert_eq!(rejected(soon("unix", unix).await), prohibited);
    let x11 = client.channel_open_x11("127.0.0.1", 1);
    assert_eq!(rejected(soon("x11", x11).await), prohibited);
    assert!(soon("listen", client.tcpip_forward("", 0)).await.is_err());
    assert!(
        soon("listen", client.streamlocal_forward("/x"))
            .await
            .is_err()
    );
    // The connection is as good as before.
    assert!(exec(&client, "whoami").await.out.starts_with("ann"));
}
