//! Where a key stands, as one byte of the state.

/// The standing of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The image is what the destination acknowledged last; the row hash is that of the row it came from, or of the
    /// exit that was carried out.
    Synced = 0,
    /// Not written; to be sent again.
    Failed = 1,
    /// Refused; parked until the row or the mapping changes. The row hash is that of the refused row.
    Rejected = 2,
    /// Sent, fate unknown; to be sent again whatever the source says.
    InDoubt = 3,
    /// Removed at the destination; the key is forgotten when segments are merged.
    Removed = 4,
    /// The destination has no record of the key, and the operation makes none. The row hash is that of the row.
    Missing = 5,
    /// The destination has a record of the key that is not ours, and the operation changes none. The row hash is
    /// that of the row.
    Exists = 6,
    /// A removal was sent, fate unknown. If the key is written again, what was known of its record is void: nobody can
    /// tell whether that wrote the old record or made another.
    Leaving = 7,
}

impl Status {
    const ALL: [Status; 8] = [
        Status::Synced,
        Status::Failed,
        Status::Rejected,
        Status::InDoubt,
        Status::Removed,
        Status::Missing,
        Status::Exists,
        Status::Leaving,
    ];

    /// Whether no record of ours is left, so that what older entries say of the key is void.
    pub(crate) fn ends_record(self) -> bool {
        matches!(self, Status::Removed | Status::Missing | Status::Exists)
    }

    /// Whether the fate of what was sent is unknown.
    pub(crate) fn is_in_doubt(self) -> bool {
        matches!(self, Status::InDoubt | Status::Leaving)
    }

    /// Whether an entry of this status, over one of status `older`, shows nothing of it and what is older still.
    pub(crate) fn voids(self, older: Status) -> bool {
        older.ends_record() || (older == Status::Leaving && self != Status::Leaving)
    }

    /// Whether the hash of the row is kept, so that the same row is known again.
    pub(crate) fn keeps_row(self) -> bool {
        matches!(self, Status::Synced | Status::Rejected | Status::Missing | Status::Exists)
    }
}

/// A status with what else is known of the key's record: one byte, the status in the lower four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The status.
    pub status: Status,
    /// Whether the entry has an image of its own.
    pub image: bool,
    /// Whether this sync made the record.
    pub created: bool,
    /// Whether older entries of the key are void: the record that they speak of is gone.
    pub anew: bool,
}

const IMAGE: u8 = 0x80;
const CREATED: u8 = 0x40;
const ANEW: u8 = 0x20;

impl Standing {
    /// A status and nothing else.
    pub fn of(status: Status) -> Self {
        Self { status, image: false, created: false, anew: false }
    }

    /// The byte.
    pub fn encode(self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        self.status as u8 | flag(self.image, IMAGE) | flag(self.created, CREATED) | flag(self.anew, ANEW)
    }

    /// Reads the byte; `None` if it means nothing.
    pub fn decode(byte: u8) -> Option<Self> {
        let status = *Status::ALL.get(usize::from(byte & !(IMAGE | CREATED | ANEW)))?;
        Some(Self { status, image: byte & IMAGE != 0, created: byte & CREATED != 0, anew: byte & ANEW != 0 })
    }

    /// Whether the byte is that of a synced entry with an image.
    pub(crate) fn is_plain(byte: u8) -> bool {
        byte & !(CREATED | ANEW) == IMAGE | Status::Synced as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_one_standing_or_none() {
        for byte in 0..=u8::MAX {
            match Standing::decode(byte) {
                Some(standing) => assert_eq!(standing.encode(), byte),
                None => assert!(byte & 0x1f > 7, "{byte:#x}"),
            }
        }
        // What states of the first layout hold.
        assert_eq!([Status::Synced, Status::Removed].map(|status| Standing::of(status).encode()), [0, 4]);
        assert!(Standing::is_plain(0x80) && Standing::is_plain(0xe0) && !Standing::is_plain(0x81));
    }
}
