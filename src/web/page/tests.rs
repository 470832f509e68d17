use super::*;
use crate::chat::access::KeyRecord;
use crate::chat::ids::{Fingerprint, Name};
use crate::rate_limit::Quota;
use crate::text::Text;

const EVIL: &str = "\"><script>alert(1)</script><img src=x onerror='a'>&amp;";

fn site() -> Site {
    Site {
        host: "chat.example.com".into(),
        join: "ssh chat.example.com".into(),
        fingerprint: Fingerprint::new("SHA256:x"),
        known_hosts: "chat.example.com ssh-ed25519 AAAA".into(),
        picture: "+--+".into(),
        url: None,
        forms: Quota::UNLIMITED,
        trusted_hops: 0,
    }
}

#[test]
fn all_values_are_escaped() {
    let (site, paths) = (site(), Paths::new("/"));
    let form = Form {
        code: EVIL.into(),
        name: EVIL.into(),
        key: EVIL.into(),
        private: None,
    };
    let problems = Problems {
        general: Some(EVIL.into()),
        code: Some(EVIL.into()),
        name: Some(EVIL.into()),
        key: Some(EVIL.into()),
    };
    let registered = Registered {
        name: Name::new("bob").unwrap(),
        role: Role::Operator,
        key: KeyRecord {
            fingerprint: Fingerprint::new(EVIL),
            algorithm: Text::stored_line(EVIL),
            comment: Text::stored(EVIL),
            added: Time(0),
        },
        proof_by: Some(Time(0)),
    };
    let page = PageRenderer::new(&site, &paths);
    let escaped = html! { (EVIL) }.into_string();
    for (shown, times) in [
        (page.form(&form, &problems).into_string(), 7),
        (page.registered(&registered).into_string(), 3),
    ] {
        assert_eq!(shown.matches(escaped.as_str()).count(), times);
        assert_eq!(shown.matches("<script>").count(), 1, "our own");
        assert!(!shown.contains("<img"));
    }
}

#[test]
fn errors_are_tied_to_their_fields() {
    let (site, paths) = (site(), Paths::new("/"));
    let page = |problems: &Problems| {
        let page = PageRenderer::new(&site, &paths);
        page.form(&Form::default(), problems).into_string()
    };
    let fine = page(&Problems::default());
    for absent in ["aria-invalid", "autofocus", "role=\"alert\"", "-problem"] {
        assert!(!fine.contains(absent), "{absent}");
    }
    let wrong = page(&Problems {
        name: Some("No.".into()),
        key: Some("Neither.".into()),
        ..Problems::default()
    });
    for present in [
        "aria-describedby=\"name-problem name-hint\" aria-invalid=\"true\" autofocus>",
        "<p class=\"problem\" id=\"name-problem\">No.</p>",
        "aria-describedby=\"key-problem key-hint\" aria-invalid=\"true\">",
        "<title>Error: ",
    ] {
        assert!(wrong.contains(present), "{present} in {wrong}");
    }
}

#[test]
fn what_was_typed_is_kept_to_the_letter() {
    let (site, paths) = (site(), Paths::new("/"));
    let form = Form {
        key: "\nssh-ed25519 AAAA".into(),
        ..Form::default()
    };
    let shown = PageRenderer::new(&site, &paths).form(&form, &Problems::default());
    // Browsers drop the first line end.
    let area = ">\n\nssh-ed25519 AAAA</textarea>";
    assert!(shown.into_string().contains(area));
}

#[test]
fn times_are_formatted() {
    for (millis, people, programs) in [
        (0, "1 January 1970, 00:00 UTC", "1970-01-01T00:00Z"),
        (
            1_795_960_920_000,
            "29 November 2026, 14:02 UTC",
            "2026-11-29T14:02Z",
        ),
        (i64::MAX, "1 January 1970, 00:00 UTC", "1970-01-01T00:00Z"),
    ] {
        let time = Time(millis);
        assert_eq!(
            (shown(time).as_str(), stamp(time).as_str()),
            (people, programs)
        );
    }
}
