//! What leaves the library by other ways than rows: the ids of batches, and the program it is linked into.

use std::collections::BTreeSet;
use std::fs;

use rsync_core::{HashKey, MemoryStore};

use crate::support::{Parts, key, numbered};

#[tokio::test]
async fn s21_batch_ids_tell_nothing_of_the_rows() {
    let ids = async |rows: usize, hash_key: HashKey| {
        let parts = Parts::of(numbered(rows, 1));
        let sync = parts.builder().state(MemoryStore::new(), hash_key).build().unwrap();
        assert_eq!(sync.run().await.unwrap().totals.written as usize, rows);
        parts.destination.writes().iter().map(|write| write.batch.to_string()).collect::<BTreeSet<_>>()
    };
    let first = ids(300, key()).await;
    assert_eq!((first.len(), &first), (3, &ids(300, key()).await), "an id is the same in every attempt");
    assert!(first.iter().all(|id| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{first:?}");
    // Who knows the rows but not the key cannot make the id, and so not tell whether these rows were sent.
    for other in [[0; 16], *b"a test's own kez"] {
        assert!(first.is_disjoint(&ids(300, HashKey::from_bytes(other)).await));
    }
}

/// Names of what plants defects, backwards, so that the search does not find itself.
const HOOKS: [&str; 3] = ["detnalp_si", "hctaBsporDnosioP", "seruliaf_retfa_decnys"];

#[test]
fn s24_no_hook_for_defects_is_in_a_program_that_links_the_library() {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let holds = |name: &[u8]| {
        let begins = program.iter().enumerate().filter(|(_, byte)| **byte == name[0]);
        begins.map(|(at, _)| at).any(|at| program[at..].starts_with(name))
    };
    // Names of other functions of the library are in it, so those of hooks would be too.
    assert!(holds(b"settle_untried") || holds(b"launch_next_part"), "the program has no symbols to search");
    for hook in HOOKS {
        let name: Vec<u8> = hook.bytes().rev().collect();
        assert!(!holds(&name), "{hook} (backwards) is in the program");
    }
}
