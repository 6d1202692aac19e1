//! Who owns a field's value: whether a write may replace what the destination has.

use std::fmt;

use crate::record::FieldType;

/// What a write does to the value that a field already has at the destination.
///
/// All but [`Overwrite`](FieldPolicy::Overwrite) and [`SetOnce`](FieldPolicy::SetOnce) look at that value: the destination
/// itself where it [can](crate::destination::RemoteField::native), else the engine, which reads the records of a batch
/// shortly before it writes them. A change that somebody makes between the two is not seen.
///
/// A row of which a field is left as it is counts as synced: the field is looked at again when the row changes.
///
/// ```
/// use rsync_core::field_policy::FieldPolicy;
/// use rsync_core::mapping::{FieldMap, FieldRule};
/// use rsync_core::record::FieldType;
///
/// let mapping = FieldMap::new()
///     .field(FieldRule::column("id", "ext_id", FieldType::Text))
///     .field(FieldRule::column("phone", "phone", FieldType::Text).policy(FieldPolicy::SetIfEmpty))
///     .field(FieldRule::column("last_seen", "last_seen", FieldType::Timestamp).policy(FieldPolicy::Max));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FieldPolicy {
    /// Replaces it.
    #[default]
    Overwrite,
    /// Sets the field only where it is empty: null, a text of no characters or a list of no items.
    SetIfEmpty,
    /// Sets the field once for each record, and never again. Goes by the state and asks nobody: once the destination has
    /// acknowledged a value from this sync, none is sent any more. Before, a row in doubt is sent again, so that a value
    /// that may have arrived may be replaced once.
    SetOnce,
    /// Replaces the value only if it is the one that this sync wrote last, and sets an empty field that this sync never
    /// wrote. Values are compared exactly, lists with their order.
    CompareAndSet,
    /// Replaces a smaller value, and sets an empty field.
    Max,
    /// Replaces a greater value, and sets an empty field.
    Min,
    /// Adds the items of a list that the field does not have yet.
    SetUnion,
}

impl FieldPolicy {
    /// A stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldPolicy::Overwrite => "overwrite",
            FieldPolicy::SetIfEmpty => "set_if_empty",
            FieldPolicy::SetOnce => "set_once",
            FieldPolicy::CompareAndSet => "compare_and_set",
            FieldPolicy::Max => "max",
            FieldPolicy::Min => "min",
            FieldPolicy::SetUnion => "set_union",
        }
    }

    /// Whether a field of type `ty` can have it.
    pub fn fits(self, ty: FieldType) -> bool {
        match self {
            FieldPolicy::Max | FieldPolicy::Min => matches!(
                ty,
                FieldType::Integer
                    | FieldType::Float
                    | FieldType::Decimal { .. }
                    | FieldType::Date
                    | FieldType::Timestamp
            ),
            FieldPolicy::SetUnion => ty == FieldType::TextList,
            _ => true,
        }
    }

    /// Whether a destination could carry it out by itself. What this sync wrote last is known to the engine only.
    pub fn can_be_native(self) -> bool {
        matches!(self, FieldPolicy::SetIfEmpty | FieldPolicy::Max | FieldPolicy::Min | FieldPolicy::SetUnion)
    }

    /// Why a value was not sent.
    pub(crate) fn kept_code(self) -> &'static str {
        match self {
            FieldPolicy::CompareAndSet => "changed_at_destination",
            FieldPolicy::Max => "not_greater",
            FieldPolicy::Min => "not_smaller",
            FieldPolicy::SetOnce => "set_before",
            _ => "not_empty",
        }
    }
}

impl fmt::Display for FieldPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
