//! What is refused, and in which words.

use proptest::prelude::*;

use super::*;

/// One line each: the key, the value, and how it reads, or a part of what the error says.
const VALUES: &str = "
listen | 127.0.0.1:0 | 127.0.0.1:0
listen | [::1]:22, 0.0.0.0:22 | [::1]:22,0.0.0.0:22
listen | 127.0.0.1:0,127.0.0.1:0 | 127.0.0.1:0,127.0.0.1:0
listen | localhost:22 | ! an address and a port
listen | a:1,127.0.0.1:1,b:2 | ! or 0.0.0.0:22; invalid: `a:1`, `b:2`
listen | 1,2,3,4,5,6,7,8,9,10,11,12 | ! , `10` and 2 more
listen | 127.0.0.1 | ! an address and a port
listen | 127.0.0.1:70000 | ! an address and a port
listen | , | ! from 1 to 16 addresses
data_dir | chat | chat
data_dir | ~/chat | ! the full path
access | open | open
access | allowlist | allowlist
access | closed | ! one of open, allowlist
operator_keys |  | (none)
operator_keys | SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA | SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA
operator_keys | ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice | SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA
operator_keys | ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice, SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA | SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA
operator_keys | SHA256:abc | ! item 1 (a fingerprint is SHA256: and 43 characters
operator_keys | SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA,me | ! item 2 (not a public key
operator_keys | SHA256:abc,SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA,me | ! item 1 (a fingerprint is SHA256: and 43 characters
operator_keys | SHA256:abc,SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA,me | ! , item 3 (not a public key
approval | true | true
approval | on | ! true or false
add_keys | members | members
add_keys | operators | operators
add_keys | nobody | ! one of members, operators
invite_expires | 7d | 7d
invite_expires | 48h | 2d
invite_expires | 2w | 14d
invite_expires | 1d12h30m | 1d12h30m
invite_expires | 1s | ! from 1m to 365d
invite_expires | 366d | ! from 1m to 365d
web_url |  | (none)
web_url | https://chat.example.com | https://chat.example.com
web_url | http://127.0.0.1:8080/join?a=b | http://127.0.0.1:8080/join?a=b
web_url | https://[2001:db8::1]:8443/ | https://[2001:db8::1]:8443/
web_url | https://[2001:db8::1]/ | https://[2001:db8::1]/
web_url | chat.example.com | ! a URL, such as
web_url | ftp://chat.example.com | ! a URL, such as
web_url | https:///join | ! a URL, such as
web_url | https://chat.example.com:0/ | ! a URL, such as
web_url | https://chat.example.com:/ | ! a URL, such as
web_url | https://me@chat.example.com/ | ! a URL, such as
web_url | https://chat.example.com/#x | ! a URL, such as
web_url | https://chat.example.com/a b | ! a URL, such as
host_name | chat.example.com | chat.example.com
host_name | 2001:db8::1 | 2001:db8::1
host_name | chat.example.com:22 | ! without a port
host_name | a..b | ! without a port
host_name | -a | ! without a port
motd |  | (none)
motd | be kind | be kind
limits.connections | 1 | 1
limits.connections | 0 | ! from 1 to 1000000
limits.trusted_networks |  | (none)
limits.trusted_networks | 192.0.2.7/24, 2001:db8::/48,192.0.2.0/24 | 192.0.2.0/24,2001:db8::/48
limits.trusted_networks | ::ffff:192.0.2.7 | 192.0.2.7/32
limits.trusted_networks | 192.0.2.0/33 | ! addresses or networks, such as
limits.people_per_address | 10 | 10
limits.rooms_per_account | 20 | 20
limits.new_accounts_per_address | 20/h | 20/h
limits.new_accounts_per_address | 20 | ! a rate, such as
limits.rooms_per_account | 0 | ! from 1 to 1000000
limits.people_per_address | 0 | ! from 1 to 10000
limits.disk_reserve | 0 | 0
limits.disk_reserve | 512MiB | 512MiB
limits.disk_reserve | 2048KiB | 2MiB
limits.disk_reserve | 1024TiB | 1024TiB
limits.disk_reserve | 512MB | ! such as 512MiB or 2GiB, from 0 to 1024TiB
limits.disk_reserve | 512 | ! a size with a unit
limits.disk_reserve | 1.5GiB | ! a size with a unit
limits.disk_reserve | MiB | ! a size with a unit
limits.disk_reserve | 99999999999999TiB | ! from 0 to 1024TiB
history.max_size | 2GiB | 2GiB
history.max_size | 1023KiB | ! from 1MiB to 1024TiB
history.max_size | 0 | ! from 1MiB to 1024TiB
limits.connections | 1000001 | ! from 1 to 1000000
limits.connections | +5 | ! a whole number
limits.connections | 99999999999999999999999 | ! a whole number
limits.login_grace | 500ms | ! such as 90s, 10m, 1h30m, 7d or 2w, from 1s to 10m
limits.login_grace | 0s | ! from 1s to 10m
limits.login_grace | 60s | 1m
limits.login_grace | 90s | 1m30s
limits.login_grace | 1m30s | 1m30s
limits.login_grace | 10m1s | ! from 1s to 10m
limits.login_grace | 30s1m | ! with units
limits.login_grace | 20 | ! with units
limits.login_grace | s | ! with units
limits.login_grace | -1s | ! with units
limits.login_grace | 1 m | ! with units
limits.login_grace | 18446744073709551615h | ! with units
limits.stall | 1h | 1h
limits.message_burst | 0 | ! from 1 to 1000
limits.message_rate | 0 | 0
limits.message_rate | 30/min | 30/min
limits.message_rate | 100/h | 100/h
limits.message_rate | 2/day | ! such as 2/s
limits.message_rate | 0/s | ! such as 2/s
limits.message_rate | 2 | ! such as 2/s
limits.message_rate | 1001/s | ! such as 2/s
web.listen | 0.0.0.0:80 | 0.0.0.0:80
web.listen | 127.0.0.1:1,127.0.0.1:2 | ! one address and port
web.host_key |  | (none)
web.host_key | ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f root@chat | ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
web.host_key | SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA | ! this is a fingerprint
web.trusted_hops | 1 | 1
web.trusted_hops | 9 | ! from 0 to 8
web.burst | 0 | ! from 1 to 1000
web.rate | 10/min | 10/min
history.on_join | 0 | 0
history.on_join | 201 | ! from 0 to 200
log.format | json | json
log.format | xml | ! one of auto, text, json, journald
log.level | debug | debug
log.level | warn, russh=off,ssh_chat::ssh=trace | warn,russh=off,ssh_chat::ssh=trace
log.level | loud | ! (error, warn, info
log.level | info,a=loud,b=warn,c | ! such as info,russh=warn; invalid: `a=loud`, `c`
log.level | 3 | ! (error, warn, info
log.level | russh=warn | ! (error, warn, info
log.level | info,russh | ! (error, warn, info
log.level | info,debug | ! (error, warn, info
log.level | info,a=warn,a=info | ! (error, warn, info
log.level | info,a[{b}]=warn | ! (error, warn, info
log.level |  | ! (error, warn, info
shutdown.deadline | 10m | 10m
ssh.strict_crypto | true | true
ssh.strict_crypto | yes | ! true or false
aws.region | us-gov-west-1 | us-gov-west-1
aws.region | eu-central-1a- | ! such as eu-central-1
aws.region |  | ! such as eu-central-1
aws.host_key_secret | ssh-chat/host-key | ssh-chat/host-key
aws.host_key_secret | arn:aws:secretsmanager:eu-central-1:1:secret:a-b | arn:aws:secretsmanager:eu-central-1:1:secret:a-b
aws.host_key_secret |  | ! the name or ARN
aws.host_key_secret | a b | ! the name or ARN
aws.host_key_parameter | /ssh-chat/key | /ssh-chat/key
aws.table | ssh-chat.prod_1 | ssh-chat.prod_1
aws.table | ab | ! 3 to 255 letters
aws.table | arn:aws:dynamodb:x | ! a table name
aws.metrics | team-1 | team-1
aws.metrics | a chat | ! a name of 1 to 64
aws.history | forever | forever
aws.history | 90d | 90d
aws.history | 1h | ! forever, or a duration with units
aws.refresh | 10s | 10s
aws.refresh | 500ms | ! from 1s to 1h
aws.patience | 0s | ! from 1s to 1h
";

#[test]
fn values_are_read_or_refused() {
    for line in VALUES.lines().filter(|line| !line.is_empty()) {
        let [key, value, expected] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not a line of the table: {line}");
        };
        match (
            loaded(&[&format!("{key}={value}")]),
            expected.strip_prefix("! "),
        ) {
            (Ok(config), None) => assert_eq!(shown(&config, key), expected, "{line}"),
            (Err(errors), Some(hint)) => {
                let [problem] = errors.all() else {
                    panic!("{line}: {errors}");
                };
                let text = problem.to_string();
                let fact = format!("error: {key} can't be `{value}` (--set)\n hint: ");
                assert!(
                    text.starts_with(&fact) && text.contains(hint),
                    "{line}: {text}"
                );
            }
            (result, _) => panic!("{line}: {result:?}"),
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "\
listen = [\"127.0.0.1:22\", 22, \"[::1]:22\", true]
acces = \"open\"
history = 5
rooms = 9
tomorrow = 2026-11-22
motd = \"hi\"

[limits]
login_grace = 20
login_grase = \"20s\"
conections = 0x10
stall = [\"1s\"]
zzzzzz = 1

[limit]
rooms = 1
";
    let start = Start {
        flags: SettingFlags {
            data_dir: Some(String::new()),
            ..set(&[
                "log.levle=info",
                "nonsense",
                "data_dir=/d",
                "motd_file=/none",
            ])
        },
        env: &[
            "SSH_CHAT_LIMITS_CONNECTIONS=\x1b[2J",
            "SSH_CHAT_ACESS=allowlist",
            "SSH_CHAT_\x1b[2J=1",
        ],
        files: &[("/home/alice/.config/ssh-chat/config.toml", text)],
    };
    let errors = start.load().unwrap_err().to_string();
    let limits: Vec<_> = settings::all()
        .filter_map(|setting| setting.key.strip_prefix("limits."))
        .collect();
    let errors = errors
        .replace("/home/alice/.config/ssh-chat/", "")
        .replace(&limits.join(", "), "ALL_LIMITS");
    assert_eq!(
        errors,
        "\
error: listen can't be a list with items that aren't strings (item 2, item 4) (config.toml:1)
 hint: one value, such as listen = \"127.0.0.1:2222\"
error: unknown setting acces (config.toml:2)
 hint: did you mean access?
error: history is a section, not a setting (config.toml:3)
 hint: write [history] on a line of its own, with its settings below
error: unknown setting rooms (config.toml:4)
 hint: did you mean limits.rooms?
error: unknown setting tomorrow (config.toml:5)
 hint: valid names: listen, data_dir, access, operator_keys, approval, add_keys, invite_expires, web_url, \
host_name, motd, motd_file, [limits], [history], \
[log], [metrics], [shutdown], [ssh], [web], [aws]
error: unknown setting limits.login_grase (config.toml:10)
 hint: did you mean limits.login_grace?
error: unknown setting limits.conections (config.toml:11)
 hint: did you mean limits.connections?
error: limits.stall can't be a list (config.toml:12)
 hint: one value, such as stall = \"30s\"
error: unknown setting limits.zzzzzz (config.toml:13)
 hint: valid names: ALL_LIMITS
error: unknown setting limit (config.toml:15)
 hint: did you mean [limits]?
error: unknown setting (SSH_CHAT_\\u{1b}[2J)
 hint: variables that begin with SSH_CHAT_ are settings; `ssh-chat check-config` lists them. \
Unset this one, or rename it if it's for another program
error: unknown setting (SSH_CHAT_ACESS)
 hint: did you mean SSH_CHAT_ACCESS?
error: `nonsense` isn't KEY=VALUE (--set)
 hint: for example limits.connections=100
error: unknown setting log.levle (--set)
 hint: did you mean log.level?
error: data_dir is set twice (--data-dir and --set)
 hint: remove one of them
error: limits.connections can't be `\\u{1b}[2J` (SSH_CHAT_LIMITS_CONNECTIONS)
 hint: a whole number from 1 to 1000000
error: limits.login_grace can't be `20` (config.toml:9)
 hint: a duration with units, such as 90s, 10m, 1h30m, 7d or 2w, from 1s to 10m
error: motd and motd_file are both set (--set)
 hint: remove one of them"
    );
}

#[test]
fn a_size_is_for_a_database_and_not_for_a_table() {
    let errors = loaded(&["history.max_size=2GiB", "aws.table=chat"]).unwrap_err();
    assert_eq!(
        errors.to_string().trim_end(),
        "error: history.max_size and aws.table are both set (--set)\n hint: history.max_size is for \
         the database in the data folder; for a table, use aws.history"
    );
}

#[test]
fn what_is_wrong_is_repeated_but_never_a_private_key() {
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v1u2hX0OeC0ZqQvJ\n";
    for setting in ["operator_keys", "listen", "log.level", "limits.rooms"] {
        let errors = loaded(&[&format!("{setting}={key}")]).unwrap_err();
        let text = errors.to_string();
        assert!(text.contains("contains a private key"), "{text}");
        assert!(!text.contains("MC4C"), "{text}");
    }
}

/// Where listeners are in each other's way, one line each: the settings, and the problem.
const LISTENERS: &str = "
listen=127.0.0.1:1,127.0.0.1:1 | listen has 127.0.0.1:1 twice (--set)
listen=0.0.0.0:1,127.0.0.1:1 | listen has both 0.0.0.0:1 and 127.0.0.1:1, which conflict (--set)
listen=[::]:1,127.0.0.1:1 | listen has both [::]:1 and 127.0.0.1:1, which conflict (--set)
listen=0.0.0.0:1 metrics.listen=127.0.0.1:1 | metrics.listen (127.0.0.1:1) conflicts with listen (0.0.0.0:1) (--set)
metrics.listen=127.0.0.1:2222 | metrics.listen (127.0.0.1:2222) conflicts with listen (127.0.0.1:2222) (--set)
web.listen=[::]:1 metrics.listen=127.0.0.1:1 | web.listen ([::]:1) conflicts with metrics.listen (127.0.0.1:1) (--set)
listen=127.0.0.1:0,127.0.0.1:0 metrics.listen=127.0.0.1:0 web.listen=0.0.0.0:0 |
listen=127.0.0.1:1,[::1]:1 metrics.listen=127.0.0.1:2 web.listen=0.0.0.0:3 |
listen=127.0.0.1:8080 |
listen=nonsense metrics.listen=127.0.0.1:2222 | listen can't be `nonsense` (--set)
";

#[test]
fn listeners_in_each_other_s_way_are_found() {
    for line in LISTENERS.lines().filter(|line| !line.is_empty()) {
        let (pairs, expected) = line.split_once(" |").unwrap();
        let pairs: Vec<_> = pairs.split(' ').collect();
        let expected = expected.trim();
        match loaded(&pairs) {
            Ok(_) => assert_eq!(expected, "", "{line}"),
            Err(errors) => {
                let [problem] = errors.all() else {
                    panic!("{line}: {errors}");
                };
                let fact = format!("error: {expected}\n hint: ");
                assert!(problem.to_string().starts_with(&fact), "{line}: {problem}");
            }
        }
    }
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let errors = file("[limits]\nrooms = \n\nlisten = \"x")
        .unwrap_err()
        .to_string();
    for at in ["config.toml:2)", "config.toml:4)"] {
        assert!(errors.contains(at), "{errors}");
    }
}

proptest! {
    /// Whatever is in the file, the environment or the flags: no panic, and errors that are two
    /// harmless lines each.
    #[test]
    fn nothing_from_outside_breaks_it(text in "(?s).{0,80}", which in 0..settings::all().count()) {
        let setting = settings::all().nth(which).unwrap();
        let variable = format!("{}={text}", setting.variable());
        let unknown = format!("SSH_CHAT_{text}=1");
        let (pair, name) = (format!("{}={text}", setting.key), format!("{text}=1"));
        let lines = format!("{} = {}\n[limits]\n{text}", setting.key, text.escape_debug());
        for result in [
            file(&text),
            file(&lines),
            loaded(&[&pair]),
            loaded(&[&name, &text]),
            Start { env: &[&variable], ..Start::default() }.load(),
            Start { env: &[&unknown], ..Start::default() }.load(),
        ] {
            let Err(errors) = result else { continue };
            let shown = errors.to_string();
            prop_assert_eq!(shown.lines().count(), errors.all().len() * 2, "{}", shown);
            let odd = |c: char| c.is_control() && c != '\n';
            prop_assert!(!shown.contains(odd), "{:?}", shown);
        }
    }
}
