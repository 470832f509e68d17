//! What the page says of the server: its host key is looked at again from time to time, since it
//! can be replaced while the page is there.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::app::host_key::{admin, parameter};
use crate::clock;
use crate::config::Config;
use crate::rate_limit::Quota;
use crate::secrets::PublicHostKey;
use crate::web::{Front, Site};

/// How long what was read is shown before it is looked at again.
const FRESH: Duration = Duration::from_secs(300);
/// The same if it could not be read.
const AGAIN: Duration = Duration::from_secs(30);
/// How long somebody who opens the page waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The site, with the host key as it was when it was last looked at. Between two looks nothing is
/// read, and nobody waits while somebody else looks.
pub(super) struct Window {
    config: Config,
    site: RwLock<Arc<Site>>,
    due: Mutex<Instant>,
}

impl Window {
    /// Reads the host key for the first time.
    pub(super) async fn open(config: Config) -> Result<Window> {
        let key = host_key(&config).await?;
        Ok(Window {
            site: RwLock::new(Arc::new(site(&config, &key))),
            due: Mutex::new(clock::monotonic() + FRESH),
            config,
        })
    }

    /// What there is to say at that moment.
    async fn at(&self, now: Instant) -> Arc<Site> {
        if let Ok(mut due) = self.due.try_lock()
            && now >= *due
        {
            *due = now + if self.look().await { FRESH } else { AGAIN };
        }
        self.site()
    }

    fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the host key again. Whether it could be read; if not, the page shows what it showed.
    async fn look(&self) -> bool {
        let late = || Err(anyhow!("no answer within {PATIENCE:?}"));
        let read = timeout(PATIENCE, host_key(&self.config)).await;
        match read.unwrap_or_else(|_| late()) {
            Ok(key) => {
                let site = Arc::new(site(&self.config, &key));
                let mut shown = self.site.write().unwrap_or_else(PoisonError::into_inner);
                if shown.fingerprint != site.fingerprint {
                    tracing::info!(event = "web_host_key_changed", fingerprint = %site.fingerprint, "the key page shows another host key from now on");
                    *shown = site;
                }
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    event = "web_host_key_unknown",
                    error,
                    "the key page shows the host key that it read before"
                );
                false
            }
        }
    }
}

#[async_trait]
impl Front for Window {
    async fn site(&self) -> Arc<Site> {
        self.at(clock::monotonic()).await
    }
}

/// The public half of the host key. The key itself is looked at only where nothing else says it,
/// so that whoever shows the page need not be able to read it.
async fn host_key(config: &Config) -> Result<PublicHostKey> {
    if let Some(line) = &config.web.host_key {
        return PublicHostKey::read(line).context("the setting web.host_key");
    }
    if let Some((name, parameter)) = parameter(config) {
        let found = parameter.read().await;
        let value = found.with_context(|| format!("the parameter {name}"))?;
        let value = value.ok_or_else(|| {
            anyhow!("there is no parameter {name} yet: the server makes it when it starts")
        })?;
        return PublicHostKey::read(&value).with_context(|| format!("the parameter {name}"));
    }
    let admin = admin(config, &config.data_dir, config.aws.patience);
    match admin.find().await? {
        Some(key) => Ok(key.public().clone()),
        None => Err(anyhow!(
            "there is no host key yet in {}: start the server once, or make one with `ssh-chat \
             host-key init`",
            admin.place()
        )),
    }
}

fn site(config: &Config, key: &PublicHostKey) -> Site {
    let host = &config.host_name;
    Site {
        host: host.clone(),
        join: config.ssh_command(),
        fingerprint: key.fingerprint(),
        known_hosts: key.known_hosts(host, config.port()),
        picture: key.picture(),
        url: config.web_url.clone(),
        forms: Quota::per_second(config.web.rate.average_per_second(), config.web.burst),
        trusted_hops: config.web.trusted_hops,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, SettingFlags, read_file};
    use crate::secrets::HostKey;

    #[tokio::test]
    async fn another_host_key_is_shown_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let flags = SettingFlags {
            data_dir: Some(folder.path().display().to_string()),
            ..SettingFlags::default()
        };
        let config = Config::load(&flags, &Environment::default(), &read_file).unwrap();
        let admin = admin(&config, folder.path(), Duration::ZERO);
        let first = admin.load_or_create().await.unwrap().key;
        let window = Window::open(config).await.unwrap();
        let opened = clock::monotonic();
        let shows = async |after, key: &HostKey| {
            let site = window.at(opened + after).await;
            assert_eq!(site.fingerprint, key.fingerprint(), "after {after:?}");
            assert!(site.known_hosts.ends_with(&key.public_line()));
        };
        shows(Duration::ZERO, &first).await;
        let second = HostKey::generate().unwrap();
        admin.replace(&second).await.unwrap();
        shows(FRESH / 2, &first).await;
        shows(FRESH * 2, &second).await;

        let path = folder.path().join("host_key");
        let kept = std::fs::read(&path).unwrap();
        std::fs::write(&path, "no key").unwrap();
        shows(FRESH * 4, &second).await;
        let third = HostKey::from_openssh(&String::from_utf8(kept).unwrap()).unwrap();
        assert_eq!(third.fingerprint(), second.fingerprint());
        admin.replace(&first).await.unwrap_err();
        std::fs::write(&path, &*first.to_openssh().unwrap()).unwrap();
        shows(FRESH * 4 + AGAIN / 2, &second).await;
        shows(FRESH * 4 + AGAIN, &first).await;
    }
}
