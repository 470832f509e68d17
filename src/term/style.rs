//! Colours and attributes of text (ECMA-48 §8.3.117, SGR).

/// A foreground colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Color {
    /// The terminal's default.
    #[default]
    Default,
    /// One of the 16 colours of the terminal's palette: 0 to 7, and 8 to 15 for the bright ones.
    /// Only the lowest four bits count.
    Ansi(u8),
    /// One of xterm's 256 colours.
    Indexed(u8),
}

/// The colour and attributes of text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Style {
    /// The foreground colour.
    pub fg: Color,
    /// Bold.
    pub bold: bool,
    /// Dim.
    pub dim: bool,
}

impl Style {
    /// The default colour without attributes.
    pub const PLAIN: Style = Style {
        fg: Color::Default,
        bold: false,
        dim: false,
    };

    /// This style in another colour.
    #[must_use]
    pub const fn fg(mut self, color: Color) -> Self {
        self.fg = color;
        self
    }

    /// This style, bold.
    #[must_use]
    pub const fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    /// This style, dim.
    #[must_use]
    pub const fn dim(mut self) -> Self {
        self.dim = true;
        self
    }

    /// Writes the sequence that sets this style, whatever was set before.
    pub fn sgr(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[");
        // An empty first parameter means 0: reset.
        if self.bold {
            out.extend_from_slice(b";1");
        }
        if self.dim {
            out.extend_from_slice(b";2");
        }
        match self.fg {
            Color::Default => {}
            Color::Ansi(n @ 8..) if n & 15 >= 8 => {
                out.extend_from_slice(b";9");
                number(n & 7, out);
            }
            Color::Ansi(n) => {
                out.extend_from_slice(b";3");
                number(n & 7, out);
            }
            Color::Indexed(n) => {
                out.extend_from_slice(b";38;5;");
                number(n, out);
            }
        }
        out.push(b'm');
    }
}

fn number(n: u8, out: &mut Vec<u8>) {
    if n >= 100 {
        out.push(b'0' + n / 100);
    }
    if n >= 10 {
        out.push(b'0' + n / 10 % 10);
    }
    out.push(b'0' + n % 10);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_sequences() {
        for (style, sequence) in [
            (Style::PLAIN, "\x1b[m"),
            (Style::PLAIN.bold(), "\x1b[;1m"),
            (Style::PLAIN.fg(Color::Ansi(1)), "\x1b[;31m"),
            (Style::PLAIN.fg(Color::Ansi(15)), "\x1b[;97m"),
            (Style::PLAIN.fg(Color::Ansi(255)).dim(), "\x1b[;2;97m"),
            (Style::PLAIN.fg(Color::Indexed(7)), "\x1b[;38;5;7m"),
            (Style::PLAIN.fg(Color::Indexed(208)), "\x1b[;38;5;208m"),
        ] {
            let mut out = Vec::new();
            style.sgr(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), sequence, "{style:?}");
        }
    }
}
