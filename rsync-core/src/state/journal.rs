//! Writing the state: intents before a send, acknowledgements after it, segments when enough has gathered.

use std::sync::Arc;

use crate::error::Result;
use crate::ids::{FieldName, JobToken};
use crate::state::codec::{
    Ack, Binding, Counters, FORMAT, Intent, RunRecord, SegmentMeta, Status, Writer, block_key, encode_fields,
    sequence_key,
};
use crate::state::index::Acknowledged;
use crate::state::segment::{Merge, Pending, Remap, SegmentWriter};
use crate::state::store::{Mutation, StateSession, Table};

/// Acknowledged rows that are written as a segment at once: about 15 MB of memory with ten fields.
const FLUSH_ROWS: usize = 131_072;
/// Acknowledged batches that are kept as they are between runs.
const FLUSH_BATCHES: usize = 4096;
/// Segments that a diff reads without a merge.
const MAX_SEGMENTS: usize = 8;
/// Bytes of blocks in one commit of a merge.
const MERGE_COMMIT_BYTES: usize = 8 << 20;

/// The writing side of a sync's state.
#[derive(Debug)]
pub(crate) struct Journal {
    session: Arc<dyn StateSession>,
    counters: Counters,
    segments: Vec<(SegmentMeta, Remap)>,
    width: usize,
    fields_id: u32,
    /// Lists of fields by id, for batches of earlier runs.
    remaps: Vec<(u32, Remap)>,
    staged: Vec<Mutation>,
    acked_rows: usize,
    acked_batches: usize,
}

impl Journal {
    /// Continues the state that `known` was read from, and begins a run: batches that an earlier run left without
    /// an answer are recorded as in doubt, `run` is recorded as begun.
    pub(crate) async fn begin(
        session: Arc<dyn StateSession>,
        known: &Acknowledged,
        binding: &Binding,
        fields: &[FieldName],
        run: &RunRecord,
    ) -> Result<Self> {
        let mut counters = known.counters;
        let mut staged = Vec::new();
        if known.binding.is_none() {
            let mut format = Writer::default();
            format.u32(FORMAT);
            put_meta(&mut staged, b"format", format.finish());
            put_meta(&mut staged, b"binding", binding.encode());
            put_meta(&mut staged, b"segments", SegmentMeta::encode_list(&[]));
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
        for (sequence, rows) in &known.orphans {
            put(&mut staged, Table::Acks, sequence_key(*sequence), Ack::uniform(*rows, Status::InDoubt).encode());
            staged.push(Mutation::Delete { table: Table::Jobs, key: sequence_key(*sequence) });
        }
        let mut journal = Self {
            session,
            counters,
            segments: known.segments.clone(),
            width: fields.len(),
            fields_id,
            remaps,
            staged,
            acked_rows: known.pending_rows,
            acked_batches: known.pending_batches,
        };
        journal.discard_unfinished_segment().await?;
        journal.stage_run(journal.counters.next_run, run);
        journal.counters.next_run += 1;
        journal.stage_counters();
        journal.commit().await?;
        Ok(journal)
    }

    fn stage_counters(&mut self) {
        put_meta(&mut self.staged, b"counters", self.counters.encode());
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
        put(&mut self.staged, Table::Intents, sequence_key(sequence), intent.encode());
        sequence
    }

    /// Stages what became of a batch.
    pub(crate) fn stage_ack(&mut self, sequence: u64, ack: &Ack) {
        put(&mut self.staged, Table::Acks, sequence_key(sequence), ack.encode());
        self.staged.push(Mutation::Delete { table: Table::Jobs, key: sequence_key(sequence) });
        self.acked_rows += ack.status.len();
        self.acked_batches += 1;
    }

    /// Stages row hashes of rows whose fields are all acknowledged already: nothing is sent for them.
    pub(crate) fn stage_settled(&mut self, keys: Vec<u128>, rows: Vec<u64>) {
        let n = keys.len();
        let sequence = self.stage_intent(0, keys, rows, Vec::new());
        self.stage_ack(sequence, &Ack::uniform(n, Status::Synced));
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
        self.stage_counters();
        self.session.commit(std::mem::take(&mut self.staged)).await?;
        if self.acked_rows >= FLUSH_ROWS {
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
        let mut writer = SegmentWriter::new(self.counters.next_segment, self.fields_id, self.width);
        self.counters.next_segment += 1;
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
        let id = self.counters.next_segment;
        self.counters.next_segment += 1;
        self.counters.building = id + 1;
        let mut mutations = Vec::new();
        put_meta(&mut mutations, b"counters", self.counters.encode());
        self.session.commit(mutations).await?;

        let session = Arc::clone(&self.session);
        let mut writer = SegmentWriter::new(id, self.fields_id, self.width);
        let mut merge = Merge::new(&*session, &self.segments).await?;
        while merge.fill(&*session, &mut writer, MERGE_COMMIT_BYTES).await? {
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
        if self.acked_batches >= FLUSH_BATCHES {
            self.flush().await?;
        }
        let base = self.segments.first().map_or(0, |(meta, _)| meta.rows);
        let rest: u64 = self.segments.iter().skip(1).map(|(meta, _)| meta.rows).sum();
        if self.segments.len() > MAX_SEGMENTS || rest > base / 4 {
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
