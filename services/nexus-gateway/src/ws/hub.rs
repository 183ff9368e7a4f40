//! All connections of this replica: how many each user has, and what they share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{config::Sockets, routes::caller::Caller};

type Counts = HashMap<(Arc<str>, Arc<str>), u32>;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Sockets,
    counts: Mutex<Counts>,
}

impl Hub {
    pub(crate) fn new(settings: Sockets) -> Self {
        Self(Arc::new(Inner {
            settings,
            counts: Mutex::default(),
        }))
    }

    pub(crate) fn settings(&self) -> &Sockets {
        &self.0.settings
    }

    /// One more connection of this user, until the value is dropped. `None`: there are too many.
    pub(crate) fn enter(&self, caller: &Caller) -> Option<Place> {
        let key = (caller.tenant.clone(), caller.user.clone());
        let mut counts = self.counts();
        let count = counts.entry(key.clone()).or_default();
        if *count >= self.0.settings.per_user {
            return None;
        }
        *count += 1;
        Some(Place {
            hub: self.clone(),
            key,
        })
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts.
#[derive(Debug)]
pub(crate) struct Place {
    hub: Hub,
    key: (Arc<str>, Arc<str>),
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.hub.counts();
        let left = counts.get_mut(&self.key).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            counts.remove(&self.key);
        }
    }
}
