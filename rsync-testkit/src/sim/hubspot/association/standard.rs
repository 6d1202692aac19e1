//! Association types that the service defines between its own objects.

use super::super::object_type::ObjectType;

/// A pair of association types, one for each direction.
pub(crate) struct Pair {
    pub(crate) ids: (u32, u32),
    pub(crate) labels: (Option<String>, Option<String>),
    /// Whether the first object has one such association only.
    pub(crate) single: bool,
}

struct Standard {
    from: &'static str,
    to: &'static str,
    ids: (u32, u32),
    primary: bool,
}

const fn plain(from: &'static str, to: &'static str, there: u32, back: u32) -> Standard {
    Standard { from, to, ids: (there, back), primary: false }
}

const fn primary(from: &'static str, to: &'static str, there: u32, back: u32) -> Standard {
    Standard { from, to, ids: (there, back), primary: true }
}

const STANDARD: &[Standard] = &[
    plain("contacts", "companies", 279, 280),
    primary("contacts", "companies", 1, 2),
    plain("contacts", "deals", 4, 3),
    plain("contacts", "tickets", 15, 16),
    plain("contacts", "contacts", 449, 449),
    plain("companies", "companies", 450, 450),
    plain("deals", "companies", 341, 342),
    primary("deals", "companies", 5, 6),
    plain("deals", "tickets", 27, 28),
    plain("deals", "deals", 451, 451),
    plain("tickets", "companies", 339, 340),
    primary("tickets", "companies", 26, 25),
    plain("tickets", "tickets", 452, 452),
];

/// The pairs with the positions of their objects.
pub(crate) fn pairs(objects: &[ObjectType]) -> impl Iterator<Item = (usize, usize, Pair)> {
    let position = |name: &str| objects.iter().position(|object| object.name == name);
    STANDARD.iter().filter_map(move |standard| {
        let label = || standard.primary.then(|| "Primary".to_owned());
        let pair = Pair { ids: standard.ids, labels: (label(), label()), single: standard.primary };
        Some((position(standard.from)?, position(standard.to)?, pair))
    })
}
