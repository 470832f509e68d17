//! The prompt: what it shows, and when it is drawn.

use std::fmt::Write as _;

use super::display::Display;
use super::machine::{Machine, Source};
use super::theme::Theme;
use crate::chat::ids::RoomName;
use crate::term::screen::Prompt;
use crate::term::style::Style;

impl Machine {
    /// The bytes to send now, the prompt drawn. May be empty.
    pub fn output(&mut self) -> Vec<u8> {
        if !self.ended {
            self.offer_unsent();
            if self.display.wants_prompt() {
                self.with_prompt(Display::prompt);
            } else {
                debug_assert!(
                    self.with_prompt(|display, prompt| display.shows(prompt)) != Some(false),
                    "the prompt changed and nobody said so"
                );
            }
        }
        self.display.take()
    }

    /// Has something done with what the prompt is to show, if there is one.
    fn with_prompt<T>(&mut self, what: impl FnOnce(&mut Display, &Prompt<'_>) -> T) -> Option<T> {
        let theme = self.display.theme().unwrap_or(Theme::default_theme());
        let glyphs = self.display.glyphs();
        let here = self.tabs.get(self.current);
        let here = here.map_or(RoomName::LOBBY, |tab| tab.name.as_str());
        let mut waiting = String::new();
        for (at, tab) in self.tabs.iter().enumerate() {
            if at != self.current && tab.unread > 0 {
                let sign = if tab.named { "@" } else { "" };
                let comma = if waiting.is_empty() { " (" } else { ", " };
                let _to_a_string = write!(waiting, "{comma}{sign}{} {}", tab.name, tab.unread);
            }
        }
        if !waiting.is_empty() {
            waiting.push(')');
        }
        let end = if self.requests.slow {
            glyphs.busy
        } else {
            glyphs.prompt
        };
        let Source::Keys(source) = &self.source else {
            return None;
        };
        let editor = &source.1;
        let search = editor
            .searching()
            .map(|query| format!("search {query:?}: "));
        let label: &[(Style, &str)] = match &search {
            Some(search) => &[(theme.prompt, search)],
            None if waiting.is_empty() => &[(theme.prompt, here), (theme.prompt, end)],
            None => &[
                (theme.prompt, here),
                (theme.waiting, &waiting),
                (theme.prompt, end),
            ],
        };
        let prompt = Prompt {
            label,
            text: editor.text(),
            cursor: editor.cursor(),
        };
        Some(what(&mut self.display, &prompt))
    }
}
