//! The cases, by subject.

mod append;
mod audience;
mod faults;
mod keys;
mod lookup;
mod nulls;
mod operations;
mod partial;
mod policies;
mod safety;
mod shape;
mod values;

use futures::future::BoxFuture;

use super::bench::{Bench, CaseResult};

/// A case: what must be true, and how it is found out.
pub(super) struct Case {
    /// Number in the specification.
    pub(super) number: &'static str,
    /// What must be true.
    pub(super) name: &'static str,
    pub(super) run: for<'b> fn(&'b Bench<'b>) -> BoxFuture<'b, CaseResult>,
}

macro_rules! cases {
    ($($number:literal $name:literal $run:path;)+) => {
        &[$(Case { number: $number, name: $name, run: |bench| Box::pin($run(bench)) }),+]
    };
}

/// All cases in the order they run: what the others rest on first, the search of what was said last.
pub(super) fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter()
}

const CASES: &[Case] = cases! {
    "-"   "read-back sees what is written and only that" shape::read_back;
    "D1"  "one row has one outcome" shape::one_row;
    "D1"  "outcomes come in the order of the rows" shape::order;
    "D1"  "as many rows as the limit allows" shape::exactly_the_limit;
    "D1"  "a slice of a larger batch is written, its neighbours are not" shape::sliced;
    "D11" "one row more than the limit is refused without a request" shape::over_the_limit;
    "D11" "an empty batch sends nothing" shape::empty;
    "D11" "operations that are not offered are refused without a request" shape::not_offered;
    "D8"  "the capability is sound and stays the same" shape::capability;
    "-"   "upsert creates what is missing and updates what is there" operations::upsert;
    "-"   "create makes new records and rejects existing ones" operations::create;
    "-"   "update changes existing records and rejects missing ones" operations::update;
    "-"   "delete removes records, and has nothing against missing ones" operations::delete;
    "-"   "update by record id changes that record and no other" operations::update_by_id;
    "-"   "delete by record id removes records, and has nothing against missing ones" operations::delete_by_id;
    "D3"  "the same batch twice changes nothing" operations::replay;
    "D13" "an append adds an entry a row" append::adds;
    "D13" "an entry that is sent twice is there once" append::twice;
    "D13" "outcomes of an append come in the order of the rows" append::order;
    "D14" "members come and go, and their records stay as they are" audience::membership;
    "D14" "members by record id come and go, and their records stay as they are" audience::membership_by_id;
    "D14" "nobody is made to be a member" audience::nobody;
    "-"   "a cleared field becomes empty" nulls::clear;
    "-"   "an absent field keeps its value" nulls::absent;
    "-"   "an empty text is stored as such or rejected" nulls::empty_text;
    "-"   "a null in the first row says nothing about the others" nulls::first_row;
    "-"   "a field keeps the policies that it declares" policies::native;
    "-"   "texts are stored to the letter or rejected" values::text;
    "-"   "numbers are stored exactly or rejected" values::numbers;
    "-"   "booleans are stored" values::booleans;
    "-"   "days and moments are stored exactly or rejected" values::moments;
    "-"   "lists are stored" values::lists;
    "-"   "odd keys address their own record or are rejected" keys::odd;
    "-"   "keys are compared as described" keys::folding;
    "D4"  "a bad row and its neighbours, in every position" partial::bad_rows;
    "-"   "an unknown field is refused, not dropped" partial::unknown_field;
    "-"   "a read-only field is refused, not dropped" partial::read_only_field;
    "D2"  "check, describe and lookup change nothing" lookup::changes_nothing;
    "-"   "an unknown object is an error" lookup::unknown_object;
    "-"   "lookup finds what is there and nothing else" lookup::finds;
    "D11" "more keys than a lookup takes are refused without a request" lookup::over_the_limit;
    "-"   "a lookup that fails is an error, not an empty answer" lookup::failing;
    "D5"  "a 4xx is an error that says what it means" faults::refusals;
    "D6"  "a 5xx leaves the fate open" faults::server_errors;
    "D5"  "a success that cannot be read is not a success" faults::unreadable;
    "D5"  "a row that the answer leaves out is not written" faults::missing_outcome;
    "D6"  "an answer lost after the write leaves the fate open" faults::reset_after;
    "D6"  "a connection cut before the write is not a success" faults::reset_before;
    "D6"  "an answer that comes too late leaves the fate open" faults::late;
    "D6"  "a service that cannot be reached was sent nothing" faults::unreachable;
    "D7"  "the service's delay is carried, not waited for" faults::retry_after;
    "-"   "redirects are not followed" faults::redirect;
    "-"   "refused credentials are told from other errors" safety::unauthenticated;
    "D9"  "a dropped call leaves the adapter usable" safety::dropped;
    "D12" "resuming an unknown job answers with an error" safety::unknown_job;
    "D10" "no value and no secret is said aloud" safety::silence;
};
