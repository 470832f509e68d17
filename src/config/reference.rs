//! Documentation made from the settings: the table of `docs/configuration.md` and the packaged file.

use std::fmt::Write as _;

use super::settings::{self, Config, DefaultValue};

/// The table of `docs/configuration.md`, in Markdown.
pub fn markdown() -> String {
    let defaults = Config::default();
    let mut out = String::from(
        "| Setting | Variable | Default | Description |\n\
         |---|---|---|---|\n",
    );
    for setting in settings::all() {
        let default = match setting.default {
            DefaultValue::Computed { description, .. } => description.to_owned(),
            DefaultValue::Fixed => format!("`{}`", (setting.show)(&defaults).unwrap_or_default()),
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

/// The settings that the package sets, by key: its service is open to the network, a workstation isn't.
const PACKAGED: &[(&str, &str)] = &[("listen", "[::]:22"), ("access", "allowlist")];

/// The configuration file of the Debian package: every setting with its help. Those in [`PACKAGED`] are
/// set, the others are commented out.
pub fn packaged_file() -> String {
    let mut out = String::from(
        "# Configuration of the ssh-chat service. Settings whose value differs from the default are\n\
         # set. The others are commented out and show their default, or an example if there is none:\n\
         # remove the # to change one. Then run\n\
         #   sudo -u ssh-chat ssh-chat check-config   to show the effective settings or any mistakes\n\
         #   sudo systemctl reload ssh-chat           to apply the settings that can change at runtime\n\
         #   sudo systemctl restart ssh-chat          to apply the others; new connections wait meanwhile\n\
         # See /usr/share/doc/ssh-chat/README.md. ssh-chat.socket decides which port systemd opens;\n\
         # `listen` is the address that users are shown.\n",
    );
    for (section, settings) in settings::sections() {
        if let Some(section) = section {
            let _ = write!(out, "\n[{section}]\n");
        }
        for setting in settings {
            let _ = write!(out, "\n# {}\n", setting.help);
            if let DefaultValue::Computed { description, .. } = setting.default {
                let _ = writeln!(out, "# Default: {description}.");
            }
            let packaged = PACKAGED.iter().find(|(key, _)| *key == setting.key);
            let _ = match packaged {
                Some((_, value)) => writeln!(out, "{}", setting.assign(value)),
                None => writeln!(out, "#{}", setting.example_line()),
            };
        }
    }
    out
}

/// The bounds of settings for Terraform, which refuses a value before a machine would.
pub fn terraform_bounds() -> String {
    let bounded = || settings::all().filter_map(|setting| Some((setting.key, (setting.bounds)()?)));
    let width = bounded().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut out = String::from(
        "# Generated from src/config/settings.rs by UPDATE_DOCS=1 cargo test --lib. Don't edit.\n\n\
         locals {\n  \
           # The smallest and the largest value of a setting: of a duration in seconds, of a size in bytes.\n  \
           bounds = {\n",
    );
    for (key, [min, max]) in bounded() {
        let _ = writeln!(
            out,
            "    {:width$} = [{min}, {max}]",
            format!("\"{key}\""),
            width = width + 2
        );
    }
    out.push_str("  }\n}\n");
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::SettingFlags;

    const BEGIN: &str = "<!-- settings: written by the test in src/config/reference.rs -->\n";
    const END: &str = "<!-- end of settings -->";

    /// Whether a file of the repository is as it has to be. Set `UPDATE_DOCS=1` to write it.
    fn is_up_to_date(path: &str, right: impl Fn(&str) -> String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let right = right(&text);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, right).unwrap();
        } else {
            assert_eq!(text, right, "run UPDATE_DOCS=1 cargo test to update it");
        }
    }

    #[test]
    fn the_documentation_has_the_table() {
        is_up_to_date("docs/configuration.md", |text| {
            let (before, rest) = text.split_once(BEGIN).expect("the mark of the beginning");
            let (_, after) = rest.split_once(END).expect("the mark of the end");
            format!("{before}{BEGIN}{}{END}{after}", markdown())
        });
    }

    #[test]
    fn the_package_has_the_file() {
        is_up_to_date("systemd/config.toml", |_| packaged_file());
    }

    #[test]
    fn terraform_has_the_bounds() {
        is_up_to_date("cloud-init/bounds.tf", |_| terraform_bounds());
    }

    fn load(text: &str) -> Config {
        let env = [("HOME", "/home/alice")].into_iter().collect();
        let flags = SettingFlags {
            config: Some("c.toml".into()),
            ..SettingFlags::default()
        };
        let read = |path: &Path| Ok((path == Path::new("c.toml")).then(|| text.to_owned()));
        Config::load(&flags, &env, &read).unwrap()
    }

    fn texts(config: &Config) -> BTreeMap<&'static str, Option<String>> {
        let text = |setting: &settings::Setting| (setting.key, (setting.show)(config));
        settings::all().map(text).collect()
    }

    #[test]
    fn the_file_of_the_package_sets_what_differs_and_nothing_else() {
        let (usual, mut expected) = (texts(&load("")), texts(&load(&packaged_file())));
        for (key, value) in PACKAGED {
            assert_eq!(expected[key].as_deref(), Some(*value));
            expected.insert(key, usual[key].clone());
        }
        // It follows the address.
        expected.insert("host_name", usual["host_name"].clone());
        assert_eq!(expected, usual);
    }

    #[test]
    fn what_is_commented_out_is_the_default_or_an_example() {
        // `#key` is a setting, `# Words` are words. There is no /etc/ssh-chat/motd here, and what
        // is for a table rules out what is for a database.
        let left_out = ["#motd_file", "#max_size"];
        let changed: String = packaged_file()
            .lines()
            .filter(|line| !left_out.iter().any(|out| line.starts_with(out)))
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let (before, after) = (texts(&load("")), texts(&load(&changed)));
        for setting in settings::all() {
            let key = setting.key;
            match setting.default {
                _ if ["motd_file", "history.max_size"].contains(&key) => {
                    assert_eq!(after[key], None);
                }
                _ if PACKAGED.iter().any(|(set, _)| *set == key) => {}
                DefaultValue::Fixed => assert_eq!(before[key], after[key], "{key}"),
                DefaultValue::Computed { example, .. } => {
                    assert_eq!(after[key].as_deref(), Some(example));
                }
            }
        }
    }
}
