//! `ssh-chat web`: the page where invites are redeemed, next to a running server, on another
//! machine, or on AWS Lambda.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use super::host_key::{NO_RETRIES, parameter, storage};
use super::shutdown::Signals;
use super::startup::{banner, bind_one};
use super::supervisor::Supervisor;
use super::{new_runtime, print_error, store_factory};
use crate::cli::{Exit, OpenMode};
use crate::clock;
use crate::config::{self, Config, Environment, SettingFlags};
use crate::rate_limit::Quota;
use crate::secrets::PublicHostKey;
use crate::store::Store;
use crate::telemetry::logs::{self, LogHandle};
use crate::web::{self, Site, SiteSource, lambda};

/// How long the host key is cached.
const CACHE_TTL: Duration = Duration::from_secs(300);
/// When to read the host key again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long a visitor waits for the host key to be read.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The address of the Lambda Runtime API, if the program runs on AWS Lambda.
pub(super) fn lambda() -> Option<String> {
    Environment::of_process()
        .get(lambda::RUNTIME_API_VAR)
        .map(str::to_owned)
}

/// Serves the page until a signal stops it.
pub(super) fn run(flags: &SettingFlags) -> Exit {
    let config = match Config::load(flags, &Environment::of_process(), &config::read_file) {
        Ok(config) => config,
        Err(errors) => {
            print_error(&errors.to_string());
            return Exit::Usage;
        }
    };
    let served = new_runtime().and_then(|runtime| {
        let log = logs::init(&config.log, &Environment::of_process())?;
        runtime.block_on(serve(&config, &log))
    });
    served.unwrap_or_else(|error| {
        print_error(&format!("ssh-chat: {error:#}"));
        Exit::Failed
    })
}

async fn serve(config: &Config, log: &LogHandle) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let site_info = SiteInfo::load(config.clone()).await?;
    let store = open_store(config).await?;
    let site = site_info.site().await;
    let router = web::router(&site, Arc::new(site_info), store);
    if let Some(api) = lambda() {
        tracing::info!(event = "web_ready", "serving the key page on Lambda");
        return tokio::select! {
            failed = lambda::run(&api, router) => Err(failed.into()),
            _signal = signals.stop() => Ok(Exit::Success),
        };
    }
    let (listener, address) = bind_one(config.web.listen, "--set web.listen=ADDR:PORT").await?;
    announce(&site, address, log);
    let (stopping, stopped) = oneshot::channel::<()>();
    let stop = async {
        let _dropped = stopped.await;
    };
    let mut tasks = Supervisor::default();
    let deadline = config.shutdown.deadline;
    let serving = web::serve(listener, router, config.web.trusted_hops, stop, deadline);
    tasks.spawn("key page listener", serving);
    tokio::select! {
        reason = signals.stop() => {
            tracing::info!(event = "stopping", reason, "shutting down the key page");
        }
        _logged = tasks.failed() => return Ok(Exit::Failed),
    }
    drop(stopping);
    tasks.finished().await;
    Ok(Exit::Success)
}

/// Opens the server's store, which must exist: a new one has no invites. A Lambda function starts
/// when a visitor waits, and its role permits nothing but serving the page, so it doesn't check the
/// table first.
async fn open_store(config: &Config) -> Result<Arc<dyn Store>> {
    match store_factory::table(config, NO_RETRIES) {
        Some(table) if lambda().is_some() => Ok(Arc::new(table)),
        _ => Ok(store_factory::open_for(OpenMode::Write, config)
            .await?
            .store),
    }
}

/// Announces that the page is being served: in the log, and on standard output unless the log goes
/// to the journal.
fn announce(site: &Site, address: SocketAddr, log: &LogHandle) {
    tracing::info!(event = "web_listening", %address, "serving the key page");
    let links = match &site.url {
        Some(url) => format!("{url}#CODE"),
        None => "none: set web_url to the address where others open this page".to_owned(),
    };
    banner(
        &format!("serves the key page on http://{address}"),
        &[
            ("for", &site.join),
            ("host key", site.fingerprint.as_str()),
            ("invites", &links),
            ("stop", "Ctrl-C"),
        ],
        log,
    );
}

/// What the page shows about the server. The host key is cached and read again from time to time,
/// because it may be rotated meanwhile. While one visitor waits for it to be read, others get the
/// cached one.
struct SiteInfo {
    config: Config,
    cached: RwLock<Arc<Site>>,
    expires: Mutex<Instant>,
}

impl SiteInfo {
    /// Reads the host key for the first time.
    async fn load(config: Config) -> Result<SiteInfo> {
        let key = read_host_key(&config).await?;
        Ok(SiteInfo {
            cached: RwLock::new(Arc::new(site(&config, &key))),
            expires: Mutex::new(clock::monotonic() + CACHE_TTL),
            config,
        })
    }

    /// The site at this time, refreshed if the cache has expired.
    async fn site_at(&self, now: Instant) -> Arc<Site> {
        if let Ok(mut expires) = self.expires.try_lock()
            && now >= *expires
        {
            *expires = now
                + if self.refresh().await {
                    CACHE_TTL
                } else {
                    RETRY_AFTER
                };
        }
        Arc::clone(&self.cached.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the host key again. Returns whether that succeeded; if not, the cached one stays.
    async fn refresh(&self) -> bool {
        let late = |_| Err(anyhow!("no answer within {READ_TIMEOUT:?}"));
        let read = timeout(READ_TIMEOUT, read_host_key(&self.config)).await;
        match read.unwrap_or_else(late) {
            Ok(key) => {
                let site = Arc::new(site(&self.config, &key));
                let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
                if cached.fingerprint != site.fingerprint {
                    tracing::info!(
                        event = "web_host_key_changed",
                        fingerprint = %site.fingerprint,
                        "host key changed; the key page shows the new one"
                    );
                    *cached = site;
                }
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    event = "web_host_key_unknown",
                    error,
                    "can't read the host key; the key page shows the last known one"
                );
                false
            }
        }
    }
}

#[async_trait]
impl SiteSource for SiteInfo {
    async fn site(&self) -> Arc<Site> {
        self.site_at(clock::monotonic()).await
    }
}

/// The public half of the host key. The private key is read only if nothing else has the public
/// half, so that the page usually needs no access to it.
async fn read_host_key(config: &Config) -> Result<PublicHostKey> {
    if let Some(line) = &config.web.host_key {
        return PublicHostKey::read(line).context("the setting web.host_key");
    }
    if let Some((name, parameter)) = parameter(config) {
        let value = parameter.read().await;
        let value = value.with_context(|| format!("the parameter {name}"))?;
        let value = value.ok_or_else(|| {
            anyhow!("there is no parameter {name} yet: the server creates it when it starts")
        })?;
        return PublicHostKey::read(&value).with_context(|| format!("the parameter {name}"));
    }
    let storage = storage(config, &config.data_dir, config.aws.patience);
    match storage.find().await? {
        Some(key) => Ok(key.public().clone()),
        None => Err(anyhow!(
            "there is no host key yet in {}: start the server once, or run `ssh-chat host-key init`",
            storage.place()
        )),
    }
}

fn site(config: &Config, key: &PublicHostKey) -> Site {
    Site {
        host: config.host_name.clone(),
        join: config.ssh_command(),
        fingerprint: key.fingerprint(),
        known_hosts: key.known_hosts(&config.host_name, config.port()),
        picture: key.randomart(),
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
    async fn a_rotated_host_key_is_shown_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let flags = SettingFlags {
            data_dir: Some(folder.path().display().to_string()),
            ..SettingFlags::default()
        };
        let config = Config::load(&flags, &Environment::default(), &read_file).unwrap();
        let keys = storage(&config, folder.path(), NO_RETRIES);
        let first = keys.load_or_create().await.unwrap().key;
        let site_info = SiteInfo::load(config).await.unwrap();
        let start = clock::monotonic();
        let shows = async |after, key: &HostKey| {
            let site = site_info.site_at(start + after).await;
            assert_eq!(site.fingerprint, key.fingerprint(), "after {after:?}");
            assert!(site.known_hosts.ends_with(key.public().line()));
        };
        shows(Duration::ZERO, &first).await;
        let second = HostKey::generate().unwrap();
        keys.replace(&second).await.unwrap();
        shows(CACHE_TTL / 2, &first).await;
        shows(CACHE_TTL * 2, &second).await;

        let path = folder.path().join("host_key");
        let kept = std::fs::read(&path).unwrap();
        std::fs::write(&path, "no key").unwrap();
        shows(CACHE_TTL * 4, &second).await;
        let third = HostKey::from_openssh(&String::from_utf8(kept).unwrap()).unwrap();
        assert_eq!(third.fingerprint(), second.fingerprint());
        keys.replace(&first).await.unwrap_err();
        std::fs::write(&path, &*first.to_openssh().unwrap()).unwrap();
        shows(CACHE_TTL * 4 + RETRY_AFTER / 2, &second).await;
        shows(CACHE_TTL * 4 + RETRY_AFTER, &first).await;
    }
}
