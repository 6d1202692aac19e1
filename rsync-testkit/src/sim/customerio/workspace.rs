//! The state of one workspace, and what every request passes before its endpoint: credentials, limits, region.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use rsync_core::clock::Clock;
use serde_json::Value;

use super::activity::{About, Activities, Activity, ActivityKind, ulid};
use super::app::exports::Export;
use super::check::Checker;
use super::identifier::{Identities, KeyKind, PersonKey};
use super::limits::Limiter;
use super::lint::{LintKind, Lints};
use super::objects::Objects;
use super::operation::{Identify, Operation, PersonAction};
use super::people::People;
use super::queue::{Accepted, Queue};
use super::quirks::Quirks;
use super::reply::{Answer, Reply, render};
use super::seed::{PersonSeed, RateLimits, Region, Seed, TopicSeed};
use super::segments::{Filter, Segments};
use super::stats::{CustomerIoStats, Surface};
use crate::sim::SimError;
use crate::sim::rng::Rng;

/// A request to an endpoint. It has no `Debug`: it holds credentials and values of people.
pub(crate) struct Call {
    pub(crate) path: HashMap<String, String>,
    /// Path and query as they came.
    pub(crate) target: String,
    /// Host that the client named, for links in answers.
    pub(crate) host: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Bytes,
    /// Whether another write of one of its people was in flight when the request arrived.
    pub(crate) contended: bool,
}

impl Call {
    /// A part of the path. Routes name their parts, so an absent one is as good as an empty one.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// User and password of `Authorization: Basic`, in either alphabet of base 64: an official client uses the other.
    fn basic(&self) -> Option<(String, String)> {
        let (scheme, encoded) = self.authorization.as_deref()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = STANDARD.decode(encoded.trim()).or_else(|_| URL_SAFE.decode(encoded.trim())).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.authorization.as_deref()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

/// A function that carries out an endpoint's request.
pub(crate) type Endpoint = fn(&mut Workspace, &Call) -> Answer;

/// What the credentials of a workspace open.
pub(crate) struct Credentials {
    pub(crate) site_id: String,
    pub(crate) api_key: String,
    pub(crate) app_api_key: String,
}

/// A workspace.
pub(crate) struct Workspace {
    pub(crate) environment_id: u64,
    pub(crate) region: Region,
    pub(crate) host_region: Region,
    pub(crate) credentials: Credentials,
    pub(crate) identities: Identities,
    pub(crate) quirks: Quirks,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Rng,
    /// Beginning of the ids that the service gives.
    pub(crate) id_prefix: u32,
    pub(crate) people: People,
    pub(crate) objects: Objects,
    pub(crate) segments: Segments,
    pub(crate) topics: Vec<TopicSeed>,
    pub(crate) exports: Vec<Export>,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Blocked identifiers, with the number of the suppression that blocked them together.
    pub(crate) suppressed: HashMap<PersonKey, u64>,
    pub(crate) next_suppression: u64,
    pub(crate) event_ids: HashSet<String>,
    pub(crate) queue: Queue,
    pub(crate) activities: Activities,
    pub(crate) lints: Lints,
    pub(crate) limiter: Limiter,
    pub(crate) stats: CustomerIoStats,
    writes: HashMap<PersonKey, u64>,
}

impl Workspace {
    pub(crate) fn new(seed: &Seed, quirks: Quirks, clock: Arc<dyn Clock>) -> Result<Self, SimError> {
        seed.check()?;
        let problems = quirks.problems();
        if !problems.is_empty() {
            return Err(SimError::Invalid { what: "quirks", problems });
        }
        let mut rng = Rng::seeded(seed.random_seed);
        let mut workspace = Self {
            environment_id: seed.environment_id,
            region: seed.region,
            host_region: seed.host_region.unwrap_or(seed.region),
            credentials: Credentials {
                site_id: seed.site_id.clone(),
                api_key: seed.api_key.clone(),
                app_api_key: seed.app_api_key.clone(),
            },
            identities: Identities {
                mode: seed.mode,
                phone_enabled: seed.phone_enabled,
                allow_email_update_by_id: seed.allow_email_update_by_id,
            },
            id_prefix: u32::try_from(rng.next_u64() & 0x00ff_ffff).unwrap_or_default(),
            quirks,
            clock,
            rng,
            people: People::default(),
            objects: Objects::default(),
            segments: Segments::default(),
            topics: seed.topics.clone(),
            exports: Vec::new(),
            scheme: "http",
            suppressed: HashMap::new(),
            next_suppression: 0,
            event_ids: HashSet::new(),
            queue: Queue::default(),
            activities: Activities::default(),
            lints: Lints::default(),
            limiter: Limiter::new(seed.rate_limits),
            stats: CustomerIoStats::default(),
            writes: HashMap::new(),
        };
        let mut problems = Vec::new();
        for (i, person) in seed.people.iter().enumerate() {
            if let Err(mut found) = workspace.seed_person(&format!("people[{i}]"), person) {
                problems.append(&mut found);
            }
        }
        let now_secs = workspace.now_ms().div_euclid(1_000);
        for (i, segment) in seed.segments.iter().enumerate() {
            let filter = segment.filter.as_ref().map(Filter::parse);
            if filter == Some(None) {
                problems.push(format!("segments[{i}].filter: no condition; use and, or, not, segment or attribute"));
            }
            workspace.segments.create(&segment.name, &segment.description, filter.flatten(), now_secs);
        }
        if !problems.is_empty() {
            return Err(SimError::Invalid { what: "seed", problems });
        }
        workspace.reset_stats();
        Ok(workspace)
    }

    /// Wall-clock time in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.wall().as_millis()).unwrap_or(i64::MAX)
    }

    /// Creates a person as a seed or a test asks for it, under the same rules as a request but at once.
    pub(crate) fn seed_person(&mut self, at: &str, person: &PersonSeed) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut attributes: serde_json::Map<String, Value> =
            person.attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for (kind, value) in
            [(KeyKind::Id, &person.id), (KeyKind::Email, &person.email), (KeyKind::Phone, &person.phone)]
        {
            attributes.extend(value.as_ref().map(|value| (kind.name().to_owned(), Value::from(value.as_str()))));
        }
        let mut checker = Checker::new(self.identities, &self.quirks);
        checker.person_attributes(&attributes, at);
        problems.extend(checker.problems.into_iter().map(|p| format!("{}: {}; change it", p.field, p.message)));
        let named = self.named_in(&attributes);
        for identifier in &named {
            if self.people.find(&identifier.key()).is_some() {
                problems
                    .push(format!("{at}.{}: belongs to another person; change one of the two", identifier.kind.name()));
            }
        }
        let Some(who) = named.into_iter().next().filter(|_| problems.is_empty()) else {
            if problems.is_empty() {
                problems.push(format!("{at}: nothing identifies this person in the workspace; give an id"));
            }
            return Err(problems);
        };
        let action = PersonAction::Identify(Identify { attributes, ..Identify::default() });
        let now_ms = self.now_ms();
        self.apply(Accepted::now(Operation::Person { who, action }, now_ms));
        Ok(())
    }

    /// Carries out a request: credentials, limits, region, then the endpoint itself.
    pub(crate) fn dispatch(&mut self, surface: Surface, endpoint: Endpoint, call: &Call) -> Response<Body> {
        self.stats.count(surface);
        let reply = match self.admit(surface, call).and_then(|()| endpoint(self, call)) {
            Ok(reply) | Err(reply) => reply,
        };
        match reply.status {
            401 => self.stats.unauthenticated_answers += 1,
            429 => self.stats.rate_limited_answers += 1,
            _ => {}
        }
        render(reply).map(Body::from)
    }

    fn admit(&mut self, surface: Surface, call: &Call) -> Result<(), Reply> {
        let now_ms = self.now_ms();
        if surface == Surface::Download {
            return Ok(());
        }
        if matches!(surface, Surface::AppReads | Surface::AppWrites) {
            // An account is unknown on the App host of the other region.
            let here = self.host_region == self.region;
            if !here || call.bearer() != Some(self.credentials.app_api_key.as_str()) {
                return Err(Reply::app_unauthorized(self.quirks.app_unauthorized_body));
            }
            if !self.limiter.app(now_ms) {
                return Err(Reply::throttled(self.quirks.retry_after_seconds));
            }
            return Ok(());
        }
        let known = call.basic().is_some_and(|(site_id, api_key)| {
            site_id == self.credentials.site_id && api_key == self.credentials.api_key
        });
        // The probe is answered on the hosts of both regions. An American account is unknown on the European host.
        let elsewhere = self.host_region != self.region && surface != Surface::Region;
        if !known || (elsewhere && self.region == Region::Us) {
            return Err(Reply::unauthorized());
        }
        if !self.limiter.track(now_ms) {
            return Err(Reply::throttled(self.quirks.retry_after_seconds));
        }
        if elsewhere {
            let location = format!("{}{}", self.region.track_url(), call.target);
            return Err(Reply::redirect(self.quirks.redirect_status, location));
        }
        if call.contended {
            self.lints.push(LintKind::ConcurrentWrites, "identifiers");
        }
        Ok(())
    }

    /// Takes operations over for later.
    pub(crate) fn accept(&mut self, operations: Vec<Operation>) {
        let (now_ms, delay_ms) = (self.now_ms(), self.quirks.apply_delay_ms);
        self.stats.items_accepted += operations.len() as u64;
        for operation in operations {
            if let Operation::Person { who, .. } = &operation {
                *self.writes.entry(who.key()).or_insert(0) += 1;
            }
            self.queue.push(operation, now_ms, delay_ms);
        }
    }

    pub(crate) fn log(&mut self, kind: ActivityKind, about: About, data: Value) {
        let now_ms = self.now_ms();
        let id = ulid(now_ms, &mut self.rng);
        let About { customer_id, cio_id } = about;
        let timestamp = now_ms.div_euclid(1_000);
        self.activities.push(Activity { id, kind, timestamp, customer_id, cio_id, data });
    }

    pub(crate) fn set_limits(&mut self, limits: RateLimits) {
        self.limiter = Limiter::new(limits);
    }

    /// Counts so far, with those per person.
    pub(crate) fn stats(&self) -> CustomerIoStats {
        let mut stats = self.stats.clone();
        stats.items_queued = self.queue.len() as u64;
        stats.writes_per_person = self.writes.iter().map(|(key, writes)| (key.label(), *writes)).collect();
        stats
    }

    pub(crate) fn reset_stats(&mut self) {
        self.stats = CustomerIoStats::default();
        self.writes.clear();
        self.lints.clear();
    }
}
