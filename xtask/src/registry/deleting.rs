//! Tags taken away, where a registry and this login let them, and never more than a tag.

use anyhow::Result;
use reqwest::Method;

use super::challenge::Action;
use super::login::Login;
use super::manifests::{is_digest, manifest};
use super::refusal::Doing;
use super::retry::{Fault, Limits};
use super::{Deleted, Raw, Repository};
use crate::exit::{Exit, Failure};

impl Repository {
    /// Takes a tag away, never what it points to: a registry that knows no such thing keeps it, and so does one where
    /// this login may not. What it says it did is looked up.
    pub async fn delete_tag(&self, tag: &str) -> Result<Deleted> {
        if is_digest(tag) {
            let what = format!("{}: would delete more than a tag", self.named(tag));
            return Err(Failure::usage(what, "name a tag").into());
        }
        let Some(raw) = self.manifest(tag).await? else {
            return Ok(Deleted::Absent);
        };
        let once = || self.delete_once(tag);
        let said = self.again(&self.named(tag), Limits::moving(0), once).await?;
        if said != Deleted::Gone || self.resolve(tag).await?.is_some() {
            return Ok(Deleted::Unsupported);
        }
        self.keep(&raw).await?;
        Ok(Deleted::Gone)
    }

    async fn delete_once(&self, tag: &str) -> Result<Deleted, Fault> {
        let ask = self.ask(Method::DELETE, &manifest(tag), Action::Delete).await?;
        let refused = match self.client.send(&ask).await {
            Ok(answer) => match answer.status().as_u16() {
                200..=204 => return Ok(Deleted::Gone),
                // 404: gone with an earlier try, or (ECR) not to be deleted by tag; whether it is there tells.
                404 => return Ok(Deleted::Gone),
                // Registries that delete by digest alone say so in one of these ways.
                400 | 405 | 501 => return Ok(Deleted::Unsupported),
                _ => self.refused(Doing::Write, answer).await,
            },
            Err(fault) => fault,
        };
        let is_forbidden = matches!(&refused, Fault::Final(error)
            if error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit == Exit::Usage));
        if !is_forbidden || *self.client.login().await? == Login::Nobody {
            return Err(refused);
        }
        let words = format!("{}: stays: this login may not delete tags", self.named(tag));
        self.client.context.board.note(&words);
        Ok(Deleted::Unsupported)
    }

    /// Puts a manifest back that went with one of its tags, as one that is named by its digest alone.
    async fn keep(&self, raw: &Raw) -> Result<()> {
        if self.resolve(&raw.digest).await?.is_some() {
            return Ok(());
        }
        self.put_manifest(&raw.digest, &raw.media_type, &raw.bytes)
            .await?;
        let words =
            "the registry deleted the image with a tag of it; it was put back, its other tags were not";
        self.client
            .context
            .board
            .note(&format!("{}: {words}", self.named(&raw.digest)));
        Ok(())
    }
}
