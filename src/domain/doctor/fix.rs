//! What `doctor --fix` does: only what puts back what the plan says and cannot end a job.

/// A fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fix {
    /// Starts the Docker daemon.
    StartDocker,
    /// Lets the runner's container come back after a reboot.
    RestartPolicy,
    /// Starts the runner's container.
    StartContainer,
    /// Lets the disk guard run by itself.
    EnableGuard,
    /// Runs the disk guard once.
    RunGuard,
    /// Lets the reboot window come by itself.
    EnableWindow,
    /// Starts the CloudWatch agent.
    StartMetricsAgent,
    /// Closes `config.toml` to others.
    CloseConfig,
    /// Writes alarms that are missing or differ, as `up` does.
    PutAlarms,
}

impl Fix {
    /// Returns its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::StartDocker => "start-docker",
            Self::RestartPolicy => "restart-policy",
            Self::StartContainer => "start-container",
            Self::EnableGuard => "enable-disk-guard",
            Self::RunGuard => "run-disk-guard",
            Self::EnableWindow => "enable-reboot-window",
            Self::StartMetricsAgent => "start-metrics-agent",
            Self::CloseConfig => "close-config",
            Self::PutAlarms => "put-alarms",
        }
    }

    /// Returns what it does, for people.
    pub fn says(self) -> &'static str {
        match self {
            Self::StartDocker => "start Docker, and with the host from now on",
            Self::RestartPolicy => "let the runner's container come back after a reboot",
            Self::StartContainer => "start the runner's container",
            Self::EnableGuard => "start the timer of the disk guard, and with the host from now on",
            Self::RunGuard => "run the disk guard once",
            Self::EnableWindow => "start the timer of the reboot window, and with the host from now on",
            Self::StartMetricsAgent => "start the CloudWatch agent, and with the host from now on",
            Self::CloseConfig => "let only root read config.toml, which holds the runner's token",
            Self::PutAlarms => "write the alarms that are missing or differ, as `up` does",
        }
    }

    /// Returns the command on the host; none: it is done in AWS.
    pub fn shell(self, agent: &str) -> Option<String> {
        // Names of runners have no character that a shell minds; quotes cost nothing.
        let agent = format!("'{}'", agent.replace('\'', r"'\''"));
        Some(match self {
            Self::StartDocker => "systemctl enable --now docker".to_owned(),
            Self::RestartPolicy => format!("docker update --restart always {agent}"),
            Self::StartContainer => format!("docker start {agent}"),
            Self::EnableGuard => "systemctl enable --now dataops-infra-disk-guard.timer".to_owned(),
            Self::RunGuard => "systemctl start dataops-infra-disk-guard.service".to_owned(),
            Self::EnableWindow => "systemctl enable --now dataops-infra-reboot-window.timer".to_owned(),
            Self::StartMetricsAgent => "systemctl enable --now amazon-cloudwatch-agent".to_owned(),
            Self::CloseConfig => {
                let name = agent.trim_matches('\'');
                format!("chmod 600 '/srv/dataops-runner-{name}/config/config.toml'")
            }
            Self::PutAlarms => return None,
        })
    }
}

/// Returns one script for all fixes of a host; each is tried, and its exit code is that of the last that failed.
pub fn script(fixes: &[Fix], agent: &str) -> String {
    let mut script = "code=0\n".to_owned();
    for fix in fixes {
        if let Some(shell) = fix.shell(agent) {
            script.push_str(&format!("timeout 60 {shell} </dev/null || code=$?\n"));
        }
    }
    script.push_str("exit \"$code\"\n");
    script
}
