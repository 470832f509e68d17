//! SIGHUP: reads the configuration again and takes over what can change while people talk.

use super::{about, hub_limits, rules, systemd, usage_limits};
use crate::access::AccessControl;
use crate::chat::ids::Now;
use crate::config::{self, Config, Environment, Flags};
use crate::hub::Handle;
use crate::session::service::SessionService;
use crate::telemetry::logs::LogHandle;

/// What a reload needs.
pub(super) struct Reloader<'a> {
    pub config: Config,
    pub flags: &'a Flags,
    pub log: &'a LogHandle,
    pub hub: &'a Handle,
    pub chat: &'a SessionService,
    pub guard: &'a AccessControl,
    pub started: Now,
}

impl Reloader<'_> {
    /// Reads the configuration again, and tells systemd.
    pub(super) async fn reload(&mut self) {
        systemd::reloading();
        systemd::reloaded(self.take_over().await);
    }

    /// Reads the configuration again. If anything in it is wrong, all stays as it is. Says which.
    async fn take_over(&mut self) -> &'static str {
        let newer = match Config::load(self.flags, &Environment::of_process(), &config::read_file) {
            Ok(newer) => newer,
            Err(errors) => {
                let errors = errors.to_string();
                tracing::error!(
                    event = "reload_failed",
                    errors,
                    "the configuration is wrong; nothing was changed"
                );
                return "people can connect; the configuration is wrong, the log says why";
            }
        };
        let waiting = self.config.reload(newer);
        if let Err(error) = self.log.set_level(&self.config.log.level) {
            tracing::warn!(event = "log_level_unchanged", %error, "the log level stays as it was");
        }
        self.hub.set_limits(hub_limits(&self.config)).await;
        self.guard.set_rules(rules(&self.config));
        self.chat.set_server(about(&self.config, self.started));
        self.chat.set_limits(&usage_limits(&self.config));
        tracing::info!(
            event = "reloaded",
            waiting_for_restart = waiting.join(", "),
            "the configuration was read again"
        );
        "people can connect; the configuration was read again"
    }
}
