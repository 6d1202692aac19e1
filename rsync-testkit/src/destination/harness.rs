//! What the author of a destination supplies.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::Destination;
use rsync_core::destination::Target;
use rsync_core::ids::FieldName;

/// Result of everything a harness does. Its errors fail the case that met them.
pub type HarnessResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A record as the service holds it: fields as text, empty ones left out or empty.
///
/// Numbers are written in plain decimal notation, booleans as `true` and `false`, days as `YYYY-MM-DD` or
/// milliseconds since 1970, moments as RFC 3339 or milliseconds since 1970, lists joined by `;` or as JSON.
pub type Record = BTreeMap<String, String>;

/// A service under test, an adapter for it, and a way to see the service's truth.
#[async_trait]
pub trait Harness: Send + Sync {
    /// An object to write to. On a service of our own an empty one each time; on a shared one it may be the
    /// same each time, if [`Harness::list`] then tells only the records made since.
    async fn fresh_target(&self) -> HarnessResult<Target>;

    /// The adapter under test, with working credentials.
    fn destination(&self) -> Arc<dyn Destination>;

    /// The record of this key, read without the adapter: from the service's store, or over its interface with
    /// another client. `None` if there is none. A service that applies writes late is waited for here.
    async fn read_back(&self, target: &Target, key: &str) -> HarnessResult<Option<Record>>;

    /// The keys of all records of `target` as stored, in any order, read without the adapter.
    async fn list(&self, target: &Target) -> HarnessResult<Vec<String>>;

    /// The entries that were appended to `target`, oldest first, read without the adapter. Needed where the destination
    /// appends.
    async fn entries(&self, _target: &Target) -> HarnessResult<Vec<Record>> {
        Err("the harness does not say which entries there are".into())
    }

    /// The keys of the members of the audience `target`, in any order, read without the adapter. Needed where the
    /// destination has audiences.
    async fn members(&self, _target: &Target) -> HarnessResult<Vec<String>> {
        Err("the harness does not say who is a member".into())
    }

    /// How many requests the service has received so far.
    async fn requests(&self) -> HarnessResult<RequestCounts>;

    /// Fields of a fresh target that the suite may write.
    fn fields(&self) -> SampleFields;

    /// A key that carries `text`, unchanged if the service takes any text as a key. Different texts must give
    /// different keys. A service keyed by e-mail address answers `{text}@example.com`.
    fn key(&self, text: &str) -> String {
        text.to_owned()
    }

    /// The handle that makes the service fail.
    fn faults(&self) -> Option<&dyn ServiceFaults> {
        None
    }

    /// The same adapter with credentials that the service refuses.
    fn unauthenticated(&self) -> Option<Arc<dyn Destination>> {
        None
    }

    /// The same adapter, pointed to an address where nobody listens.
    fn unreachable(&self) -> Option<Arc<dyn Destination>> {
        None
    }

    /// The name of an object that does not exist; `None` if every name leads to one.
    fn unknown_object(&self) -> Option<String> {
        Some("rsync_no_such_object".to_owned())
    }

    /// The credentials in use: they must not show up in anything the adapter says.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// How long the adapter waits for an answer. The case about lost answers waits twice as long, so a harness
    /// should set it to a second or less; above five seconds the case is left out.
    fn request_timeout(&self) -> Option<Duration> {
        None
    }

    /// Where the service alters what it is given.
    fn quirks(&self) -> Quirks {
        Quirks::default()
    }

    /// Removes what the suite has made. Called once, at the end.
    async fn cleanup(&self) -> HarnessResult<()> {
        Ok(())
    }
}

/// Requests received by the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Those that may change a record.
    pub writing: u64,
    /// All others.
    pub reading: u64,
}

/// Fields of a fresh target, by type, each another one. Those of types that the service does not have are left out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SampleFields {
    /// Free text; every service has one. Not the key field.
    pub text: FieldName,
    /// Whole numbers.
    pub integer: Option<FieldName>,
    /// Floating point numbers.
    pub float: Option<FieldName>,
    /// Decimal numbers; written with 18 digits, 4 of them behind the point.
    pub decimal: Option<FieldName>,
    /// Booleans.
    pub boolean: Option<FieldName>,
    /// Calendar days.
    pub date: Option<FieldName>,
    /// Moments.
    pub timestamp: Option<FieldName>,
    /// Several texts, and at least two texts that may be among them.
    pub text_list: Option<(FieldName, Vec<String>)>,
    /// A field and a text that the service itself refuses in it, such as a word in a number field. It should be
    /// a word that nothing else contains, since it must not show up in errors.
    pub invalid: Option<(FieldName, String)>,
    /// A field that exists and cannot be written.
    pub read_only: Option<FieldName>,
}

impl SampleFields {
    /// Only a text field.
    pub fn new(text: impl Into<FieldName>) -> Self {
        Self {
            text: text.into(),
            integer: None,
            float: None,
            decimal: None,
            boolean: None,
            date: None,
            timestamp: None,
            text_list: None,
            invalid: None,
            read_only: None,
        }
    }
}

/// Where a service alters what it is given, or is laxer than others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quirks {
    /// An empty text empties the field.
    pub empty_text_clears: bool,
    /// White space at both ends of a text is lost.
    pub trims_text: bool,
    /// Line breaks in a text are stored as `\n`, whatever they were.
    pub folds_line_breaks: bool,
    /// Any field name is taken, so that there is no unknown field.
    pub open_fields: bool,
}

/// Which requests a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Those that may change a record.
    Writing,
    /// Those that read records: lookups, not descriptions or the fetching of tokens.
    Reading,
}

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceFault {
    /// An answer with this status and the service's own body for it. The request has no effect.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Value of `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// The connection is cut without an answer; the request has no effect.
    ResetBefore,
    /// The connection is cut without an answer, after the request took effect.
    ResetAfter,
    /// The request takes effect; the answer is complete HTTP whose JSON stops early.
    TruncatedBody,
    /// The request takes effect; the answer is a 200 with an HTML page.
    HtmlPage,
    /// The request takes effect; the answer is a 200 without a body.
    EmptyBody,
    /// The request takes effect; the answer leaves out one of the rows.
    MissingOutcome,
    /// A 307 to the same address. The request has no effect, and would have if it was sent again.
    Redirect,
    /// The request takes effect at once, and the answer comes after this time.
    Late(Duration),
}

/// Makes the service fail.
#[async_trait]
pub trait ServiceFaults: Send + Sync {
    /// Arms `fault` for the next `times` requests of this kind, in place of what was armed before. `false` if
    /// this service cannot be made to fail so.
    async fn arm(&self, fault: &ServiceFault, on: RequestKind, times: u64) -> HarnessResult<bool>;

    /// How often the armed fault happened.
    async fn fired(&self) -> HarnessResult<u64>;

    /// Takes the fault away.
    async fn disarm(&self) -> HarnessResult<()>;
}
