//! Request bodies, and the errors for those that cannot be read.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::association::{NewAssociation, NewAssociationBody, new_associations};
use super::quirks::{Quirks, ValueTypes};
use super::reply::Refusal;

/// One input of a batch write, read and checked for completeness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteInput {
    pub(crate) id: String,
    pub(crate) id_property: Option<String>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) associations: Vec<NewAssociation>,
}

/// What a batch write input must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Creation: no id.
    None,
    Required,
}

/// Body of a batch read.
#[derive(Debug, Clone)]
pub(crate) struct ReadRequest {
    pub(crate) ids: Vec<String>,
    pub(crate) id_property: Option<String>,
    pub(crate) properties: Vec<String>,
}

#[derive(Deserialize)]
struct WireBatch<I> {
    inputs: Option<Vec<I>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: DeserializeOwned")]
struct WireInput<T> {
    id: Option<T>,
    id_property: Option<String>,
    properties: Option<BTreeMap<String, T>>,
    object_write_trace_id: Option<String>,
    associations: Option<Vec<NewAssociationBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: DeserializeOwned")]
struct WireRead<T> {
    inputs: Option<Vec<WireId<T>>>,
    id_property: Option<String>,
    properties: Option<Vec<String>>,
    properties_with_history: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct WireId<T> {
    id: Option<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct WireSingle<T> {
    properties: Option<BTreeMap<String, T>>,
    associations: Option<Vec<NewAssociationBody>>,
}

/// A text that may also be written as a JSON number or boolean.
pub(crate) struct Coerced(String);

impl From<Coerced> for String {
    fn from(text: Coerced) -> Self {
        text.0
    }
}

impl<'de> Deserialize<'de> for Coerced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Coerced;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, number or boolean")
            }
            fn visit_str<E>(self, v: &str) -> Result<Coerced, E> {
                Ok(Coerced(v.to_owned()))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Coerced, E> {
                Ok(Coerced(v.to_string()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Coerced, E> {
                Ok(Coerced(v.to_string()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Coerced, E> {
                Ok(Coerced(v.to_string()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Coerced, E> {
                Ok(Coerced(v.to_string()))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

/// Reads a JSON body.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let cause = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        Refusal::plain(400, format!("Invalid input JSON on line {line}, column {column}: {cause}"))
    })
}

pub(crate) fn unset(attribute: &str) -> Refusal {
    Refusal::validation(format!("Invalid input JSON: some of required attributes are not set [{attribute}]"))
}

/// What the simulator does not hold is refused: silently dropping it would look like a success.
pub(crate) fn not_simulated(what: &str) -> Refusal {
    Refusal::plain(501, format!("The simulator keeps no {what}; leave them out of the request"))
}

/// Reads a batch write; `None` when the body has no `inputs`.
pub(crate) fn batch_write(
    body: &[u8],
    identity: Identity,
    quirks: &Quirks,
) -> Result<Option<Vec<WriteInput>>, Refusal> {
    match quirks.value_types {
        ValueTypes::Strings => batch_write_of::<String>(body, identity),
        ValueTypes::Coerced => batch_write_of::<Coerced>(body, identity),
    }
}

fn batch_write_of<T: DeserializeOwned + Into<String>>(
    body: &[u8],
    identity: Identity,
) -> Result<Option<Vec<WriteInput>>, Refusal> {
    let batch: WireBatch<WireInput<T>> = json(body)?;
    let Some(inputs) = batch.inputs else { return Ok(None) };
    let mut read = Vec::with_capacity(inputs.len());
    for input in inputs {
        let id = match identity {
            Identity::None => String::new(),
            Identity::Required => input.id.ok_or_else(|| unset("id"))?.into(),
        };
        let properties = input.properties.ok_or_else(|| unset("properties"))?;
        // Only creation knows associations. Elsewhere they are passed over, like any field that is not in the schema.
        let associations = match identity {
            Identity::None => new_associations(input.associations)?,
            Identity::Required => Vec::new(),
        };
        read.push(WriteInput {
            id,
            id_property: input.id_property,
            properties: texts(properties),
            trace_id: input.object_write_trace_id,
            associations,
        });
    }
    Ok(Some(read))
}

/// Reads a batch read; `None` when the body has no `inputs`.
pub(crate) fn batch_read(body: &[u8], quirks: &Quirks) -> Result<Option<ReadRequest>, Refusal> {
    match quirks.value_types {
        ValueTypes::Strings => batch_read_of::<String>(body),
        ValueTypes::Coerced => batch_read_of::<Coerced>(body),
    }
}

fn batch_read_of<T: DeserializeOwned + Into<String>>(body: &[u8]) -> Result<Option<ReadRequest>, Refusal> {
    let request: WireRead<T> = json(body)?;
    if request.properties_with_history.is_some_and(|list| !list.is_empty()) {
        return Err(not_simulated("property history"));
    }
    let Some(inputs) = request.inputs else { return Ok(None) };
    let ids = inputs.into_iter().map(|i| i.id.map(Into::into).ok_or_else(|| unset("id"))).collect::<Result<_, _>>()?;
    Ok(Some(ReadRequest { ids, id_property: request.id_property, properties: request.properties.unwrap_or_default() }))
}

/// Ids of a batch archive; `None` when the body has no `inputs`. Numbers are taken too: the real service was seen to.
pub(crate) fn batch_archive(body: &[u8]) -> Result<Option<Vec<String>>, Refusal> {
    let batch: WireBatch<WireId<Coerced>> = json(body)?;
    let Some(inputs) = batch.inputs else { return Ok(None) };
    inputs.into_iter().map(|i| i.id.map(Into::into).ok_or_else(|| unset("id"))).collect::<Result<_, _>>().map(Some)
}

/// Body of a single create or update.
#[derive(Debug)]
pub(crate) struct SingleWrite {
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) associations: Vec<NewAssociation>,
}

/// Reads a single create or update.
pub(crate) fn single(body: &[u8], quirks: &Quirks) -> Result<SingleWrite, Refusal> {
    match quirks.value_types {
        ValueTypes::Strings => single_of::<String>(body),
        ValueTypes::Coerced => single_of::<Coerced>(body),
    }
}

fn single_of<T: DeserializeOwned + Into<String>>(body: &[u8]) -> Result<SingleWrite, Refusal> {
    let request: WireSingle<T> = json(body)?;
    let properties = request.properties.map(texts).ok_or_else(|| unset("properties"))?;
    Ok(SingleWrite { properties, associations: new_associations(request.associations)? })
}

fn texts<T: Into<String>>(properties: BTreeMap<String, T>) -> BTreeMap<String, String> {
    properties.into_iter().map(|(name, value)| (name, value.into())).collect()
}
