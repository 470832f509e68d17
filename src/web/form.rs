//! Parsing of the submitted form: bounded, sanitized, and without private keys.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use multer::{Constraints, Multipart};

use crate::keys::is_private;
use crate::text::{clean, clean_line};

/// The maximum size of a form, in bytes. The longest valid key has about 1,400.
pub(super) const MAX_BODY: usize = 16 * 1024;
/// How long a form may take to arrive.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The fields of the form. `key` is the pasted key, `file` an uploaded one.
const FIELDS: [&str; 4] = ["code", "name", "key", "file"];

/// The submitted values, sanitized so that they can be shown again. Not `Debug`, since the code is
/// a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub code: String,
    pub name: String,
    pub key: String,
    /// The field that contained a private key, which was discarded.
    pub private: Option<&'static str>,
}

/// Error messages, by field. `general` concerns the form as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Problems {
    pub general: Option<String>,
    pub code: Option<String>,
    pub name: Option<String>,
    pub key: Option<String>,
}

impl Problems {
    /// A problem that concerns no single field.
    pub fn general(text: &str) -> Problems {
        Problems {
            general: Some(text.to_owned()),
            ..Problems::default()
        }
    }

    /// Returns whether there are no problems.
    pub fn is_empty(&self) -> bool {
        *self == Problems::default()
    }
}

/// Why a request isn't a valid form. Shown on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error(
        "Not registered: the upload is larger than any public key. Choose the file that ends in .pub."
    )]
    TooLarge,
    #[error("Not registered: the form took too long to arrive. Submit it again.")]
    Timeout,
    #[error(
        "Not registered: the request didn't come from the form on this page. Fill in the form below."
    )]
    NotAForm,
    #[error("Not registered: the form arrived damaged. Fill it in below and submit it again.")]
    Damaged,
}

impl FormError {
    pub fn status(self) -> StatusCode {
        match self {
            FormError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            FormError::Timeout => StatusCode::REQUEST_TIMEOUT,
            FormError::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            FormError::Damaged => StatusCode::BAD_REQUEST,
        }
    }
}

/// Returns the multipart boundary (RFC 7578, RFC 2046 §5.1.1).
pub(super) fn boundary(headers: &HeaderMap) -> Result<String, FormError> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    multer::parse_boundary(kind.unwrap_or_default()).map_err(|_| FormError::NotAForm)
}

impl Form {
    /// Parses a multipart body. Duplicate and unknown fields are errors: browsers don't send them.
    pub async fn read(body: Bytes, boundary: &str) -> Result<Form, FormError> {
        let constraints = Constraints::new().allowed_fields(FIELDS.to_vec());
        let stream = Body::from(body).into_data_stream();
        let mut parts = Multipart::with_constraints(stream, boundary, constraints);
        let mut values: [Option<String>; FIELDS.len()] = Default::default();
        while let Some(part) = parts.next_field().await.map_err(|_| FormError::Damaged)? {
            let place = FIELDS.iter().position(|field| part.name() == Some(field));
            let value = place.and_then(|place| values.get_mut(place));
            let value = value.ok_or(FormError::Damaged)?;
            let bytes = part.bytes().await.map_err(|_| FormError::Damaged)?;
            if value.replace(text(&bytes)).is_some() {
                return Err(FormError::Damaged);
            }
        }
        Ok(Form::sanitize(values.map(Option::unwrap_or_default)))
    }

    fn sanitize(mut values: [String; FIELDS.len()]) -> Form {
        let mut private = None;
        for (field, value) in FIELDS.into_iter().zip(&mut values) {
            if is_private(value) {
                value.clear();
                private.get_or_insert(if field == "file" { "key" } else { field });
            }
        }
        let [code, name, key, file] = values;
        // An uploaded file takes precedence over pasted text.
        let key = if file.trim().is_empty() { key } else { file };
        Form {
            code: clean_line(&code),
            name: clean_line(&name),
            key: clean(&key),
            private,
        }
    }
}

/// Decodes a part. Removing NULs makes a private key in UTF-16, as some Windows programs write it,
/// recognizable.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A form with these parts: the header that names it, and the value.
    fn body(parts: &[(&str, &str)]) -> String {
        let part = |(header, value): &(&str, &str)| {
            format!("--X\r\nContent-Disposition: form-data; {header}\r\n\r\n{value}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--X--\r\n"
    }

    fn read(body: impl Into<Bytes>) -> Result<Form, FormError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(Form::read(body.into(), "X"))
    }

    fn fields(parts: &[(&str, &str)]) -> Result<[String; 3], FormError> {
        read(body(parts)).map(|form| [form.code, form.name, form.key])
    }

    #[test]
    fn the_boundary_is_that_of_a_form() {
        for (kind, expected) in [
            ("multipart/form-data; boundary=X", Ok("X")),
            (
                "Multipart/Form-Data; charset=utf-8; boundary=\"a b\"",
                Ok("a b"),
            ),
            ("multipart/form-data", Err(FormError::NotAForm)),
            ("multipart/mixed; boundary=X", Err(FormError::NotAForm)),
            (
                "application/x-www-form-urlencoded",
                Err(FormError::NotAForm),
            ),
            ("", Err(FormError::NotAForm)),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            let found = boundary(&headers);
            assert_eq!(found.as_deref().map_err(|error| *error), expected, "{kind}");
        }
        assert_eq!(boundary(&HeaderMap::new()), Err(FormError::NotAForm));
    }

    #[test]
    fn fields_are_read_and_cleaned() {
        type Parts<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Parts<'_>, [&str; 3]); 6] = [
            (
                &[
                    ("name=\"code\"", " A-B "),
                    ("name=\"name\"", "bob"),
                    ("name=\"key\"", "k"),
                ],
                ["A-B", "bob", "k"],
            ),
            (&[], ["", "", ""]),
            (
                &[
                    ("name=\"key\"", "old"),
                    ("name=\"file\"; filename=\"k.pub\"", "new"),
                ],
                ["", "", "new"],
            ),
            (
                &[
                    ("name=\"key\"", "old"),
                    ("name=\"file\"; filename=\"\"", ""),
                ],
                ["", "", "old"],
            ),
            (
                &[
                    ("name=\"name\"", "\u{1b}[2Jb\0o\u{202e}b"),
                    ("name=\"key\"", "a\r\nb\u{7}"),
                ],
                ["", "[2Jbob", "a\nb"],
            ),
            (&[("name=\"name\"", "<b>&\"'")], ["", "<b>&\"'", ""]),
        ];
        for (parts, expected) in cases {
            assert_eq!(fields(parts), Ok(expected.map(str::to_owned)), "{parts:?}");
        }
    }

    #[test]
    fn malformed_forms_are_rejected() {
        let twice = body(&[("name=\"name\"", "a"), ("name=\"name\"", "b")]);
        let endless = "--X\r\n".repeat(2_000);
        for wrong in [
            twice.as_str(),
            &body(&[("name=\"role\"", "operator")]),
            &body(&[("name=\"\"", "x")]),
            &body(&[("filename=\"x\"", "x")]),
            "",
            "--X",
            "--X\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\ncut",
            "--Y--",
            &endless,
        ] {
            let refused = read(wrong.to_owned()).err();
            assert_eq!(refused, Some(FormError::Damaged), "{wrong:?}");
        }
        assert!(read(&b"--X\r\n\xff\xfe: \r\n\r\n--X--"[..]).is_err());
    }

    #[test]
    fn a_private_key_is_discarded_from_any_field() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
        let wide: String = key.chars().flat_map(|c| [c, '\0']).collect();
        for (field, blamed) in [
            ("code", "code"),
            ("name", "name"),
            ("key", "key"),
            ("file", "key"),
        ] {
            for secret in [
                key,
                &wide,
                "b3BlbnNzaC1rZXktdjEAAAAABG5v",
                "PuTTY-User-Key-File-3",
            ] {
                let form = read(body(&[(&format!("name=\"{field}\""), secret)])).unwrap();
                let expected = Form {
                    private: Some(blamed),
                    ..Form::default()
                };
                assert!(form == expected, "{field}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), parts in "(--X\r\n|[ -~]|\r\n|name=\"key\"|Content-Disposition: form-data; ){0,30}") {
            let _ = read(bytes);
            if let Ok(form) = read(parts) {
                prop_assert!(!form.name.chars().any(char::is_control));
            }
        }
    }
}
