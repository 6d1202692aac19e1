//! The state of one organization, and what every request passes before its endpoint: size, session, version, limits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, AsHeaderName, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Response};
use bytes::Bytes;
use rsync_core::clock::Clock;

use super::bulk::Jobs;
use super::field::Field;
use super::id;
use super::keys::AppKeys;
use super::limits::Usage;
use super::object::Object;
use super::query::Cursor;
use super::quirks::{NotFoundBody, Quirks, SessionRefusal};
use super::records::{Stored, Values};
use super::reply::{Answer, Refusal, RowError, render};
use super::routes::{self, Route};
use super::rules::{AssignmentRule, DuplicateRule, ValidationRule};
use super::seed::{FieldSeed, RowFault, Seed};
use super::session::Sessions;
use super::standard::OBJECTS;
use super::stats::{SalesforceStats, Surface};
use super::value::shown_ms;
use super::write;
use crate::sim::SimError;
use crate::sim::rng::Rng;

/// URI and headers together must stay below this.
const LONGEST_HEAD_BYTES: usize = 16_384;

/// A request to an endpoint. It has no `Debug`: it holds a token and record values.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Decoded segments of the path, without empty ones at its end.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Bytes of the URI as sent.
    pub(crate) uri_bytes: usize,
    /// Where the client found the service.
    pub(crate) base_url: String,
    /// Rows of the request that another one in flight held locks on when it arrived.
    pub(crate) locked_rows: BTreeSet<usize>,
    /// Whether more requests were in flight than are allowed.
    pub(crate) crowded: bool,
}

impl Call {
    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The path of the API version that the request names.
    pub(crate) fn root(&self) -> String {
        format!("/services/data/{}", self.path.get(2).map_or("", String::as_str))
    }

    /// The API version that the request names, for example `66.0`.
    pub(crate) fn version(&self) -> &str {
        self.path.get(2).map_or("", |version| version.trim_start_matches('v'))
    }

    /// A segment after the API version. Routes have checked that it is there.
    pub(crate) fn segment(&self, position: usize) -> &str {
        self.path.get(3 + position).map_or("", String::as_str)
    }

    /// The body as text; JSON in another encoding is none.
    pub(crate) fn text(&self) -> Result<&str, Refusal> {
        std::str::from_utf8(&self.body).map_err(|_| Refusal::parser("Invalid UTF-8 in the request body"))
    }
}

/// A row fault in force.
#[derive(Debug)]
struct ArmedFault {
    fault: RowFault,
    left: Option<u64>,
}

/// An organization.
pub(crate) struct Org {
    pub(crate) organization_id: String,
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) app_approved: bool,
    pub(crate) public_pem: String,
    session_seconds: u64,
    pub(crate) quirks: Quirks,
    clock: Arc<dyn Clock>,
    pub(crate) rng: Rng,
    pub(crate) sessions: Sessions,
    pub(crate) usage: Usage,
    pub(crate) objects: Vec<Object>,
    pub(crate) cursors: HashMap<String, Cursor>,
    pub(crate) jobs: Jobs,
    pub(crate) duplicate_rules: Vec<DuplicateRule>,
    pub(crate) validation_rules: Vec<ValidationRule>,
    pub(crate) assignment_rules: Vec<AssignmentRule>,
    /// Ids of records that the user may not touch.
    pub(crate) out_of_reach: BTreeSet<String>,
    row_faults: Vec<ArmedFault>,
    pub(crate) stats: SalesforceStats,
    last_number: u64,
}

impl Org {
    pub(crate) fn new(seed: &Seed, quirks: Quirks, clock: Arc<dyn Clock>) -> Result<Self, SimError> {
        seed.check()?;
        let mut org = Self {
            organization_id: seed.organization_id.clone(),
            user_id: String::new(),
            username: seed.username.clone(),
            client_id: seed.client_id.clone(),
            client_secret: seed.client_secret.clone(),
            app_approved: seed.app_approved,
            public_pem: AppKeys::of_process()?.public_pem.clone(),
            session_seconds: seed.session_seconds,
            quirks,
            clock,
            rng: Rng::seeded(seed.random_seed),
            sessions: Sessions::default(),
            usage: Usage::new(seed.api_limit),
            objects: OBJECTS.iter().map(Object::standard).collect(),
            cursors: HashMap::new(),
            jobs: Jobs::new(&seed.bulk, &seed.job_faults),
            duplicate_rules: Vec::new(),
            validation_rules: Vec::new(),
            assignment_rules: Vec::new(),
            out_of_reach: BTreeSet::new(),
            row_faults: Vec::new(),
            stats: SalesforceStats::default(),
            last_number: 0,
        };
        org.objects.extend(seed.objects.iter().map(Object::custom));
        for object in &mut org.objects {
            let keys: Vec<Field> = object.fields.iter().filter(|field| field.id_lookup).cloned().collect();
            keys.iter().for_each(|field| object.records.index(field));
        }
        let users = std::iter::once(&seed.username).chain(&seed.users);
        let ids: Vec<String> = users.map(|username| org.employ(username)).collect();
        org.user_id = ids.into_iter().next().unwrap_or_default();
        let mut problems = Vec::new();
        let customs = seed.objects.iter().map(|object| (&object.name, &object.fields));
        for (object, fields) in seed.fields.iter().chain(customs) {
            for field in fields {
                if let Err(problem) = org.define(object, field) {
                    problems.push(format!("fields.{object}.{}: {problem}", field.name));
                }
            }
        }
        for (object, records) in &seed.records {
            for (i, record) in records.iter().enumerate() {
                if let Err(problem) = write::seeded(&mut org, object, record) {
                    problems.push(format!("records.{object}[{i}]: {problem}"));
                }
            }
        }
        for fault in &seed.row_faults {
            org.arm(fault.clone());
        }
        // Rules are for requests: what an organization begins with may be older than they.
        org.duplicate_rules.clone_from(&seed.duplicate_rules);
        org.validation_rules.clone_from(&seed.validation_rules);
        org.assignment_rules.clone_from(&seed.assignment_rules);
        org.reset_stats();
        if problems.is_empty() { Ok(org) } else { Err(SimError::Invalid { what: "seed", problems }) }
    }

    /// Makes a user and returns the id.
    fn employ(&mut self, username: &str) -> String {
        let id = self.next_id("005");
        let now_ms = self.now_ms();
        let values: Values = [
            ("Username", username.to_owned()),
            ("FirstName", "Integration".to_owned()),
            ("LastName", "User".to_owned()),
            ("Email", username.to_lowercase()),
            ("IsActive", "true".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (Arc::from(name), value))
        .collect();
        let row = Stored { id: id.clone(), values, deleted: false, created_ms: now_ms, modified_ms: now_ms, writes: 0 };
        if let Some(users) = self.objects.iter_mut().find(|object| object.name == "User") {
            users.records.put(row);
        }
        id
    }

    /// Wall-clock time in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.wall().as_millis()).unwrap_or(i64::MAX)
    }

    /// An id that was never given out.
    pub(crate) fn next_id(&mut self, prefix: &str) -> String {
        self.last_number += 1;
        id::numbered(prefix, self.last_number)
    }

    pub(crate) fn start_session(&mut self) -> String {
        let now_ms = self.now_ms();
        self.sessions.start(&self.organization_id, now_ms, self.session_seconds, &mut self.rng)
    }

    /// Position of the object of this name in any case.
    pub(crate) fn object(&self, name: &str) -> Option<usize> {
        self.objects.iter().position(|object| object.name.eq_ignore_ascii_case(name))
    }

    /// Position of the object whose ids begin like this one.
    pub(crate) fn object_of_id(&self, id: &str) -> Option<usize> {
        self.objects.iter().position(|object| id.starts_with(&object.prefix))
    }

    /// Adds or replaces a field. The error is a sentence.
    pub(crate) fn define(&mut self, object: &str, seed: &FieldSeed) -> Result<(), String> {
        let field = Field::from_seed(seed)?;
        let position = self.object(object).ok_or_else(|| format!("there is no object {object}"))?;
        self.objects[position].define(field);
        Ok(())
    }

    /// Puts a row fault in force.
    pub(crate) fn arm(&mut self, fault: RowFault) {
        self.row_faults.push(ArmedFault { left: fault.times, fault });
    }

    pub(crate) fn disarm(&mut self) {
        self.row_faults.clear();
    }

    /// The error that a row fault has for a row, which uses one of its times up.
    pub(crate) fn row_fault(
        &mut self,
        object: &str,
        values: &write::Changes,
        rows_together: usize,
    ) -> Option<RowError> {
        let armed = self.row_faults.iter_mut().find(|armed| {
            let fault = &armed.fault;
            let set = fault.when.as_ref().is_none_or(|(field, value)| {
                values.iter().any(|(name, wanted)| name.eq_ignore_ascii_case(field) && wanted.as_ref() == Some(value))
            });
            fault.object.eq_ignore_ascii_case(object)
                && set
                && rows_together > fault.above_rows
                && armed.left.is_none_or(|left| left > 0)
        })?;
        armed.left = armed.left.map(|left| left - 1);
        let fault = &armed.fault;
        let error = RowError::new(&fault.code, fault.message.clone());
        Some(RowError { fields: fault.fields.clone(), ..error })
    }

    /// What a field of a record is: stored, or known to the service.
    pub(crate) fn value(&self, object: &Object, row: &Stored, field: &Field) -> Option<String> {
        let stored = |name: &str| row.values.get(name).cloned();
        match &*field.name {
            "Id" => Some(row.id.clone()),
            "IsDeleted" => Some(row.deleted.to_string()),
            "CreatedDate" => Some(shown_ms(row.created_ms)),
            "LastModifiedDate" | "SystemModstamp" => Some(shown_ms(row.modified_ms)),
            "CreatedById" | "LastModifiedById" => Some(self.user_id.clone()),
            "Name" if object.field("LastName").is_some() => {
                let parts: Vec<String> = ["FirstName", "LastName"].into_iter().filter_map(stored).collect();
                (!parts.is_empty()).then(|| parts.join(" "))
            }
            name => stored(name),
        }
    }

    /// Counts a row that was saved, under an assignment rule if its object has any.
    pub(crate) fn count_saved(&mut self, object: usize, created: bool, assigned: bool) {
        let counter = if created { &mut self.stats.rows_created } else { &mut self.stats.rows_updated };
        *counter += 1;
        let ruled = matches!(self.objects[object].name.as_str(), "Account" | "Case" | "Lead");
        self.stats.rows_auto_assigned += u64::from(ruled && assigned);
    }

    /// Carries out a request: size, route, session, limits, then the endpoint itself.
    pub(crate) fn dispatch(&mut self, call: &Call) -> Response<Body> {
        let (answer, metered) = match routes::find(call) {
            Ok(Route { surface, endpoint }) => {
                self.stats.count(surface);
                let metered = !matches!(surface, Surface::Tokens | Surface::Open);
                let admitted = self.admit(call, metered);
                (admitted.and_then(|()| endpoint(self, call)), metered)
            }
            Err(refusal) => {
                self.stats.unknown_requests += 1;
                (self.admit(call, true).and(Err(refusal)), true)
            }
        };
        let answer = answer.map_err(|refusal| match (refusal.status, self.quirks.not_found_body) {
            (404, NotFoundBody::Object) => refusal.unlisted(),
            _ => refusal,
        });
        let status = answer.as_ref().map_or_else(|refusal| refusal.status, |reply| reply.status);
        match status {
            401 => self.stats.unauthenticated_answers += 1,
            403 => self.stats.limited_answers += 1,
            _ => {}
        }
        let headers = if metered && !matches!(status, 401 | 414 | 431) {
            vec![("sforce-limit-info", self.usage.gauge(self.quirks.usage_jitter, &mut self.rng))]
        } else {
            Vec::new()
        };
        render(answer, headers)
    }

    fn admit(&mut self, call: &Call, metered: bool) -> Result<(), Refusal> {
        if call.uri_bytes >= LONGEST_HEAD_BYTES {
            return Err(Refusal::new(414, "URI_TOO_LONG", "The URI is longer than 16,384 bytes."));
        }
        // Each header takes a colon, a space and a line end beside its name and value.
        let headers: usize = call.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if call.uri_bytes + headers >= LONGEST_HEAD_BYTES {
            return Err(Refusal::new(431, "REQUEST_HEADER_TOO_LARGE", "URI and headers are longer than 16,384 bytes."));
        }
        if !metered {
            return Ok(());
        }
        self.authenticate(call)?;
        let is_write = matches!(call.method, Method::POST | Method::PATCH | Method::PUT);
        if is_write && (!has_its_media(call) || call.headers.contains_key(CONTENT_ENCODING)) {
            return Err(Refusal::new(
                415,
                "UNSUPPORTED_MEDIA_TYPE",
                "The entity in the request is in a format that is not supported by the requested method.",
            ));
        }
        if call.crowded {
            return Err(Refusal::concurrent_limit());
        }
        if self.take_call() { Ok(()) } else { Err(Refusal::daily_limit()) }
    }

    /// Counts a call; false if there are none left.
    pub(crate) fn take_call(&mut self) -> bool {
        let taken = self.usage.take(self.now_ms());
        self.stats.api_calls += u64::from(taken);
        taken
    }

    fn authenticate(&mut self, call: &Call) -> Result<(), Refusal> {
        let Some(header) = call.headers.get(AUTHORIZATION) else { return Err(Refusal::session()) };
        let parts = header.to_str().ok().and_then(|text| text.split_once(' '));
        let (scheme, token) = parts.ok_or_else(|| Refusal::new(401, "INVALID_AUTH_HEADER", "INVALID_AUTH_HEADER"))?;
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("oauth") {
            return Err(Refusal::new(401, "INVALID_HEADER_TYPE", "INVALID_HEADER_TYPE"));
        }
        let now_ms = self.now_ms();
        let timer = self.quirks.session_timer;
        if self.quirks.session_refusal == SessionRefusal::Policy {
            let message = "This session is not valid for use with the REST API";
            return Err(Refusal::new(401, "INVALID_SESSION_ID", message));
        }
        if self.sessions.accept(token.trim(), now_ms, self.session_seconds, timer) {
            Ok(())
        } else {
            Err(Refusal::session())
        }
    }

    /// Counts so far, with the per-record ones gathered from the records.
    pub(crate) fn stats(&self) -> SalesforceStats {
        let mut stats = self.stats.clone();
        for object in &self.objects {
            let written = object.records.all().filter(|row| row.writes > 0);
            let writes: std::collections::BTreeMap<String, u64> =
                written.map(|row| (row.id.clone(), row.writes)).collect();
            if !writes.is_empty() {
                stats.writes_per_record.insert(object.name.clone(), writes);
            }
        }
        stats
    }

    pub(crate) fn reset_stats(&mut self) {
        self.stats = SalesforceStats::default();
        for object in &mut self.objects {
            object.records.reset_write_counts();
        }
    }
}

fn has_its_media(call: &Call) -> bool {
    let kind = call.header(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    routes::media(call).iter().any(|media| media.eq_ignore_ascii_case(kind))
}

/// A function that carries out an endpoint's request.
pub(crate) type Endpoint = fn(&mut Org, &Call) -> Answer;
