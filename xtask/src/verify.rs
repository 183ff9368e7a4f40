//! `verify`: what anyone can find out about a published image with nothing but the registry and a trust root.

mod answer;
mod judging;
mod look;
mod reference;

use anyhow::Result;

use crate::attest::{self, Trust};
use crate::cli::{Format, VerifyOptions};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::planning;
use crate::release::settings::Settings;
use crate::report;
use reference::{Named, Reference};

/// Prints what holds and what does not.
///
/// # Errors
/// Exit 2: a reference that is none, no trust root. Exit 3: no cosign.
pub async fn run(context: &Context, options: &VerifyOptions) -> Result<Exit> {
    let (reference, trust) = asked(context, options).await?;
    attest::provide(context).await?;
    let looking = context.board.step(&format!("looking at {}", reference.shown()));
    let looked = look::look(context, &reference, &trust, options.max_age).await;
    drop(looking);
    context.board.finish();
    let mut answer = looked?;
    let exit = answer.judge();
    report::say(&match context.options.format {
        Format::Human => answer.shown(context.board.paint()),
        Format::Json => serde_json::to_string_pretty(&answer)?,
    });
    Ok(exit)
}

/// Which image, and whom to trust about it. The checkout's own settings are read only where they are needed.
async fn asked(context: &Context, options: &VerifyOptions) -> Result<(Reference, Trust)> {
    let given = given(options);
    let registry = options.registry.as_deref();
    match Named::parse(&options.image)? {
        Named::Image(reference) => match given {
            Some(trust) => Ok((reference, trust)),
            None => {
                let owner = reference
                    .repository
                    .rsplit_once('/')
                    .map_or("", |(owner, _)| owner);
                let place = format!("{}/{owner}", reference.host);
                let settings = Settings::read(context, Some(place.trim_end_matches('/'))).await?;
                Ok((reference, configured(&settings)?))
            }
        },
        Named::Service { name, tag, digest } => {
            let image = image_of(context, &name).await?;
            let settings = Settings::read(context, registry).await?;
            let trust = match given {
                Some(trust) => trust,
                None => configured(&settings)?,
            };
            let repository = settings.repository(&image);
            Ok((Reference::new(settings.host, repository, tag, digest), trust))
        }
    }
}

fn given(options: &VerifyOptions) -> Option<Trust> {
    let identity = options.identity.clone().zip(options.issuer.clone());
    let identity = identity.map(|(identity, issuer)| Trust::Identity { issuer, identity });
    identity.or_else(|| options.key.clone().map(Trust::Key))
}

fn configured(settings: &Settings) -> Result<Trust> {
    settings.trust.clone().ok_or_else(|| {
        Failure::usage(
            "nothing says whose signature is to be trusted",
            "name a public key (--key FILE) or an identity (--identity, --issuer), or commit one as [trust] in docker/policy/release.toml",
        )
        .into()
    })
}

/// The image of a service, by the service's name or by its own.
async fn image_of(context: &Context, name: &str) -> Result<String> {
    let catalogue = planning::read_catalogue(context).await?;
    let named = catalogue.services.iter().find(|service| service.image == name);
    match named {
        Some(service) => Ok(service.image.clone()),
        None => Ok(catalogue.select(&[name.to_owned()])?.remove(0).image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(key: Option<&str>, identity: Option<(&str, &str)>) -> VerifyOptions {
        VerifyOptions {
            image: "ghcr.io/acme/x".into(),
            registry: None,
            key: key.map(str::to_owned),
            identity: identity.map(|(identity, _)| identity.to_owned()),
            issuer: identity.map(|(_, issuer)| issuer.to_owned()),
            max_age: None,
            setup: false,
            format: Format::Human,
        }
    }

    #[test]
    fn whom_to_trust_is_what_was_said() {
        let key = Trust::Key("k.pub".into());
        assert_eq!(given(&options(Some("k.pub"), None)), Some(key));
        let identity = Trust::Identity {
            identity: "^x".into(),
            issuer: "https://i".into(),
        };
        assert_eq!(given(&options(None, Some(("^x", "https://i")))), Some(identity));
        assert_eq!(given(&options(None, None)), None);
    }
}
