//! Writing the state: intents before a send, acknowledgements after it, segments when enough has gathered.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::ids::{FieldName, JobToken};
use crate::state::codec::{
    Ack, Binding, Counters, DAMAGE_REMEDY, FORMAT, Intent, Note, RunRecord, SegmentMeta, Status, Writer, block_key,
    encode_fields, sequence_key,
};
use crate::state::index::Acknowledged;
use crate::state::life::{DEFINITION, Definition, NOT_BEFORE, ORIGIN, Postponed, StateMark, encode_origin};
use crate::state::segment::{Merge, Pending, Remap, SegmentWriter};
use crate::state::store::{Mutation, StateSession, Table};

/// When to tidy up.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Acknowledged rows that are written as a segment at once: about 15 MB of memory with ten fields.
    flush_rows: usize,
    /// Acknowledged batches that are kept as they are between runs.
    flush_batches: usize,
    /// Segments that a diff reads without a merge.
    segments: usize,
    /// Rows in a block, where its bytes do not limit it before.
    block_rows: u32,
    /// Bytes of blocks in one commit of a merge.
    merge_commit_bytes: usize,
}

const LIMITS: Limits =
    Limits { flush_rows: 131_072, flush_batches: 512, segments: 8, block_rows: u32::MAX, merge_commit_bytes: 8 << 20 };

/// The writing side of a sync's state.
#[derive(Debug)]
pub(crate) struct Journal {
    session: Arc<dyn StateSession>,
    epoch: u64,
    counters: Counters,
    segments: Vec<(SegmentMeta, Remap)>,
    width: usize,
    fields_id: u32,
    /// Lists of fields by id, for batches of earlier runs.
    remaps: Vec<(u32, Remap)>,
    field_lists: Vec<(u32, Vec<FieldName>)>,
    staged: Vec<Mutation>,
    acked_rows: usize,
    acked_batches: usize,
    limits: Limits,
}

impl Journal {
    /// Continues the state that `known` was read from, and begins a run: batches that an earlier run left without
    /// an answer are recorded as in doubt, `run` is recorded as begun. A state that is begun anew replaces the old one in
    /// this same commit.
    pub(crate) async fn begin(
        session: Arc<dyn StateSession>,
        known: &Acknowledged,
        binding: &Binding,
        fields: &[FieldName],
        run: &RunRecord,
    ) -> Result<Self> {
        let mut counters = known.counters;
        let mut staged: Vec<Mutation> =
            known.replaces.iter().map(|(table, key)| Mutation::Delete { table: *table, key: key.clone() }).collect();
        if known.binding.is_none() {
            let mut format = Writer::default();
            format.u32(FORMAT);
            put_meta(&mut staged, b"format", format.finish());
            put_meta(&mut staged, b"binding", binding.encode());
            put_meta(&mut staged, b"segments", SegmentMeta::encode_list(&[]));
            if !known.origin.is_empty() {
                put_meta(&mut staged, ORIGIN, encode_origin(&known.origin));
            }
        } else {
            // It is early no more, or the host would not wait.
            staged.push(Mutation::Delete { table: Table::Meta, key: NOT_BEFORE.to_vec() });
        }
        let fields_id = match known.field_lists.iter().find(|(_, list)| list.as_slice() == fields) {
            Some((id, _)) => *id,
            None => {
                let id = counters.next_fields;
                counters.next_fields += 1;
                put_meta(&mut staged, &[b"fields/".as_slice(), &id.to_be_bytes()].concat(), encode_fields(fields));
                id
            }
        };
        let mut remaps: Vec<(u32, Remap)> =
            known.field_lists.iter().map(|(id, list)| (*id, Remap::new(list, fields))).collect();
        remaps.push((fields_id, Remap::new(fields, fields)));
        let field_lists = known.field_lists.iter().map(|(id, list)| (*id, list.clone())).collect();
        for (sequence, ack) in &known.orphans {
            put(&mut staged, Table::Acks, sequence_key(*sequence), ack.encode());
            staged.push(Mutation::Delete { table: Table::Jobs, key: sequence_key(*sequence) });
        }
        let mut journal = Self {
            epoch: binding.epoch,
            session,
            counters,
            segments: known.segments.clone(),
            width: fields.len(),
            fields_id,
            remaps,
            field_lists,
            staged,
            acked_rows: known.pending_rows,
            acked_batches: known.pending_batches,
            limits: LIMITS,
        };
        journal.discard_unfinished_segment().await?;
        journal.stage_run(journal.counters.next_run, run);
        journal.counters.next_run += 1;
        journal.commit().await?;
        Ok(journal)
    }

    /// Which state it is, and how far it has come.
    pub(crate) fn mark(&self) -> StateMark {
        StateMark::new(self.epoch, self.counters.next_run)
    }

    /// Stages that the next run is to begin later.
    pub(crate) fn stage_postponed(&mut self, postponed: &Postponed) {
        put_meta(&mut self.staged, NOT_BEFORE, postponed.encode());
    }

    /// Stages the definition under which the run wrote.
    pub(crate) fn stage_definition(&mut self, definition: &Definition) {
        put_meta(&mut self.staged, DEFINITION, definition.encode());
    }

    fn stage_run(&mut self, sequence: u64, run: &RunRecord) {
        put(&mut self.staged, Table::Runs, sequence_key(sequence), run.encode());
    }

    /// Removes blocks of a merge that a crash cut short.
    async fn discard_unfinished_segment(&mut self) -> Result<()> {
        let Some(segment) = self.counters.building.checked_sub(1) else { return Ok(()) };
        let mut block = 0;
        while self.session.get(Table::Keys, &block_key(segment, block)).await?.is_some() {
            delete_block(&mut self.staged, segment, block);
            block += 1;
        }
        self.counters.building = 0;
        Ok(())
    }

    /// Stages the intent of a batch with images of the current fields. It is durable after the next
    /// [`Journal::commit`], and only then may the batch be sent.
    pub(crate) fn stage_intent(&mut self, operation: u8, keys: Vec<u128>, rows: Vec<u64>, images: Vec<u64>) -> u64 {
        let width = if images.is_empty() { 0 } else { self.width as u32 };
        let intent = Intent { operation, fields: self.fields_id, width, keys, rows, images };
        let sequence = self.counters.next_batch;
        self.counters.next_batch += 1;
        planted!(NoIntent => crate::defects::withhold(sequence, intent.encode()); return sequence;);
        put(&mut self.staged, Table::Intents, sequence_key(sequence), intent.encode());
        sequence
    }

    /// Stages what became of a batch.
    pub(crate) fn stage_ack(&mut self, sequence: u64, ack: &Ack) {
        planted!(NoIntent => if let Some(intent) = crate::defects::release(sequence) {
            put(&mut self.staged, Table::Intents, sequence_key(sequence), intent);
        });
        put(&mut self.staged, Table::Acks, sequence_key(sequence), ack.encode());
        self.staged.push(Mutation::Delete { table: Table::Jobs, key: sequence_key(sequence) });
        planted!(WatermarkPastFailed => {
            let synced = ack.status.iter().all(|status| *status == Status::Synced);
            for (earlier, rows) in crate::defects::synced_after_failures(sequence, ack.status.len(), synced) {
                put(&mut self.staged, Table::Acks, sequence_key(earlier), Ack::uniform(rows, Status::Synced).encode());
            }
        });
        self.acked_rows += ack.status.len();
        self.acked_batches += 1;
    }

    /// Stages row hashes of rows whose fields are all acknowledged already: nothing is sent for them.
    pub(crate) fn stage_settled(&mut self, keys: Vec<u128>, rows: Vec<u64>) {
        let n = keys.len();
        let sequence = self.stage_intent(0, keys, rows, Vec::new());
        self.stage_ack(sequence, &Ack::uniform(n, Status::Synced));
    }

    /// Stages keys whose records are another key's now, or gone: nothing is sent for them, and they are forgotten.
    pub(crate) fn stage_forgotten(&mut self, keys: Vec<u128>) {
        let n = keys.len();
        let sequence = self.stage_intent(0, keys, vec![0; n], Vec::new());
        self.stage_ack(sequence, &Ack::uniform(n, Status::Removed));
    }

    /// Stages, in place of an intent without rows, what is known of rows that an earlier run began to send under another
    /// mapping maybe: `fields` are those of their images.
    pub(crate) fn stage_late(&mut self, sequence: u64, intent: Intent, fields: &[FieldName]) -> Result<()> {
        let list = self.field_lists.iter().find(|(_, list)| list == fields);
        let (id, _) = list.ok_or_else(|| {
            Error::new(Kind::StateCorrupt, "write the state", "the state does not know the fields of a row that waits")
                .with_remedy(DAMAGE_REMEDY)
        })?;
        put(&mut self.staged, Table::Intents, sequence_key(sequence), Intent { fields: *id, ..intent }.encode());
        Ok(())
    }

    /// Records of the outbox from the key `from` on.
    pub(crate) async fn outbox(&self, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.session.scan(Table::Outbox, from, limit).await
    }

    /// Stages rows that must be kept until the destination has settled them; `None` if none are left.
    pub(crate) fn stage_outbox(&mut self, sequence: u64, record: Option<Vec<u8>>) {
        let key = sequence_key(sequence);
        match record {
            Some(record) => put(&mut self.staged, Table::Outbox, key, record),
            None => self.staged.push(Mutation::Delete { table: Table::Outbox, key }),
        }
    }

    /// Stages where keys stand without anything being sent for them, with the code of the reason.
    pub(crate) fn stage_standing(&mut self, keys: Vec<u128>, rows: Vec<u64>, status: Status, code: &str) {
        let mut ack = Ack::uniform(keys.len(), status);
        let note = |row| Note { row, code: code.to_owned(), field: String::new() };
        ack.notes = (0..keys.len() as u32).map(note).collect();
        let sequence = self.stage_intent(0, keys, rows, Vec::new());
        self.stage_ack(sequence, &ack);
    }

    /// Stages the job that works on a batch.
    pub(crate) fn stage_job(&mut self, sequence: u64, job: &JobToken) {
        let mut record = Writer::default();
        record.str(job.as_str());
        put(&mut self.staged, Table::Jobs, sequence_key(sequence), record.finish());
    }

    /// Makes all that is staged durable, in one transaction.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        if self.staged.is_empty() {
            return Ok(());
        }
        planted!(TornCommit => self.session.commit(std::mem::take(&mut self.staged)).await?);
        put_meta(&mut self.staged, b"counters", self.counters.encode());
        self.session.commit(std::mem::take(&mut self.staged)).await?;
        if self.acked_rows >= self.limits.flush_rows {
            self.flush().await?;
        }
        Ok(())
    }

    /// Moves acknowledged batches into a new segment.
    async fn flush(&mut self) -> Result<()> {
        let (mut batches, mut sequences, mut remaps) = (Vec::new(), Vec::new(), Vec::new());
        let mut from = Vec::new();
        loop {
            const PAGE: usize = 256;
            let page = self.session.scan(Table::Acks, &from, PAGE).await?;
            let full = page.len() == PAGE;
            for (key, ack) in page {
                let Some(intent) = self.session.get(Table::Intents, &key).await? else { continue };
                let intent = Intent::decode(&intent)?;
                remaps.push(self.remap(intent.fields));
                batches.push((intent, Ack::decode(&ack)?));
                from.clone_from(&key);
                from.push(0);
                sequences.push(key);
            }
            if !full {
                break;
            }
        }
        let pending = Pending::new(batches, remaps);
        let mut writer = SegmentWriter::new(self.next_segment(), self.width);
        pending.entries().for_each(|entry| writer.push(entry));
        let (meta, mut mutations) = writer.finish();
        for key in sequences {
            mutations.push(Mutation::Delete { table: Table::Intents, key: key.clone() });
            mutations.push(Mutation::Delete { table: Table::Acks, key });
        }
        if meta.rows > 0 {
            self.segments.push((meta, self.remap(self.fields_id)));
        }
        self.put_segments(&mut mutations);
        self.session.commit(mutations).await?;
        (self.acked_rows, self.acked_batches) = (0, 0);
        Ok(())
    }

    fn next_segment(&mut self) -> SegmentMeta {
        let mut meta = SegmentMeta::new(self.counters.next_segment, self.fields_id, self.width);
        meta.block_rows = meta.block_rows.min(self.limits.block_rows);
        self.counters.next_segment += 1;
        meta
    }

    fn remap(&self, list: u32) -> Remap {
        let known = self.remaps.iter().find(|(id, _)| *id == list);
        known.map_or_else(|| Remap::new(&[], &[]), |(_, remap)| remap.clone())
    }

    fn put_segments(&self, mutations: &mut Vec<Mutation>) {
        let list: Vec<SegmentMeta> = self.segments.iter().map(|(meta, _)| *meta).collect();
        put_meta(mutations, b"segments", SegmentMeta::encode_list(&list));
        put_meta(mutations, b"counters", self.counters.encode());
    }

    /// Merges all segments into one. It comes into force with the last commit; until then the old ones hold.
    async fn merge(&mut self) -> Result<()> {
        let meta = self.next_segment();
        self.counters.building = meta.id + 1;
        let mut mutations = Vec::new();
        put_meta(&mut mutations, b"counters", self.counters.encode());
        self.session.commit(mutations).await?;

        let session = Arc::clone(&self.session);
        let mut writer = SegmentWriter::new(meta, self.width);
        let mut merge = Merge::new(&*session, &self.segments).await?;
        while merge.fill(&*session, &mut writer, self.limits.merge_commit_bytes).await? {
            self.session.commit(writer.take_ready()).await?;
        }
        let (meta, mut mutations) = writer.finish();
        for (old, _) in &self.segments {
            (0..old.blocks()).for_each(|block| delete_block(&mut mutations, old.id, block));
        }
        self.segments = vec![(meta, self.remap(self.fields_id))];
        self.counters.building = 0;
        self.put_segments(&mut mutations);
        self.session.commit(mutations).await
    }

    /// Ends the run: records it, and tidies up where enough has gathered.
    pub(crate) async fn finish(&mut self, run: &RunRecord) -> Result<()> {
        self.stage_run(self.counters.next_run - 1, run);
        self.commit().await?;
        if self.acked_batches >= self.limits.flush_batches {
            self.flush().await?;
        }
        let base = self.segments.first().map_or(0, |(meta, _)| meta.rows);
        let rest: u64 = self.segments.iter().skip(1).map(|(meta, _)| meta.rows).sum();
        if self.segments.len() > self.limits.segments || rest > base / 4 {
            self.merge().await?;
        }
        Ok(())
    }
}

fn put(mutations: &mut Vec<Mutation>, table: Table, key: Vec<u8>, value: Vec<u8>) {
    mutations.push(Mutation::Put { table, key, value });
}

fn put_meta(mutations: &mut Vec<Mutation>, key: &[u8], value: Vec<u8>) {
    put(mutations, Table::Meta, key.to_vec(), value);
}

fn delete_block(mutations: &mut Vec<Mutation>, segment: u64, block: u32) {
    let key = block_key(segment, block);
    mutations.push(Mutation::Delete { table: Table::Keys, key: key.clone() });
    mutations.push(Mutation::Delete { table: Table::Images, key });
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::ids::{KeyHash, RemoteId, SyncId};
    use crate::state::{BoundRecord, MemoryStore, StateStore};

    /// What a key must look like once the state is loaded again.
    #[derive(Clone, Debug, PartialEq)]
    struct Expected {
        status: Status,
        row: u64,
        image: Option<Vec<u64>>,
        record: BoundRecord,
        /// Written after a removal of unknown fate.
        void: bool,
    }

    /// A batch: keys with what becomes of them; `None` for a batch that is never answered.
    type Batch = (Vec<u8>, Option<Vec<Answer>>);
    /// The status, whether the record is new, and whether its id is told.
    type Answer = (Status, bool, bool);

    fn batch() -> impl Strategy<Value = Batch> {
        let status = prop_oneof![
            4 => Just(Status::Synced),
            1 => Just(Status::Failed),
            1 => Just(Status::Rejected),
            1 => Just(Status::InDoubt),
            1 => Just(Status::Removed),
            1 => Just(Status::Missing),
            1 => Just(Status::Leaving),
        ];
        let status = (status, any::<bool>(), any::<bool>());
        prop::collection::btree_set(any::<u8>(), 1..12).prop_flat_map(move |keys| {
            let n = keys.len();
            let answer = prop::option::weighted(0.9, prop::collection::vec(status.clone(), n));
            (Just(keys.into_iter().collect()), answer)
        })
    }

    fn binding() -> Binding {
        let text = || "t".to_owned();
        Binding {
            sync: text(),
            destination: text(),
            account: text(),
            object: text(),
            match_on: text(),
            key: text(),
            hash_key_check: 1,
            epoch: 2,
        }
    }

    fn run_record() -> RunRecord {
        RunRecord {
            run: 1,
            started_ms: 1,
            ended_ms: 2,
            status: "completed".into(),
            source_rows: 0,
            distinct: 0,
            to_write: 0,
            written: 0,
            plan: 0,
        }
    }

    /// Spreads small keys over the whole range, as hashes are.
    fn hashed(key: u8) -> u128 {
        u128::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    async fn session(store: &MemoryStore) -> Arc<dyn StateSession> {
        Arc::from(store.acquire(&SyncId::new("s").unwrap()).await.unwrap())
    }

    /// Writes runs of batches with limits so small that segments and merges come often, and reads the state back
    /// after each.
    async fn histories(runs: Vec<(bool, Vec<Batch>)>) -> Result<()> {
        let store = MemoryStore::new();
        let mut truth: BTreeMap<u8, Expected> = BTreeMap::new();
        let mut next_row = 1;
        for (wide, batches) in runs {
            // The second field comes and goes with the mapping.
            let fields: Vec<FieldName> = if wide { vec!["a".into(), "b".into()] } else { vec!["a".into()] };
            let session = session(&store).await;
            let known = Acknowledged::load(&*session, &fields).await?;
            let mut journal = Journal::begin(Arc::clone(&session), &known, &binding(), &fields, &run_record()).await?;
            journal.limits =
                Limits { flush_rows: 40, flush_batches: 5, segments: 2, block_rows: 7, merge_commit_bytes: 300 };
            let mut unanswered: Vec<u8> = Vec::new();
            for (keys, mut answer) in batches {
                // A run sends a key once.
                if keys.iter().any(|key| unanswered.contains(key)) {
                    continue;
                }
                // Nobody removes a record that is not known any more.
                for (key, (status, ..)) in keys.iter().zip(answer.iter_mut().flatten()) {
                    if *status == Status::Leaving && truth.get(key).is_some_and(|before| before.void) {
                        *status = Status::InDoubt;
                    }
                }
                if answer.is_none() {
                    unanswered.extend(&keys);
                }
                next_row += 1;
                let image: Vec<u64> = (0..fields.len() as u64).map(|field| next_row * 10 + field).collect();
                let n = keys.len();
                let sequence = journal.stage_intent(
                    1,
                    keys.iter().copied().map(hashed).collect(),
                    vec![next_row; n],
                    image.iter().copied().cycle().take(n * fields.len()).collect(),
                );
                let id = |told: bool| if told { format!("r{next_row}") } else { String::new() };
                if let Some(answer) = &answer {
                    let mut ack = Ack::uniform(0, Status::Synced);
                    for (status, created, told) in answer {
                        ack.status.push(*status);
                        ack.created.push(*created);
                        ack.attempts.push(0);
                        ack.ids.push(&id(*told));
                    }
                    journal.stage_ack(sequence, &ack);
                }
                journal.commit().await?;
                for (i, key) in keys.into_iter().enumerate() {
                    let (status, created, told) =
                        answer.as_ref().map_or((Status::InDoubt, false, false), |answer| answer[i]);
                    let before = truth.remove(&key);
                    let over_leaving = before.as_ref().is_some_and(|b| b.void || b.status == Status::Leaving);
                    let void = over_leaving && status != Status::Leaving && !status.ends_record();
                    let before = before.filter(|before| !status.voids(before.status));
                    let row = if status.keeps_row() { next_row } else { 0 };
                    let (mut old, mut record) = before.map(|b| (b.image, b.record)).unwrap_or_default();
                    if status.ends_record() {
                        (old, record) = (None, BoundRecord::default());
                    } else {
                        record.created |= created;
                        record.id = Some(id(told)).filter(|id| !id.is_empty()).map(RemoteId::new).or(record.id);
                    }
                    // A field that was not mapped was never acknowledged, and one that is no longer mapped is forgotten.
                    let image = if status == Status::Synced { Some(image.clone()) } else { old };
                    if status != Status::Removed {
                        truth.insert(key, Expected { status, row, image, record, void });
                    }
                }
            }
            journal.finish(&run_record()).await?;
            drop(journal);
            let known = Acknowledged::load(&*session, &fields).await?;
            check(&known, &*session, &truth, fields.len()).await?;
        }
        Ok(())
    }

    async fn check(
        known: &Acknowledged,
        read: &dyn crate::state::StateRead,
        truth: &BTreeMap<u8, Expected>,
        width: usize,
    ) -> Result<()> {
        assert_eq!(known.len(), truth.len());
        for (key, expected) in truth {
            let position = known.find(KeyHash(hashed(*key))).unwrap();
            let prior = known.prior(position);
            let images = known.images(read, &[position]).await?;
            assert_eq!((prior.status, prior.acknowledged), (expected.status, expected.image.is_some()), "key {key}");
            let image = expected.image.as_ref();
            // Narrower images are filled up, and what is merged under a narrower mapping has lost its second field.
            assert_eq!(Some(images[0]).filter(|_| prior.acknowledged), image.map(|image| image[0]), "key {key}");
            if width == 2 && images[1] != 0 {
                assert_eq!(Some(images[1]), image.and_then(|image| image.get(1).copied()), "key {key}");
            }
            let found = known.find_all(&[Some(KeyHash(hashed(*key)))]);
            assert_eq!(found[0], Some((position, expected.row)), "key {key}");
        }
        let positions: Vec<usize> = (0..known.len()).collect();
        let records = known.records(read, &positions).await?;
        for (key, expected) in truth {
            let position = known.find(KeyHash(hashed(*key))).unwrap();
            assert_eq!(records[position], expected.record, "key {key}");
            assert_eq!(known.records(read, &[position]).await?[0], expected.record, "key {key} alone");
        }
        let ids: HashSet<RemoteId> = records.iter().filter_map(|record| record.id.clone()).collect();
        let naming = known.naming(read, &ids).await?;
        for position in positions.into_iter().filter(|position| records[*position].id.is_some()) {
            assert!(naming.binary_search(&position).is_ok());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn f06_what_was_acknowledged_is_read_back_through_segments_and_merges(
            runs in prop::collection::vec((any::<bool>(), prop::collection::vec(batch(), 0..14)), 1..8)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(histories(runs)).unwrap();
        }
    }
}
