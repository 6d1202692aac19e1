//! Associations between records: which types there are between two object types, and who is associated with whom.

pub(crate) mod batch;
pub(crate) mod single;
mod standard;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::object_type::ObjectType;
use super::portal::Portal;
use super::reply::{RecordError, Refusal};

pub(crate) use wire::{NewAssociation, NewAssociationBody, new_associations};

/// Most labels that users may define between two object types.
const MAX_LABELS: usize = 50;

/// Who defined an association type. The numbers of one category say nothing about those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum AssociationCategory {
    /// The service.
    HubspotDefined,
    /// A user of the portal.
    UserDefined,
    /// An app.
    IntegratorDefined,
    /// The service, for records of work.
    Work,
}

/// What a request names an association type by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeRef {
    pub(crate) category: AssociationCategory,
    pub(crate) id: u32,
}

/// An association type in one direction.
#[derive(Debug, Clone)]
pub(crate) struct AssociationType {
    pub(crate) this: TypeRef,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) label: Option<String>,
    inverse: TypeRef,
    /// Whether a record has one such association only, so that a new one takes the place of the old.
    single: bool,
}

/// A record: position of its type, and id.
pub(crate) type End = (usize, u64);

/// The association types and associations of a portal. Each association is stored in both directions.
#[derive(Debug, Default)]
pub(crate) struct Associations {
    types: Vec<AssociationType>,
    links: BTreeMap<(End, End), BTreeSet<TypeRef>>,
    next_user_id: u32,
}

impl Associations {
    /// The service's types between its own objects.
    pub(crate) fn standard(objects: &[ObjectType]) -> Self {
        let mut associations = Self { next_user_id: 1, ..Self::default() };
        for (from, to, pair) in standard::pairs(objects) {
            associations.define(from, to, AssociationCategory::HubspotDefined, pair.ids, pair.labels, pair.single);
        }
        associations
    }

    /// Gives two objects, of which one is a user's, an unlabelled type in both directions.
    pub(crate) fn define_between(&mut self, one: usize, other: usize) {
        if self.unlabelled(one, other).is_none() {
            let ids = (self.next_user_id, self.next_user_id + 1);
            self.next_user_id += 2;
            self.define(one, other, AssociationCategory::UserDefined, ids, (None, None), false);
        }
    }

    /// Adds a label of a user, with one for the other direction.
    pub(crate) fn add_label(
        &mut self,
        from: usize,
        to: usize,
        label: &str,
        inverse: &str,
    ) -> Result<[AssociationType; 2], LabelRefused> {
        if self.unlabelled(from, to).is_none() {
            return Err(LabelRefused::NoAssociation);
        }
        let labels = |t: &&AssociationType| t.this.category == AssociationCategory::UserDefined && t.label.is_some();
        if self.between(from, to).filter(labels).any(|t| t.label.as_deref() == Some(label)) {
            return Err(LabelRefused::Exists);
        }
        if self.between(from, to).filter(labels).count() >= MAX_LABELS {
            return Err(LabelRefused::TooMany);
        }
        let ids = (self.next_user_id, self.next_user_id + 1);
        self.next_user_id += 2;
        let at = self.types.len();
        let labels = (Some(label.to_owned()), Some(inverse.to_owned()));
        self.define(from, to, AssociationCategory::UserDefined, ids, labels, false);
        Ok([self.types[at].clone(), self.types[at + 1].clone()])
    }

    fn define(
        &mut self,
        from: usize,
        to: usize,
        category: AssociationCategory,
        ids: (u32, u32),
        labels: (Option<String>, Option<String>),
        single: bool,
    ) {
        let (there, back) = (TypeRef { category, id: ids.0 }, TypeRef { category, id: ids.1 });
        self.types.push(AssociationType { this: there, from, to, label: labels.0, inverse: back, single });
        if (from, there) != (to, back) {
            self.types.push(AssociationType {
                this: back,
                from: to,
                to: from,
                label: labels.1,
                inverse: there,
                single: false,
            });
        }
    }

    /// The types from one object to another.
    pub(crate) fn between(&self, from: usize, to: usize) -> impl Iterator<Item = &AssociationType> {
        self.types.iter().filter(move |t| t.from == from && t.to == to)
    }

    /// The type that a request names, from this object to any other.
    pub(crate) fn named(&self, from: usize, wanted: TypeRef) -> Option<&AssociationType> {
        self.types.iter().find(|t| t.from == from && t.this == wanted)
    }

    fn unlabelled(&self, from: usize, to: usize) -> Option<TypeRef> {
        self.between(from, to).find(|t| t.label.is_none()).map(|t| t.this)
    }

    /// Associates two records. Whatever label is given, the unlabelled association comes with it.
    pub(crate) fn associate(&mut self, from: End, to: End, wanted: TypeRef) {
        let Some(kind) = self.between(from.0, to.0).find(|t| t.this == wanted).cloned() else { return };
        let plain = self.between(from.0, to.0).find(|t| t.label.is_none()).cloned();
        for kind in plain.into_iter().chain([kind]) {
            // A record has one primary association of a kind, whichever side asks for it.
            let (one, direction) = match self.types.iter().find(|t| t.from == to.0 && t.this == kind.inverse) {
                Some(back) if back.single => (to, back.clone()),
                _ => (from, kind.clone()),
            };
            if direction.single {
                self.remove_from(one, &direction);
            }
            self.links.entry((from, to)).or_default().insert(kind.this);
            self.links.entry((to, from)).or_default().insert(kind.inverse);
        }
    }

    /// Takes a type off all associations that a record has from its side.
    fn remove_from(&mut self, from: End, kind: &AssociationType) {
        let others: Vec<End> = self.of(from, kind.to).map(|(to, _)| (kind.to, to)).collect();
        for to in others {
            self.take_off(from, to, kind);
        }
    }

    fn take_off(&mut self, from: End, to: End, kind: &AssociationType) {
        for (ends, gone) in [((from, to), kind.this), ((to, from), kind.inverse)] {
            if let Some(types) = self.links.get_mut(&ends) {
                types.remove(&gone);
                if types.is_empty() {
                    self.links.remove(&ends);
                }
            }
        }
    }

    /// Ends all associations of two records.
    pub(crate) fn dissociate(&mut self, from: End, to: End) {
        self.links.remove(&(from, to));
        self.links.remove(&(to, from));
    }

    /// Takes a label off; without the unlabelled association none is left.
    pub(crate) fn remove_label(&mut self, from: End, to: End, gone: TypeRef) {
        let found = self.between(from.0, to.0).find(|t| t.this == gone).cloned();
        match found {
            Some(kind) if kind.label.is_some() => self.take_off(from, to, &kind),
            Some(_) => self.dissociate(from, to),
            None => {}
        }
    }

    /// The records of a type that a record is associated with, and how.
    pub(crate) fn of(&self, from: End, to: usize) -> impl Iterator<Item = (u64, &BTreeSet<TypeRef>)> {
        self.links.range((from, (to, 0))..=(from, (to, u64::MAX))).map(|((_, (_, id)), types)| (*id, types))
    }

    /// Gives the associations of a record to another one of its type, as a merge does.
    pub(crate) fn hand_over(&mut self, gone: End, kept: End) {
        // What the kept record has comes last: of a kind that it can have once only, its own stays.
        let own = self.cut(kept);
        for (other, types) in self.cut(gone).into_iter().chain(own) {
            if other == kept || other == gone {
                continue;
            }
            for kind in types {
                self.associate(kept, other, kind);
            }
        }
    }

    /// Ends all associations of a record, and says which they were.
    pub(crate) fn cut(&mut self, gone: End) -> Vec<(End, BTreeSet<TypeRef>)> {
        let ends: Vec<End> =
            self.links.range((gone, (0, 0))..=(gone, (usize::MAX, u64::MAX))).map(|(e, _)| e.1).collect();
        let mut cut = Vec::with_capacity(ends.len());
        for other in ends {
            cut.extend(self.links.remove(&(gone, other)).map(|types| (other, types)));
            self.links.remove(&(other, gone));
        }
        cut
    }
}

/// Why a label was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelRefused {
    NoAssociation,
    Exists,
    TooMany,
}

impl LabelRefused {
    pub(crate) fn message(self) -> String {
        match self {
            Self::NoAssociation => "These objects cannot be associated".to_owned(),
            Self::Exists => "A label of that name exists already".to_owned(),
            Self::TooMany => format!("Two objects can have at most {MAX_LABELS} labels"),
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::NoAssociation => Refusal::validation(self.message()),
            Self::Exists => Refusal::plain(409, self.message()).category("CONFLICT"),
            Self::TooMany => Refusal::plain(437, self.message()),
        }
    }
}

impl Portal {
    /// A live record by the text of its id, or why it cannot be associated.
    fn associable(&self, position: usize, id: &str) -> Result<End, RecordError> {
        let invalid = |sub_category, message, name, id: &str| {
            let context = BTreeMap::from([(name, vec![id.to_owned()])]);
            RecordError::new("VALIDATION_ERROR", message, context).sub_category(sub_category)
        };
        let Some(number) = super::batch::parse_id(id) else {
            return Err(invalid("crm.associations.INVALID_IDENTIFIER", format!("{id} is not a valid ID"), "id", id));
        };
        let kind = &self.types[position];
        match super::batch::find(self, kind, id, None) {
            Some(found) => Ok((position, found)),
            None => {
                let message = format!("{}={number} is not valid", kind.shouted());
                Err(invalid("crm.associations.INVALID_OBJECT_IDS", message, "id", id))
            }
        }
    }
}

impl Portal {
    /// Checks the associations that a record of a type is to be created with.
    pub(crate) fn associated(&self, kind: &ObjectType, wanted: &[NewAssociation]) -> Result<(), RecordError> {
        let Some(from) = self.types.iter().position(|t| t.type_id == kind.type_id) else { return Ok(()) };
        for association in wanted {
            for named in &association.types {
                match self.associations.named(from, *named) {
                    Some(found) => self.associable(found.to, &association.to).map(|_| ())?,
                    None => {
                        let message = format!("{} is not an association type of {}", named.id, kind.type_id);
                        let context = BTreeMap::from([("associationTypeId", vec![named.id.to_string()])]);
                        return Err(RecordError::new("VALIDATION_ERROR", message, context)
                            .sub_category("crm.associations.INVALID_ASSOCIATION_TYPE"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Carries out what [`Portal::associated`] has checked.
    pub(crate) fn associate_new(&mut self, from: usize, id: u64, wanted: &[NewAssociation]) {
        for association in wanted {
            for named in &association.types {
                let to = self.associations.named(from, *named).map(|found| found.to);
                if let Some(Ok(other)) = to.map(|to| self.associable(to, &association.to)) {
                    self.associations.associate((from, id), other, *named);
                    self.stats.associations_written += 1;
                }
            }
        }
    }
}
