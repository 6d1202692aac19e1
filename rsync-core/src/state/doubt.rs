//! What rows in doubt were sent with. Their images are not what the destination has, so the index does not hold them.

use std::collections::HashMap;

use super::index::Acknowledged;
use super::store::StateRead;
use crate::error::Result;
use crate::ids::FieldName;

impl Acknowledged {
    /// The images that rows in doubt were sent with since they were last acknowledged, oldest first, one after the
    /// other. Images of batches that are in a segment by now are not kept.
    pub(crate) async fn doubtful(&self, read: &dyn StateRead, fields: &[FieldName]) -> Result<HashMap<u128, Vec<u64>>> {
        let mut sent: HashMap<u128, Vec<u64>> = HashMap::new();
        let pending = self.load_pending(read, fields).await?.0;
        for ((intent, ack), remap) in pending.batches.iter().zip(&pending.remaps) {
            let width = intent.width as usize;
            for (row, (key, status)) in intent.keys.iter().zip(&ack.status).enumerate() {
                if status.is_in_doubt() && width > 0 {
                    remap.append(&intent.images[row * width..(row + 1) * width], sent.entry(*key).or_default());
                } else if status.keeps_row() || status.ends_record() {
                    sent.remove(key);
                }
            }
        }
        Ok(sent)
    }
}
