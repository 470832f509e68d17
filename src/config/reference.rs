//! The settings in words: the table of the documentation and the default file.

use std::fmt::Write as _;

use super::Config;
use super::settings::{self, Otherwise, SETTINGS};

/// The table of `docs/configuration.md`, in Markdown.
pub fn markdown() -> String {
    let initial = Config::initial();
    let mut out = String::from(
        "| Setting | Variable | Default | What it is |\n\
         |---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = match setting.otherwise {
            Otherwise::Found { how, .. } => how.to_owned(),
            Otherwise::Fixed => format!("`{}`", (setting.show)(&initial).unwrap_or_default()),
        };
        let mark = if setting.reloadable { " ⟳" } else { "" };
        let _ = writeln!(
            out,
            "| `{}`{mark} | `{}` | {default} | {} |",
            setting.key,
            setting.variable(),
            setting.help
        );
    }
    out
}

/// A configuration file with every setting explained and commented out, at its default.
pub fn default_file() -> String {
    let mut out = String::from(
        "# The configuration of ssh-chat. Each setting is shown with its default, or with an\n\
         # example where there is none: take away the first # to change it.\n\
         # `ssh-chat check-config` shows what is in force and where it comes from.\n",
    );
    for (section, settings) in settings::sections() {
        if let Some(section) = section {
            let _ = write!(out, "\n[{section}]\n");
        }
        for setting in settings {
            let _ = write!(out, "\n# {}.\n", setting.help);
            if let Otherwise::Found { how, .. } = setting.otherwise {
                let _ = writeln!(out, "# Default: {how}.");
            }
            let _ = writeln!(out, "#{}", setting.sample());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    const BEGIN: &str = "<!-- settings: written by the test in src/config/reference.rs -->\n";
    const END: &str = "<!-- end of settings -->";

    /// Set `UPDATE_DOCS=1` to write the table anew.
    #[test]
    fn the_documentation_has_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("the mark of the beginning");
        let (_, after) = rest.split_once(END).expect("the mark of the end");
        let right = format!("{before}{BEGIN}{}{END}{after}", markdown());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, right).unwrap();
        } else {
            assert_eq!(text, right, "UPDATE_DOCS=1 cargo test brings it up to date");
        }
    }

    #[test]
    fn the_default_file_changes_nothing_until_it_is_changed() {
        let load = |text: &str| {
            let env = |name: &str| (name == "HOME").then(|| "/home/alice".to_owned());
            let flags = Flags {
                config: Some("c.toml".into()),
                ..Flags::default()
            };
            let read = |path: &Path| Ok((path == Path::new("c.toml")).then(|| text.to_owned()));
            Config::load(&flags, &env, &read).unwrap()
        };
        // `#key` is a setting, `# Words` are words. There is no /etc/ssh-chat/motd here.
        let changed: String = default_file()
            .lines()
            .filter(|line| !line.starts_with("#motd_file"))
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let (as_it_is, empty, changed) = (load(&default_file()), load(""), load(&changed));
        assert_eq!(as_it_is, empty);
        for setting in SETTINGS {
            let (before, after) = ((setting.show)(&empty), (setting.show)(&changed));
            match setting.otherwise {
                Otherwise::Fixed => assert_eq!(before, after, "{}", setting.key),
                Otherwise::Found { .. } if setting.key == "motd_file" => assert_eq!(after, None),
                Otherwise::Found { example, .. } => assert_eq!(after.as_deref(), Some(example)),
            }
        }
    }
}
