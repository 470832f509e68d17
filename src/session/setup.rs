//! What a client announces before its session begins: terminal, locale, command.

use super::display::Display;
use super::peer::{Inbound, Input};
use super::theme::Theme;
use crate::term::screen::Size;
use crate::text::Text;

/// The channel requests before `shell` or `exec` (RFC 4254 §6).
#[derive(Default)]
pub(super) struct ClientSetup {
    terminal: Option<(Text, Size)>,
    locale: [Option<String>; 3],
    no_color: bool,
    /// The command; `None` is a shell.
    pub command: Option<Vec<u8>>,
}

impl ClientSetup {
    /// Reads up to `shell` or `exec`; `None` if the channel is closed before.
    pub(super) async fn read(input: &mut impl Inbound) -> Option<ClientSetup> {
        let mut setup = ClientSetup::default();
        loop {
            match input.next().await? {
                Input::Pty { term, cols, rows } => {
                    setup.terminal = Some((term, Size::clamped(cols, rows)));
                }
                Input::Resize { cols, rows } => setup.resize(cols, rows),
                Input::Env { name, value } => {
                    let [all, ctype, lang] = &mut setup.locale;
                    match name.as_str() {
                        "LC_ALL" => *all = Some(value),
                        "LC_CTYPE" => *ctype = Some(value),
                        "LANG" => *lang = Some(value),
                        "NO_COLOR" => setup.no_color = !value.is_empty(),
                        _ => {}
                    }
                }
                Input::Shell => return Some(setup),
                Input::Exec(command) => {
                    setup.command = Some(command);
                    return Some(setup);
                }
                Input::Data(_) | Input::Eof => {}
            }
        }
    }

    /// Whether the client has a terminal.
    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Changes the size of the terminal.
    pub(super) fn resize(&mut self, cols: u32, rows: u32) {
        if let Some((_, size)) = &mut self.terminal {
            *size = Size::clamped(cols, rows);
        }
    }

    /// Whether the locale's character set is UTF-8, by the precedence of POSIX. A client that sends
    /// no locale most likely has UTF-8, too.
    fn utf8(&self) -> bool {
        let set = self.locale.iter().flatten().find(|value| !value.is_empty());
        set.is_none_or(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
    }

    /// The display for this client.
    pub(super) fn display(&self) -> Display {
        match &self.terminal {
            None => Display::lines(),
            Some((term, size)) if self.no_color || matches!(term.as_str(), "dumb" | "") => {
                Display::dumb(*size)
            }
            Some((_, size)) => Display::terminal(*size, Theme::default_theme(), self.utf8()),
        }
    }
}
