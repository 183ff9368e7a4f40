//! The stories of every judged service, told through the edge.

use anyhow::Result;

use crate::stack::{Found, Stack};
use crate::story::{self, Teller, Variables, form};
use crate::verdict::Check;

pub(super) async fn check(stack: &Stack<'_>) -> Result<Found> {
    let mut found = Found::new();
    for service in stack.services().filter(|service| stack.is_judged(&service.name)) {
        for path in form::files(&stack.context.root.join(&service.dir).join("stories"))? {
            let steps = form::story(&path)?;
            let teller = Teller::new(stack.edge().await?)?;
            let teller = teller.inside(stack.engine, stack.container(&service.name)?);
            let check = tell(&teller, &form::title(&path), &steps, stack.given()?).await;
            found.entry(service.name.clone()).or_default().push(check);
        }
    }
    Ok(found)
}

async fn tell(teller: &Teller<'_>, title: &str, steps: &[form::Step], mut variables: Variables) -> Check {
    let name = format!("story {title}");
    for (index, step) in steps.iter().enumerate() {
        if let Err(error) = teller.tell(step, &mut variables).await {
            let asked = story::filled(&step.shown(), &variables);
            let detail = format!("step {} '{}' ({asked}): {error:#}", index + 1, step.name);
            if story::unreached(&error) {
                return Check::undecided(
                    name,
                    detail,
                    "the edge publishes its port on the address by which the engine is reached: let it be reached on all ports, or run there",
                );
            }
            return Check::violated(name, detail, "the services' logs are in logs/network/");
        }
    }
    Check::passed(name, format!("{} steps", steps.len()))
}
