//! Bodies of requests about associations.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::reply::Refusal;
use super::super::wire::{Coerced, unset};
use super::{AssociationCategory, TypeRef};

/// An association type as requests spell it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypeBody {
    association_category: Option<AssociationCategory>,
    association_type_id: Option<u32>,
}

impl TypeBody {
    pub(crate) fn read(&self) -> Result<TypeRef, Refusal> {
        let category = self.association_category.ok_or_else(|| unset("associationCategory"))?;
        let id = self.association_type_id.ok_or_else(|| unset("associationTypeId"))?;
        Ok(TypeRef { category, id })
    }
}

pub(crate) fn types(bodies: &[TypeBody]) -> Result<Vec<TypeRef>, Refusal> {
    bodies.iter().map(TypeBody::read).collect()
}

/// A record id in an object of its own. Numbers are taken too: answers carry them.
#[derive(Deserialize)]
pub(crate) struct IdBody {
    id: Option<Coerced>,
}

impl IdBody {
    pub(crate) fn read(self) -> Result<String, Refusal> {
        self.id.map(String::from).ok_or_else(|| unset("id"))
    }
}

/// An association in the body of a record's creation.
#[derive(Deserialize)]
#[serde(bound = "")]
pub(crate) struct NewAssociationBody {
    to: Option<IdBody>,
    types: Option<Vec<TypeBody>>,
}

/// An association that a record is to be created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAssociation {
    pub(crate) to: String,
    pub(crate) types: Vec<TypeRef>,
}

pub(crate) fn new_associations(bodies: Option<Vec<NewAssociationBody>>) -> Result<Vec<NewAssociation>, Refusal> {
    let read = |body: NewAssociationBody| {
        let to = body.to.ok_or_else(|| unset("to"))?.read()?;
        let types = types(&body.types.filter(|types| !types.is_empty()).ok_or_else(|| unset("types"))?)?;
        Ok(NewAssociation { to, types })
    };
    bodies.unwrap_or_default().into_iter().map(read).collect()
}

/// One input of a batch that writes associations.
#[derive(Deserialize)]
pub(crate) struct PairBody {
    pub(crate) from: Option<IdBody>,
    pub(crate) to: Option<IdBody>,
    pub(crate) types: Option<Vec<TypeBody>>,
}

/// One input of a batch that ends associations.
#[derive(Deserialize)]
pub(crate) struct EndedBody {
    pub(crate) from: Option<IdBody>,
    pub(crate) to: Option<Vec<IdBody>>,
}

/// One input of a batch that reads associations.
#[derive(Deserialize)]
pub(crate) struct ReadBody {
    pub(crate) id: Option<Coerced>,
    pub(crate) after: Option<Coerced>,
}

#[derive(Deserialize)]
#[serde(bound = "I: DeserializeOwned")]
struct Batch<I> {
    inputs: Option<Vec<I>>,
}

/// The inputs of a batch, at most so many.
pub(crate) fn inputs<I: DeserializeOwned>(body: &[u8], max: usize) -> Result<Vec<I>, Refusal> {
    let batch: Batch<I> = super::super::wire::json(body)?;
    let inputs = batch.inputs.ok_or_else(|| unset("inputs"))?;
    super::super::batch::check_size(inputs.len(), max)?;
    Ok(inputs)
}
