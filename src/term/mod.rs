//! Terminal input and output: bytes to keys, keys to an edited line, styled text to rows, and a
//! prompt that stays below them. Pure, and knows nothing of chat.

pub mod editor;
pub mod keys;
pub mod screen;
pub mod style;
pub mod wrap;
