//! The service's JSON, read leniently in shape and strictly in meaning: an unexpected type of an unimportant field
//! does not lose an answer, and nothing is taken for more than it says.

use std::borrow::Cow;
use std::fmt;

use rsync_http::json::{Object, Scalar};
use serde::Deserialize as DeriveDeserialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A list of texts; a single text counts as a list of one, anything else as none.
#[derive(Clone, Default)]
pub(crate) struct Texts<'a>(pub(crate) Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Texts(vec![Cow::Borrowed(text)]))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Texts(vec![Cow::Owned(text.to_owned())]))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Texts::default())
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Texts(vec![Cow::Owned(number.to_string())]))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Texts(vec![Cow::Owned(number.to_string())]))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Texts::default())
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Texts::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(item) = items.next_element::<Scalar<'de>>()? {
                    texts.extend(item.into_text());
                }
                Ok(Texts(texts))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Texts::default())
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// A JSON object whose entries are looked up by name. Anything that is no object counts as empty.
#[derive(Clone)]
pub(crate) struct Entries<'a, T>(Vec<(Cow<'a, str>, T)>);

impl<T> Default for Entries<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entries<'_, T> {
    /// The entry of that name. A name that occurs twice says nothing.
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        let mut found = self.0.iter().filter(|(entry, _)| entry == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Entries<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<'de, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some((name, value)) = map.next_entry::<Scalar<'de>, T>()? {
                    entries.extend(name.into_text().map(|name| (name, value)));
                }
                Ok(Entries(entries))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Entries::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entries::default())
            }
        }
        deserializer.deserialize_any(EntriesVisitor(std::marker::PhantomData))
    }
}

/// The answer to a batch call.
#[derive(DeriveDeserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchAnswer<'a> {
    #[serde(borrow, default)]
    pub(crate) status: Scalar<'a>,
    #[serde(borrow, default)]
    pub(crate) results: Option<Vec<Object<Record<'a>>>>,
    #[serde(borrow, default)]
    pub(crate) errors: Option<Vec<Object<Fault<'a>>>>,
    #[serde(default)]
    pub(crate) num_errors: Option<u64>,
    #[serde(default)]
    pub(crate) total: Option<u64>,
    #[serde(borrow, default)]
    pub(crate) paging: Option<Object<Paging<'a>>>,
}

impl BatchAnswer<'_> {
    pub(crate) fn is_complete(&self) -> bool {
        self.status.as_str().is_none_or(|status| status == "COMPLETE")
    }

    pub(crate) fn faults(&self) -> &[Object<Fault<'_>>] {
        self.errors.as_deref().unwrap_or_default()
    }
}

/// Where a search goes on.
#[derive(DeriveDeserialize)]
pub(crate) struct Paging<'a> {
    #[serde(borrow, default)]
    pub(crate) next: Option<Object<Next<'a>>>,
}

/// The next page of a search.
#[derive(DeriveDeserialize)]
pub(crate) struct Next<'a> {
    #[serde(borrow, default)]
    pub(crate) after: Scalar<'a>,
}

/// A record in a batch answer.
#[derive(DeriveDeserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record<'a> {
    #[serde(borrow, default)]
    pub(crate) id: Scalar<'a>,
    #[serde(borrow, default)]
    pub(crate) new: Scalar<'a>,
    #[serde(borrow, default)]
    pub(crate) object_write_trace_id: Scalar<'a>,
    #[serde(borrow, default)]
    pub(crate) properties: Entries<'a, Scalar<'a>>,
}

impl Record<'_> {
    /// The record's id; an empty one is none.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_str().filter(|id| !id.is_empty())
    }

    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).and_then(Scalar::as_str)
    }
}

/// An error: the body of a refused request, or one entry of a batch answer's `errors`.
#[derive(Default, DeriveDeserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Fault<'a> {
    #[serde(borrow)]
    pub(crate) category: Scalar<'a>,
    #[serde(borrow)]
    pub(crate) message: Scalar<'a>,
    #[serde(borrow)]
    pub(crate) code: Scalar<'a>,
    #[serde(borrow)]
    pub(crate) correlation_id: Scalar<'a>,
    #[serde(borrow)]
    pub(crate) policy_name: Scalar<'a>,
    #[serde(borrow)]
    pub(crate) context: Entries<'a, Texts<'a>>,
    #[serde(borrow)]
    pub(crate) errors: Option<Vec<Object<Fault<'a>>>>,
}

impl Fault<'_> {
    pub(crate) fn context(&self, name: &str) -> &[Cow<'_, str>] {
        self.context.get(name).map(|texts| texts.0.as_slice()).unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.message.as_str().unwrap_or_default()
    }
}

/// The property at fault, as the list inside a message names it.
#[derive(DeriveDeserialize)]
pub(crate) struct PropertyFault<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Scalar<'a>,
    #[serde(borrow, default)]
    pub(crate) error: Scalar<'a>,
}
