//! What the ways out that were found come to: any is a violation, but for the host's address in a member's own
//! networks, of which the policy says what it is.

use super::Target;
use crate::gate::network::policy::{HostGateway, Policy};
use crate::stack::Answer;
use crate::verdict::Check;

/// What one member reached.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Ways out, in words.
    pub(super) out: Vec<String>,
    /// The host's address in its own networks.
    host: Vec<String>,
    /// In how many of its own networks the host's address was asked.
    hosts: usize,
    tried: usize,
}

pub(super) fn reached(targets: &[Target], answers: &[Answer], own: &[String]) -> Reached {
    let is_own = |network: &String| own.contains(network);
    let hosts = targets
        .iter()
        .filter(|target| target.network.as_ref().is_some_and(is_own));
    let mut reached = Reached {
        tried: targets.len(),
        hosts: hosts.count(),
        ..Reached::default()
    };
    for (target, _) in targets.iter().zip(answers).filter(|(_, answer)| answer.open()) {
        let word = format!("{} ({})", target.what, target.url);
        match &target.network {
            Some(network) if own.contains(network) => reached.host.push(word),
            _ => reached.out.push(word),
        }
    }
    reached
}

pub(super) fn judge(reached: &Reached, policy: &Policy, silent: &[String], suffix: &str) -> [Check; 2] {
    let name = format!("ways out{suffix}");
    let out = if reached.out.is_empty() {
        let nobody = if silent.is_empty() {
            String::new()
        } else {
            format!(
                "; not asked, since they answer nobody here: {}",
                silent.join(", ")
            )
        };
        Check::passed(
            name,
            format!("{} tried, none leads outside{nobody}", reached.tried),
        )
    } else {
        let hint = "every network of a service is `internal: true` in compose/; only the edge leads outside";
        Check::violated(name, format!("open: {}", reached.out.join(", ")), hint)
    };
    let name = format!("host gateway{suffix}");
    let host = match (reached.host.is_empty(), policy.host_gateway) {
        (true, HostGateway::Refused) if reached.hosts == 0 => Check::undecided(
            name,
            "the host's address answers nobody here",
            "it can be asked where the engine runs on this machine and its containers may reach it",
        ),
        (true, HostGateway::Accepted) if reached.hosts == 0 => Check::passed(
            name,
            "not asked: it answers nobody here; accepted by docker/policy/network.toml in any case",
        ),
        (true, _) => Check::passed(name, "refused"),
        (false, HostGateway::Accepted) => {
            let count = reached.host.len();
            let ways = crate::catalogue::plural(count);
            Check::passed(
                name,
                format!(
                    "{count} way{ways} open, accepted by docker/policy/network.toml: {}",
                    policy.reason
                ),
            )
        }
        (false, HostGateway::Refused) => {
            let hint = "an engine of version 28 or newer can isolate it (`gateway_mode_ipv4: isolated`)";
            Check::violated(name, format!("open: {}", reached.host.join(", ")), hint)
        }
    };
    [out, host]
}

#[cfg(test)]
mod tests {
    use super::super::{Leads, not_internal, on_the_host, target};
    use super::*;
    use crate::verdict::Outcome;

    fn policy(host_gateway: HostGateway) -> Policy {
        Policy {
            host_gateway,
            reason: "it is so".into(),
            metadata: "169.254.169.254:80".into(),
            outside_name: "example.com".into(),
        }
    }

    fn outcomes(open: &[&str], host_gateway: HostGateway) -> [Outcome; 2] {
        let gateway = |network: &str| Target {
            network: Some(network.to_owned()),
            ..target(format!("tcp://{network}:1"), network)
        };
        let targets = [
            gateway("own"),
            gateway("other"),
            target("name://x".into(), "outside names"),
        ];
        let answers: Vec<Answer> = targets
            .iter()
            .map(|target| Answer {
                line: format!(
                    "{} {}",
                    if open.contains(&target.what.as_str()) {
                        "open"
                    } else {
                        "refused"
                    },
                    target.url
                ),
            })
            .collect();
        let reached = reached(&targets, &answers, &["own".to_owned()]);
        judge(&reached, &policy(host_gateway), &[], "").map(|check| check.outcome)
    }

    #[test]
    fn any_way_out_is_a_violation_and_the_hosts_own_address_is_for_policy_to_say() {
        use Outcome::{Passed, Violated};
        assert_eq!(outcomes(&[], HostGateway::Refused), [Passed, Passed]);
        assert_eq!(
            outcomes(&["outside names"], HostGateway::Accepted),
            [Violated, Passed]
        );
        assert_eq!(outcomes(&["other"], HostGateway::Accepted), [Violated, Passed]);
        assert_eq!(outcomes(&["own"], HostGateway::Accepted), [Passed, Passed]);
        assert_eq!(outcomes(&["own"], HostGateway::Refused), [Passed, Violated]);
    }

    #[test]
    fn a_host_that_nobody_reaches_is_named_and_never_called_refused() {
        let elsewhere = |gateway: &str| Leads {
            gateway: Some(gateway.to_owned()),
            internal: true,
        };
        // 192.0.2.0/24 is no machine's.
        let networks = [
            ("far".to_owned(), elsewhere("192.0.2.1")),
            ("near".to_owned(), elsewhere("127.0.0.1")),
        ];
        let (listening, targets, deaf) = on_the_host(&networks.into()).unwrap();
        assert_eq!((listening.len(), targets.len()), (1, 1));
        assert_eq!(deaf, ["the host's address in far"]);
        let nobody = |policy_says| judge(&Reached::default(), &policy(policy_says), &deaf, "");
        let [out, host] = nobody(HostGateway::Refused);
        assert!(out.detail.contains("the host's address in far"), "{}", out.detail);
        assert_eq!(host.outcome, Outcome::Undecided);
        assert_eq!(nobody(HostGateway::Accepted)[1].outcome, Outcome::Passed);
    }

    #[test]
    fn a_network_that_is_not_internal_is_a_way_out_whoever_answers() {
        let reached = Reached {
            out: vec![not_internal("horme-x_callee")],
            ..Reached::default()
        };
        let [out, _] = judge(&reached, &policy(HostGateway::Accepted), &[], "");
        assert_eq!(out.outcome, Outcome::Violated);
        assert_eq!(
            out.detail,
            "open: the network callee is not internal, says the engine"
        );
    }
}
