//! The job of GitHub Actions that a run is part of, by the variables that GitHub sets in every one.

use serde::{Deserialize, Serialize};

/// What a statement can say of who built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// `https://github.com/owner/name`.
    pub repository: String,
    /// The workflow, at the ref that it was taken from: `https://github.com/owner/name/.github/workflows/ci.yml@refs/heads/main`.
    pub workflow: String,
    /// The page of this attempt.
    pub page: String,
}

impl Job {
    /// This process's job; `None` where it is part of none.
    pub fn current() -> Option<Self> {
        Job::told_by(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn told_by(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if variable("GITHUB_ACTIONS").as_deref() != Some("true") {
            return None;
        }
        let server = variable("GITHUB_SERVER_URL")?;
        let repository = format!("{server}/{}", variable("GITHUB_REPOSITORY")?);
        let attempt = variable("GITHUB_RUN_ATTEMPT").unwrap_or_else(|| "1".to_owned());
        Some(Job {
            workflow: format!("{server}/{}", variable("GITHUB_WORKFLOW_REF")?),
            page: format!(
                "{repository}/actions/runs/{}/attempts/{attempt}",
                variable("GITHUB_RUN_ID")?
            ),
            repository,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "GITHUB_ACTIONS" => "true",
            "GITHUB_SERVER_URL" => "https://github.com",
            "GITHUB_REPOSITORY" => "acme/horme",
            "GITHUB_WORKFLOW_REF" => "acme/horme/.github/workflows/ci.yml@refs/tags/v1.4.2",
            "GITHUB_RUN_ID" => "17",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn a_job_is_named_as_github_names_it() {
        let job = Job::told_by(variable).unwrap();
        assert_eq!(job.repository, "https://github.com/acme/horme");
        let workflow = "https://github.com/acme/horme/.github/workflows/ci.yml@refs/tags/v1.4.2";
        assert_eq!(job.workflow, workflow);
        assert_eq!(
            job.page,
            "https://github.com/acme/horme/actions/runs/17/attempts/1"
        );
    }

    #[test]
    fn elsewhere_there_is_none() {
        assert_eq!(Job::told_by(|_| None), None);
        let half = |name: &str| variable(name).filter(|_| name != "GITHUB_RUN_ID");
        assert_eq!(Job::told_by(half), None, "half a job is none");
    }
}
