//! Which keys of the state were given a record id, or hold a value, that a run is about to write to.

use xxhash_rust::xxh3::xxh3_64;

use super::index::Acknowledged;
use super::segment::read_block;
use super::store::StateRead;
use crate::error::Result;
use crate::ids::{FieldName, KeyHash};

/// What stands for a record id among claims.
pub(crate) fn claim_of(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

/// Positions of keys by what they claim.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Claims on record ids and the keys that have one, ascending, each pair once.
    pub(crate) ids: Vec<(u64, usize)>,
    /// The keys with one of the values, ascending.
    pub(crate) values: Vec<usize>,
}

impl Acknowledged {
    /// The keys of which any entry names one of `ids`, or has one of `values` as the hash of `field`; both ascend. An
    /// entry that is no longer in force counts too. Reads the whole state.
    pub(crate) async fn claims(
        &self,
        read: &dyn StateRead,
        field: &FieldName,
        ids: &[u64],
        values: &[u64],
    ) -> Result<Claims> {
        let mut claims = Claims::default();
        let mut take = |key: u128, id: &str, value: u64| {
            let claimed = Some(id).filter(|id| !id.is_empty() && !ids.is_empty()).map(claim_of);
            let claimed = claimed.filter(|claim| ids.binary_search(claim).is_ok());
            let holds = value != 0 && values.binary_search(&value).is_ok();
            if claimed.is_none() && !holds {
                return;
            }
            let Some(position) = self.find(KeyHash(key)) else { return };
            claims.ids.extend(claimed.map(|claim| (claim, position)));
            claims.values.extend(holds.then_some(position));
        };
        let pending = self.load_pending(read, std::slice::from_ref(field)).await?.0;
        let mut image = Vec::new();
        for entry in pending.entries() {
            image.clear();
            if let Some((stored, remap)) = entry.image {
                remap.append(stored, &mut image);
            }
            take(entry.key, entry.id, image.first().copied().unwrap_or(0));
        }
        for (meta, _) in &self.segments {
            let fields = self.field_lists.get(&meta.fields);
            let column = fields.and_then(|fields| fields.iter().position(|name| name == field));
            for number in 0..meta.blocks() {
                let (block, images) = read_block(read, meta.id, number).await?;
                let width = images.width as usize;
                for (row, key) in block.keys.iter().enumerate() {
                    let value = column.and_then(|column| images.images.get(row * width + column).copied());
                    take(*key, images.ids.get(row), value.unwrap_or(0));
                }
            }
        }
        claims.ids.sort_unstable();
        claims.ids.dedup();
        claims.values.sort_unstable();
        claims.values.dedup();
        Ok(claims)
    }
}
