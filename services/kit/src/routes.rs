//! What a service hands to `kit`: its own routes and, where it wants one, a layer around everything it answers.

use axum::Router;

/// A layer around a router.
type Around = Box<dyn FnOnce(Router) -> Router + Send>;

/// A service's own routes. A plain `Router` is one without a layer.
pub struct Routes {
    own: Router,
    around: Option<Around>,
}

impl Routes {
    /// Routes with a layer that sees every call, those for kit's routes and for none at all too; within the log,
    /// the metrics and the request's ids.
    pub fn with_layer(own: Router, around: impl FnOnce(Router) -> Router + Send + 'static) -> Self {
        Routes {
            own,
            around: Some(Box::new(around)),
        }
    }

    pub(crate) fn into_parts(self) -> (Router, impl FnOnce(Router) -> Router) {
        let around = self.around;
        (self.own, move |router| match around {
            Some(around) => around(router),
            None => router,
        })
    }
}

impl From<Router> for Routes {
    fn from(own: Router) -> Self {
        Routes { own, around: None }
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}
