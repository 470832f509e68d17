//! Colour themes. Colour is never the only sign of something: each meaning has a mark or a word
//! too.

use crate::term::style::{Color, Style};

/// The style of each kind of text.
#[derive(Debug)]
pub struct Theme {
    /// Its index in [`THEMES`].
    pub id: u8,
    /// Its name in `/theme`.
    pub name: &'static str,
    /// A short description.
    pub about: &'static str,
    /// The colours of names; each name always has the same one.
    names: (fn(u8) -> Color, &'static [u8]),
    /// Times, joins and leaves, headings.
    pub faint: Style,
    /// Dividers: a new day, and where unread messages begin.
    pub rule: Style,
    /// A message that mentions the reader.
    pub mention: Style,
    /// The arrow of a direct message.
    pub direct: Style,
    /// The word `Error`.
    pub error: Style,
    /// The room in the prompt.
    pub prompt: Style,
    /// Unread counts of other rooms.
    pub unread: Style,
    /// Headings and the keys of lists.
    pub strong: Style,
}

/// What the themes have in common.
const BASE: Theme = Theme {
    id: 0,
    name: "",
    about: "",
    names: (Color::Ansi, &[]),
    faint: Style::PLAIN,
    rule: Style::PLAIN,
    mention: Style::PLAIN.bold(),
    direct: Style::PLAIN.bold(),
    error: Style::PLAIN.bold(),
    prompt: Style::PLAIN.bold(),
    unread: Style::PLAIN,
    strong: Style::PLAIN.bold(),
};

const fn ansi(color: u8) -> Style {
    Style::PLAIN.fg(Color::Ansi(color))
}

const fn indexed(color: u8) -> Style {
    Style::PLAIN.fg(Color::Indexed(color))
}

/// All themes; the first is the default.
pub static THEMES: [Theme; 5] = [
    Theme {
        id: 0,
        name: "calm",
        about: "the terminal's own colours; reads well on dark and light",
        names: (Color::Ansi, &[2, 3, 4, 5, 6, 1]),
        faint: Style::PLAIN.dim(),
        rule: Style::PLAIN.dim(),
        direct: ansi(5),
        error: ansi(1).bold(),
        unread: ansi(3),
        ..BASE
    },
    Theme {
        id: 1,
        name: "garden",
        about: "256 soft colours that read on dark and on light",
        names: (
            Color::Indexed,
            &[30, 64, 67, 97, 131, 136, 133, 66, 101, 168, 71, 62],
        ),
        faint: indexed(244),
        rule: indexed(66),
        direct: indexed(133),
        error: indexed(160).bold(),
        prompt: indexed(66).bold(),
        unread: indexed(136),
        ..BASE
    },
    Theme {
        id: 2,
        name: "vivid",
        about: "bright, for a dark background",
        names: (Color::Ansi, &[10, 11, 12, 13, 14, 9]),
        faint: ansi(8),
        rule: ansi(14),
        mention: ansi(11).bold(),
        direct: ansi(13).bold(),
        error: ansi(9).bold(),
        prompt: ansi(14).bold(),
        unread: ansi(11),
        ..BASE
    },
    Theme {
        id: 3,
        name: "paper",
        about: "dark ink, for a light background",
        names: (Color::Indexed, &[22, 24, 54, 88, 94, 90]),
        faint: indexed(241),
        rule: indexed(24),
        direct: indexed(90).bold(),
        error: indexed(124).bold(),
        prompt: indexed(24).bold(),
        unread: indexed(94),
        ..BASE
    },
    Theme {
        id: 4,
        name: "mono",
        about: "no colours",
        ..BASE
    },
];

impl Theme {
    /// The theme of users who have chosen none.
    pub fn default_theme() -> &'static Theme {
        &THEMES[0]
    }

    /// The theme with this name, in any case.
    pub fn named(name: &str) -> Option<&'static Theme> {
        THEMES.iter().find(|t| t.name.eq_ignore_ascii_case(name))
    }

    /// The style of a name: the same for every reader, on every server and in every version.
    pub fn name_style(&self, name: &str) -> Style {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let (color, names) = self.names;
        let index = usize::try_from(hash % names.len().max(1) as u64).unwrap_or(0);
        match names.get(index) {
            Some(name) => Style::PLAIN.fg(color(*name)),
            None => Style::PLAIN.bold(),
        }
    }
}
