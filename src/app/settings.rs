//! What the configuration means for each part of the server, at the start and on a reload (SIGHUP).

use crate::access::{AccessControl, Mode, Rules};
use crate::chat::access::Role;
use crate::chat::ids::Now;
use crate::config::{self, AccessMode, AddKeysPolicy, Config, Environment, SettingFlags};
use crate::hub;
use crate::rate_limit::{Quota, TrustedNetworks};
use crate::session::machine::ServerInfo;
use crate::session::service::SessionService;
use crate::session::usage::UsageLimits;
use crate::ssh;
use crate::telemetry::logs::LogHandle;
use crate::text::Text;

use super::systemd;

/// New guests per new account from one address: without a key, each session is a new guest.
const GUESTS_PER_ACCOUNT: f64 = 10.0;

/// Who can log in.
pub(super) fn rules(config: &Config) -> Rules {
    Rules {
        mode: match config.access {
            AccessMode::Open => Mode::Open,
            AccessMode::Allowlist => Mode::Allowlist,
        },
        operator_keys: config.operator_keys.clone(),
        approval: config.approval,
        add_keys: match config.add_keys {
            AddKeysPolicy::Members => Role::Member,
            AddKeysPolicy::Operators => Role::Operator,
        },
        trusted: trusted_networks(config),
        web_url: config.web_url.clone(),
        invite_life: u64::try_from(config.invite_expires.as_millis()).unwrap_or(u64::MAX),
        outage_logins: config.limits.outage_logins,
    }
}

fn trusted_networks(config: &Config) -> TrustedNetworks {
    TrustedNetworks::new(config.limits.trusted_networks.clone())
}

pub(super) fn hub_limits(config: &Config) -> hub::Limits {
    hub::Limits {
        rooms: config.limits.rooms,
        rooms_per_account: config.limits.rooms_per_account,
        messages: Quota::per_second(
            config.limits.message_rate.average_per_second(),
            config.limits.message_burst,
        ),
        people_per_address: config.limits.people_per_address,
        trusted_networks: trusted_networks(config),
        ..hub::Limits::default()
    }
}

pub(super) fn ssh_settings(config: &Config) -> ssh::Settings {
    let limits = &config.limits;
    ssh::Settings {
        max_connections: limits.connections,
        max_per_address: limits.connections_per_address,
        trusted: trusted_networks(config),
        max_unauthenticated: limits.unauthenticated,
        login_grace: limits.login_grace,
        max_auth_attempts: limits.auth_attempts,
        max_channels: limits.channels_per_connection,
        write_stall: limits.stall,
        drain: config.shutdown.deadline,
        strict_crypto: config.ssh.strict_crypto,
        ..ssh::Settings::default()
    }
}

/// The server as sessions describe it.
pub(super) fn server_info(config: &Config, started: Now) -> ServerInfo {
    ServerInfo {
        host: config.host_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started,
        motd: config.message_of_the_day().map(Text::stored),
        on_join: config.history.on_join,
    }
}

pub(super) fn usage_limits(config: &Config) -> UsageLimits {
    let limits = &config.limits;
    // Everyone who can connect at once may be new; beyond that, the rate applies.
    let burst = u32::try_from(limits.connections_per_address).unwrap_or(u32::MAX);
    let new_accounts = limits.new_accounts_per_address.average_per_second();
    UsageLimits {
        commands: Quota::per_second(
            limits.command_rate.average_per_second(),
            limits.command_burst,
        ),
        people_per_address: limits.people_per_address,
        new_accounts: Quota::per_second(new_accounts, burst),
        guests: Quota::per_second(new_accounts * GUESTS_PER_ACCOUNT, burst),
        trusted_networks: trusted_networks(config),
    }
}

/// Applies a changed configuration to a running server.
pub(super) struct Reloader<'a> {
    pub config: Config,
    pub flags: &'a SettingFlags,
    pub log: &'a LogHandle,
    pub hub: &'a hub::Handle,
    pub chat: &'a SessionService,
    pub access: &'a AccessControl,
    pub started: Now,
}

impl Reloader<'_> {
    /// Reads the configuration again and notifies systemd.
    pub(super) async fn reload(&mut self) {
        systemd::reloading();
        systemd::reloaded(self.apply().await);
    }

    /// Applies the configuration if it's valid; otherwise nothing changes. Returns the status for
    /// systemd.
    async fn apply(&mut self) -> &'static str {
        let config = match Config::load(self.flags, &Environment::of_process(), &config::read_file)
        {
            Ok(config) => config,
            Err(errors) => {
                let errors = errors.to_string();
                tracing::error!(
                    event = "reload_failed",
                    errors,
                    "configuration not reloaded: it's invalid"
                );
                return "running; reload failed: invalid configuration, see the log";
            }
        };
        let waiting = self.config.reload(&config);
        if let Err(error) = self.log.set_level(&self.config.log.level) {
            tracing::warn!(event = "log_level_unchanged", %error, "log level not changed");
        }
        self.hub.set_limits(hub_limits(&self.config)).await;
        self.access.set_rules(rules(&self.config));
        self.chat
            .set_server(server_info(&self.config, self.started));
        self.chat.set_limits(&usage_limits(&self.config));
        tracing::info!(
            event = "reloaded",
            waiting_for_restart = waiting.join(", "),
            "configuration reloaded"
        );
        "running; configuration reloaded"
    }
}
