use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@b";
const NOW: Time = Time(7);

fn form(code: &str, name: &str, key: &str) -> Form {
    Form {
        code: code.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        private: None,
    }
}

#[test]
fn problems_are_reported_at_their_fields() {
    let short = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQC7";
    // The form; the beginning of the problem with the code, the name and the key.
    for (code, name, key, expected) in [
        ("c", "bob", KEY, ["", "", ""]),
        (" x ", " @Bob ", &format!("\n{KEY}\n"), ["", "", ""]),
        (
            "",
            "",
            "",
            [
                "Invite code missing.",
                "A name can't be empty.",
                "No key given;",
            ],
        ),
        ("c", "bob b", KEY, ["", "A name has the characters", ""]),
        ("c", "system", KEY, ["", "The name system is reserved", ""]),
        (
            "c",
            "guest-abcd",
            KEY,
            ["", "Names like guest-abcd are given to guests.", ""],
        ),
        ("c", &"x".repeat(33), KEY, ["", "A name has at most 32", ""]),
        ("c", "bob", "hello", ["", "", "Not a public key;"]),
        ("c", "bob", "SHA256:abc", ["", "", "This is a fingerprint;"]),
        (
            "c",
            "bob",
            "ssh-dss AAAA",
            ["", "", "DSA keys are too weak;"],
        ),
        ("c", "bob", short, ["", "", "The key after ssh-rsa"]),
        (
            "c",
            "bob",
            &format!("{KEY}\n{KEY}"),
            ["", "", "Several keys given;"],
        ),
    ] {
        let validated = validate(&form(code, name, key), NOW);
        let Problems {
            general,
            code: of_code,
            name: of_name,
            key: of_key,
        } = match validated {
            Ok(_) => Problems::default(),
            Err(problems) => problems,
        };
        assert_eq!(general, None, "{name}");
        for (said, expected) in [of_code, of_name, of_key].into_iter().zip(expected) {
            let said = said.unwrap_or_default();
            assert_eq!(
                said.is_empty(),
                expected.is_empty(),
                "{code} {name} {key}: {said}"
            );
            assert!(said.starts_with(expected), "{said}");
            assert!(said.is_empty() || said.ends_with('.'), "{said}");
        }
    }
}

#[test]
fn a_private_key_is_reported_at_its_field() {
    for field in ["code", "name", "key"] {
        let blamed = Form {
            private: Some(field),
            ..form("c", "bob", KEY)
        };
        let problems = validate(&blamed, NOW).unwrap_err();
        assert!(problems.general.unwrap().contains("PRIVATE"));
        let said = [
            ("code", problems.code),
            ("name", problems.name),
            ("key", problems.key),
        ];
        for (other, said) in said {
            assert_eq!(said.is_some(), other == field, "{field} {other}");
            assert!(said.is_none_or(|said| said.starts_with("This is a PRIVATE key")));
        }
    }
}

#[test]
fn the_same_form_creates_the_same_account() {
    let id = |code: &str, name: &str, key: &str| {
        let request = validate(&form(code, name, key), NOW).unwrap();
        request.account()
    };
    let code = Code::new([1; 16]).to_string();
    let other_code = Code::new([2; 16]).to_string();
    let other_key = KEY.replace("Hh8gIQ", "Hh8gIg").replace("HR4f", "HR4g");
    let first = id(&code, "bob", KEY);
    assert_eq!(
        first,
        id(&code.to_lowercase(), "@Bob", &KEY.replace(" a@b", ""))
    );
    for other in [
        id(&other_code, "bob", KEY),
        id(&code, "rob", KEY),
        id(&code, "bob", &other_key),
    ] {
        assert_ne!(first, other);
    }
}
