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
    names: &'static [Color],
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

/// All themes; the first is the default.
pub static THEMES: [Theme; 5] = [
    Theme {
        id: 0,
        name: "calm",
        about: "the terminal's own colours; reads well on dark and light",
        names: &[
            Color::Ansi(2),
            Color::Ansi(3),
            Color::Ansi(4),
            Color::Ansi(5),
            Color::Ansi(6),
            Color::Ansi(1),
        ],
        faint: Style::PLAIN.dim(),
        rule: Style::PLAIN.dim(),
        mention: Style::PLAIN.bold(),
        direct: Style::PLAIN.fg(Color::Ansi(5)),
        error: Style::PLAIN.fg(Color::Ansi(1)).bold(),
        prompt: Style::PLAIN.bold(),
        unread: Style::PLAIN.fg(Color::Ansi(3)),
        strong: Style::PLAIN.bold(),
    },
    Theme {
        id: 1,
        name: "garden",
        about: "256 soft colours that read on dark and on light",
        names: &[
            Color::Indexed(30),
            Color::Indexed(64),
            Color::Indexed(67),
            Color::Indexed(97),
            Color::Indexed(131),
            Color::Indexed(136),
            Color::Indexed(133),
            Color::Indexed(66),
            Color::Indexed(101),
            Color::Indexed(168),
            Color::Indexed(71),
            Color::Indexed(62),
        ],
        faint: Style::PLAIN.fg(Color::Indexed(244)),
        rule: Style::PLAIN.fg(Color::Indexed(66)),
        mention: Style::PLAIN.bold(),
        direct: Style::PLAIN.fg(Color::Indexed(133)),
        error: Style::PLAIN.fg(Color::Indexed(160)).bold(),
        prompt: Style::PLAIN.fg(Color::Indexed(66)).bold(),
        unread: Style::PLAIN.fg(Color::Indexed(136)),
        strong: Style::PLAIN.bold(),
    },
    Theme {
        id: 2,
        name: "vivid",
        about: "bright, for a dark background",
        names: &[
            Color::Ansi(10),
            Color::Ansi(11),
            Color::Ansi(12),
            Color::Ansi(13),
            Color::Ansi(14),
            Color::Ansi(9),
        ],
        faint: Style::PLAIN.fg(Color::Ansi(8)),
        rule: Style::PLAIN.fg(Color::Ansi(14)),
        mention: Style::PLAIN.fg(Color::Ansi(11)).bold(),
        direct: Style::PLAIN.fg(Color::Ansi(13)).bold(),
        error: Style::PLAIN.fg(Color::Ansi(9)).bold(),
        prompt: Style::PLAIN.fg(Color::Ansi(14)).bold(),
        unread: Style::PLAIN.fg(Color::Ansi(11)),
        strong: Style::PLAIN.bold(),
    },
    Theme {
        id: 3,
        name: "paper",
        about: "dark ink, for a light background",
        names: &[
            Color::Indexed(22),
            Color::Indexed(24),
            Color::Indexed(54),
            Color::Indexed(88),
            Color::Indexed(94),
            Color::Indexed(90),
        ],
        faint: Style::PLAIN.fg(Color::Indexed(241)),
        rule: Style::PLAIN.fg(Color::Indexed(24)),
        mention: Style::PLAIN.bold(),
        direct: Style::PLAIN.fg(Color::Indexed(90)).bold(),
        error: Style::PLAIN.fg(Color::Indexed(124)).bold(),
        prompt: Style::PLAIN.fg(Color::Indexed(24)).bold(),
        unread: Style::PLAIN.fg(Color::Indexed(94)),
        strong: Style::PLAIN.bold(),
    },
    Theme {
        id: 4,
        name: "mono",
        about: "no colours",
        names: &[],
        faint: Style::PLAIN,
        rule: Style::PLAIN,
        mention: Style::PLAIN.bold(),
        direct: Style::PLAIN.bold(),
        error: Style::PLAIN.bold(),
        prompt: Style::PLAIN.bold(),
        unread: Style::PLAIN,
        strong: Style::PLAIN.bold(),
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
        let index = usize::try_from(hash % self.names.len().max(1) as u64).unwrap_or(0);
        match self.names.get(index) {
            Some(color) => Style::PLAIN.fg(*color),
            None => Style::PLAIN.bold(),
        }
    }
}
