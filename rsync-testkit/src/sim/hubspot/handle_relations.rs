//! What a running simulator knows of associations, lists, consent and sign-in, and what users do to them meanwhile.

use serde::Serialize;

use super::association::{AssociationCategory, End};
use super::batch::parse_id;
use super::consent::{StoredStatus, SubscriptionStatus};
use super::handle::{HubSpotSim, Parts, invalid};
use super::portal::Portal;
use crate::sim::SimError;

/// An association of a record with another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Association {
    /// Id of the other record.
    pub to_id: String,
    /// Who defined the association type.
    pub category: AssociationCategory,
    /// Number of the association type.
    pub type_id: u32,
    /// Its label; the unlabelled type has none.
    pub label: Option<String>,
}

/// A list and its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct List {
    /// Id, a decimal number as text.
    pub id: String,
    /// Name.
    pub name: String,
    /// Ids of the members whose records are live, in order.
    pub members: Vec<String>,
}

fn position(portal: &Portal, object: &str) -> Option<usize> {
    portal.types.iter().position(|kind| kind.name == object || kind.answers_to(object))
}

fn end(portal: &Portal, object: &str, id: &str) -> Option<End> {
    let position = position(portal, object)?;
    let id = parse_id(id).filter(|id| portal.types[position].records.live(*id).is_some())?;
    Some((position, id))
}

impl Parts {
    /// Associations of a record with the records of an object; `None` if there is no such object or record.
    pub(crate) fn associations(&self, object: &str, id: &str, to: &str) -> Option<Vec<Association>> {
        let portal = self.portal.lock();
        let (from, to) = (end(&portal, object, id)?, position(&portal, to)?);
        let mut found = Vec::new();
        for (to_id, types) in portal.associations.of(from, to) {
            for kind in portal.associations.between(from.0, to).filter(|kind| types.contains(&kind.this)) {
                found.push(Association {
                    to_id: to_id.to_string(),
                    category: kind.this.category,
                    type_id: kind.this.id,
                    label: kind.label.clone(),
                });
            }
        }
        Some(found)
    }

    pub(crate) fn lists(&self) -> Vec<List> {
        let portal = self.portal.lock();
        portal
            .lists
            .all()
            .map(|list| List {
                id: list.id.to_string(),
                name: list.name.clone(),
                members: portal.live_members(list).map(|(id, _)| id.to_string()).collect(),
            })
            .collect()
    }
}

impl HubSpotSim {
    /// Associations of a record with the records of another object, in the order of their ids and types. Objects are
    /// given by any of their names; an unknown object or record has none.
    pub fn associations(&self, object: &str, id: &str, to: &str) -> Vec<Association> {
        self.parts.associations(object, id, to).unwrap_or_default()
    }

    /// Associates two records without a label while the simulator runs.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when one of them is not a live record or their objects cannot be associated.
    pub fn associate(&self, object: &str, id: &str, to: &str, to_id: &str) -> Result<(), SimError> {
        let mut portal = self.parts.portal.lock();
        let ends = end(&portal, object, id).zip(end(&portal, to, to_id));
        let (from, to) = ends.ok_or_else(|| invalid(format!("association of {object}: one is no live record")))?;
        let plain = portal.associations.between(from.0, to.0).find(|kind| kind.label.is_none()).map(|kind| kind.this);
        let plain = plain.ok_or_else(|| invalid(format!("association of {object}: the objects have no type")))?;
        portal.associations.associate(from, to, plain);
        Ok(())
    }

    /// All lists that are not deleted, in the order of their creation.
    pub fn lists(&self) -> Vec<List> {
        self.parts.lists()
    }

    /// The list of this name.
    pub fn list(&self, name: &str) -> Option<List> {
        self.lists().into_iter().find(|list| list.name == name)
    }

    /// Makes these records the members of a list, also of one that a filter fills: the simulator plays the filter.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such list or an id is none.
    pub fn set_list_members<'a>(&self, name: &str, ids: impl IntoIterator<Item = &'a str>) -> Result<(), SimError> {
        let mut portal = self.parts.portal.lock();
        let now_ms = portal.now_ms();
        let list = portal.lists.named(name).map(|list| list.id);
        let list = list.ok_or_else(|| invalid(format!("list {name:?}: there is no such list")))?;
        let ids: Option<Vec<u64>> = ids.into_iter().map(parse_id).collect();
        let ids = ids.ok_or_else(|| invalid(format!("list {name:?}: members are record ids")))?;
        if let Some(list) = portal.lists.get_mut(list) {
            list.members = ids.into_iter().map(|id| (id, now_ms)).collect();
        }
        Ok(())
    }

    /// Whether an address is subscribed.
    pub fn subscription_status(&self, email: &str, subscription: u64) -> SubscriptionStatus {
        let portal = self.parts.portal.lock();
        portal.consent.status(email, subscription).map_or(SubscriptionStatus::NotSpecified, |stored| stored.status)
    }

    /// Unsubscribes a person as the link of a message does. [`Quirks::resubscription`] decides whether that can be
    /// undone through the API.
    ///
    /// [`Quirks::resubscription`]: super::Quirks::resubscription
    pub fn opt_out(&self, email: &str, subscription: u64) {
        let mut portal = self.parts.portal.lock();
        let (status, at_ms) = (SubscriptionStatus::Unsubscribed, portal.now_ms());
        let stored = StoredStatus { status, basis: None, explanation: None, at_ms, by_person: true };
        portal.consent.set(email, subscription, stored);
    }

    /// Makes the refresh token of an OAuth client invalid, as reconnecting elsewhere does. Access tokens that it gave
    /// live on until they expire.
    pub fn revoke_refresh_token(&self, client_id: &str) {
        self.parts.portal.lock().revoked_clients.insert(client_id.to_owned());
    }

    /// Uninstalls an OAuth app: its tokens stop working, and refreshing is answered `BAD_HUB`.
    pub fn uninstall_app(&self, client_id: &str) {
        let mut portal = self.parts.portal.lock();
        portal.uninstalled_clients.insert(client_id.to_owned());
        portal.grants.retain(|_, grant| grant.client_id.as_deref() != Some(client_id));
    }

    /// Ends the access tokens that OAuth clients have got, before their time.
    pub fn expire_access_tokens(&self) {
        let mut portal = self.parts.portal.lock();
        let now_ms = portal.now_ms();
        for grant in portal.grants.values_mut().filter(|grant| grant.client_id.is_some()) {
            grant.expires_at_ms = Some(now_ms);
        }
    }
}
