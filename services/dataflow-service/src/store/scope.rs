//! Whose rows a statement may touch, and which of them.

use kit::Identity;

use super::sql::Sql;
use crate::domain::call::Key;
use crate::domain::field::Kind;
use crate::domain::filter::{Condition, Test};
use crate::domain::model::{DELETED, Model, TENANT};
use crate::error::{Error, Result};

/// Which of a model's rows a statement may touch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) model: &'a Model,
    /// Of a multi-tenant model, always.
    tenant: Option<&'a str>,
    include_deleted: bool,
}

impl<'a> Scope<'a> {
    /// # Errors
    /// 403 `TENANT_REQUIRED`: the model belongs to tenants, and the request to none.
    pub(super) fn of(identity: &'a Identity, model: &'a Model) -> Result<Self> {
        let tenant = match (model.config.multi_tenant, identity.tenant.as_deref()) {
            (false, _) => None,
            (true, Some(tenant)) => Some(tenant),
            (true, None) => return Err(Error::tenant_required(&model.name)),
        };
        Ok(Scope {
            model,
            tenant,
            include_deleted: false,
        })
    }

    /// The tenant to whom the rows belong, where they belong to one.
    pub(super) fn tenant(self) -> Option<&'a str> {
        self.tenant
    }

    /// Deleted rows, too, or not.
    pub(super) fn with_deleted(self, include_deleted: bool) -> Self {
        Scope {
            include_deleted,
            ..self
        }
    }

    /// ` WHERE ...`, or nothing.
    pub(super) fn rows(self, sql: Sql, conditions: Vec<Condition>) -> Sql {
        let mut parts: Vec<Part> = Vec::with_capacity(conditions.len() + 2);
        parts.extend(self.tenant.map(Part::Tenant));
        if self.model.config.soft_delete && !self.include_deleted {
            parts.push(Part::NotDeleted);
        }
        parts.extend(conditions.into_iter().map(Part::Asked));
        if parts.is_empty() {
            return sql;
        }
        sql.push(" WHERE ")
            .joined(parts, " AND ", |sql, part| match part {
                Part::Tenant(tenant) => sql
                    .column(TENANT)
                    .push(" = ")
                    .value(Kind::Str, Some(tenant.to_owned())),
                Part::NotDeleted => sql.column(DELETED).push(" IS NULL"),
                Part::Asked(condition) => sql.condition(condition),
            })
    }

    /// The row that a key names.
    pub(super) fn one(self, sql: Sql, key: Key) -> Sql {
        let id = Condition {
            column: "id".to_owned(),
            kind: self.model.id_kind(),
            test: Test::Compare("=", key.id),
        };
        self.rows(sql, std::iter::once(id).chain(key.also).collect())
    }

    pub(super) fn table(self, sql: Sql) -> Sql {
        sql.table(&self.model.table()).push(" AS t")
    }
}

enum Part<'a> {
    Tenant(&'a str),
    NotDeleted,
    Asked(Condition),
}
