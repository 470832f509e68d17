//! Names of what is in AWS.

/// Reads the name of a region of AWS.
pub(super) fn region(text: &str) -> Result<String, String> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if text.len() <= 32 && text.contains('-') && text.split('-').all(is_part) {
        Ok(text.to_owned())
    } else {
        Err("the name of a region, such as eu-central-1".to_owned())
    }
}

/// Reads the name of a `DynamoDB` table.
pub(super) fn table(text: &str) -> Result<String, String> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if (3..=255).contains(&text.len()) && text.bytes().all(is_part) {
        Ok(text.to_owned())
    } else {
        Err("the name of a table: 3 to 255 letters, digits, `_`, `-` or `.`".to_owned())
    }
}

/// Reads the name or ARN of a secret or parameter.
pub(super) fn resource(text: &str) -> Result<String, String> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&b);
    if (1..=2048).contains(&text.len()) && text.bytes().all(is_part) {
        Ok(text.to_owned())
    } else {
        Err("the name or ARN of something in AWS, such as ssh-chat/host-key".to_owned())
    }
}

/// Reads the name of a chat, as a dimension in `CloudWatch` may be.
pub(super) fn chat(text: &str) -> Result<String, String> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_part) {
        Ok(text.to_owned())
    } else {
        Err("a name for the chat: 1 to 64 letters, digits, `_`, `-` or `.`".to_owned())
    }
}
