use proptest::prelude::*;

use super::*;

fn texts(list: &[String]) -> Texts {
    let mut texts = Texts::default();
    list.iter().for_each(|text| texts.push(text));
    texts
}

fn status() -> impl Strategy<Value = Status> {
    (0_u8..7).prop_map(|byte| Standing::decode(byte).unwrap().status)
}

prop_compose! {
    fn intent()(n in 0_usize..20, width in 0_u32..4)(
        keys in prop::collection::vec(any::<u128>(), n),
        rows in prop::collection::vec(any::<u64>(), n),
        images in prop::collection::vec(any::<u64>(), n * width as usize),
        operation in any::<u8>(), fields in any::<u32>(), width in Just(width),
    ) -> Intent {
        Intent { operation, fields, width, keys, rows, images }
    }
}

prop_compose! {
    fn ack()(n in 0_usize..20)(
        status in prop::collection::vec(status(), n),
        created in prop::collection::vec(any::<bool>(), n),
        attempts in prop::collection::vec(any::<u8>(), n),
        ids in prop::collection::vec(".{0,12}", n),
        notes in prop::collection::vec((any::<u32>(), ".{0,8}", ".{0,8}"), 0..3),
    ) -> Ack {
        let notes = notes.into_iter().map(|(row, code, field)| Note { row, code, field }).collect();
        Ack { status, created, attempts, ids: texts(&ids), notes }
    }
}

proptest! {
    #[test]
    fn records_round_trip(intent in intent(), ack in ack()) {
        prop_assert_eq!(Intent::decode(&intent.encode()).unwrap(), intent.clone());
        prop_assert_eq!(Ack::decode(&ack.encode()).unwrap(), ack.clone());
        let n = intent.keys.len();
        let standing = Standing { image: true, created: true, ..Standing::of(Status::InDoubt) };
        let keys = KeyBlock {
            keys: intent.keys.clone(), rows: intent.rows.clone(), status: vec![standing; n], attempts: vec![3; n],
        };
        prop_assert_eq!(KeyBlock::decode(&keys.encode()).unwrap(), keys);
        let images = ImageBlock {
            width: intent.width, images: intent.images, ids: texts(&vec!["7".into(); n]), notes: ack.notes,
        };
        prop_assert_eq!(ImageBlock::decode(&images.encode(n)).unwrap(), images);
    }

    #[test]
    fn f07_an_altered_record_is_corrupt_and_never_a_panic(intent in intent(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = intent.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(Intent::decode(&bytes).unwrap_err().kind(), Kind::StateCorrupt);
    }

    #[test]
    fn f07_any_bytes_with_a_right_checksum_decode_or_are_corrupt(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut w = Writer::default();
        w.bytes(&bytes);
        let record = w.finish();
        let kinds = [
            Intent::decode(&record).err().map(|e| e.kind()),
            Ack::decode(&record).err().map(|e| e.kind()),
            KeyBlock::decode(&record).err().map(|e| e.kind()),
            ImageBlock::decode(&record).err().map(|e| e.kind()),
            RunRecord::decode(&record).err().map(|e| e.kind()),
            Binding::decode(&record).err().map(|e| e.kind()),
            SegmentMeta::decode_list(&record).err().map(|e| e.kind()),
        ];
        prop_assert!(kinds.into_iter().flatten().all(|kind| kind == Kind::StateCorrupt));
    }
}

#[test]
fn the_format_of_a_record_does_not_drift() {
    let record = Counters { next_batch: 1, next_segment: 2, next_fields: 3, next_run: 4, building: 5 }.encode();
    let shown: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(&shown[..72], "010000000000000002000000000000000300000004000000000000000500000000000000");
    assert_eq!(record.len(), 36 + 8);
}
