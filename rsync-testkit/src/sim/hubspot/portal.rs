//! The state of one portal, and what every request passes before its endpoint: token, limits, scopes, object type.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use chrono_tz::Tz;
use rsync_core::clock::Clock;

use super::association::Associations;
use super::consent::Consent;
use super::definition::Definition;
use super::limits::Limiter;
use super::lists::Lists;
use super::object_type::{Access, ObjectType, STANDARD_OBJECTS};
use super::quirks::{ConcurrentWrites, EmailDefinition, MissingScopesBody, Quirks};
use super::records::Values;
use super::reply::{Answer, Refusal, locked, render};
use super::seed::{OauthClientSeed, PropertySeed, RateLimits, Seed};
use super::stats::{HubSpotStats, Surface};
use super::value::Judge;
use super::write::{Target, commit, find_conflict, plan};
use crate::sim::SimError;
use crate::sim::rng::Rng;

/// Version of the API that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiVersion {
    V3,
    March2026,
    September2026,
}

/// A request to an endpoint. It has no `Debug`: it holds a token and record values.
pub(crate) struct Call {
    pub(crate) version: ApiVersion,
    pub(crate) path: HashMap<String, String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) token: Option<String>,
    pub(crate) body: Bytes,
    /// Whether another write of one of its keys was in flight when the request arrived.
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

    /// A list parameter, given once with commas or several times.
    pub(crate) fn list_parameter(&self, name: &str) -> Vec<String> {
        self.query
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, value)| value.split(','))
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// A function that carries out an endpoint's request.
pub(crate) type Endpoint = fn(&mut Portal, &Call) -> Answer;

/// What a token may do.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) scopes: Vec<String>,
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) app_id: u64,
    /// The OAuth client that got it; none for private apps.
    pub(crate) client_id: Option<String>,
}

/// A portal.
pub(crate) struct Portal {
    pub(crate) id: u64,
    pub(crate) time_zone: Tz,
    pub(crate) quirks: Quirks,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Rng,
    /// All object types. Their positions name them elsewhere, so none is ever removed.
    pub(crate) types: Vec<ObjectType>,
    pub(crate) first_record_id: u64,
    pub(crate) grants: HashMap<String, Grant>,
    pub(crate) oauth_clients: Vec<OauthClientSeed>,
    /// OAuth clients whose refresh token was made invalid.
    pub(crate) revoked_clients: BTreeSet<String>,
    /// OAuth clients that are not installed any more.
    pub(crate) uninstalled_clients: BTreeSet<String>,
    pub(crate) owners: BTreeSet<String>,
    pub(crate) associations: Associations,
    pub(crate) lists: Lists,
    pub(crate) consent: Consent,
    /// Addresses that nobody had when their erasure was asked for: they are refused from then on.
    pub(crate) erased_emails: BTreeSet<String>,
    pub(crate) limiter: Limiter,
    pub(crate) stats: HubSpotStats,
}

impl Portal {
    pub(crate) fn new(seed: &Seed, quirks: Quirks, clock: Arc<dyn Clock>) -> Result<Self, SimError> {
        seed.check()?;
        let mut types: Vec<ObjectType> =
            STANDARD_OBJECTS.iter().map(|object| ObjectType::standard(object, seed.first_record_id)).collect();
        types.extend(
            seed.custom_objects.iter().map(|custom| ObjectType::custom(custom, seed.portal_id, seed.first_record_id)),
        );
        // `check` above has parsed the time zone already.
        let time_zone = seed.time_zone.parse().unwrap_or(Tz::UTC);
        let grants = seed
            .tokens
            .iter()
            .zip(1..)
            .map(|(token, number)| {
                let grant = Grant {
                    scopes: token.scopes.clone(),
                    expires_at_ms: token.expires_at_ms,
                    app_id: 19_083_856 + number,
                    client_id: None,
                };
                (token.token.clone(), grant)
            })
            .collect();
        let mut associations = Associations::standard(&types);
        for custom in STANDARD_OBJECTS.len()..types.len() {
            (0..custom).for_each(|other| associations.define_between(custom, other));
        }
        let mut portal = Self {
            id: seed.portal_id,
            time_zone,
            limiter: Limiter::new(seed.rate_limits, time_zone),
            quirks,
            clock,
            rng: Rng::seeded(seed.random_seed),
            types,
            first_record_id: seed.first_record_id,
            associations,
            lists: Lists::default(),
            consent: Consent::new(&seed.subscriptions, seed.needs_legal_basis),
            erased_emails: BTreeSet::new(),
            grants,
            oauth_clients: seed.oauth_clients.clone(),
            revoked_clients: BTreeSet::new(),
            uninstalled_clients: BTreeSet::new(),
            owners: seed.owners.iter().cloned().collect(),
            stats: HubSpotStats::default(),
        };
        portal.define(seed)?;
        portal.load(seed)?;
        portal.define_labels_and_lists(seed)?;
        portal.reset_stats();
        Ok(portal)
    }

    /// Wall-clock time in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.wall().as_millis()).unwrap_or(i64::MAX)
    }

    fn define(&mut self, seed: &Seed) -> Result<(), SimError> {
        let customs = seed.custom_objects.iter().map(|custom| (&custom.name, &custom.properties));
        let mut problems = Vec::new();
        for (object, properties) in seed.properties.iter().chain(customs) {
            for property in properties {
                if let Err(problem) = self.add_definition(object, property) {
                    problems.push(format!("properties.{object}.{}: {problem}", property.name));
                }
            }
        }
        for (object, required) in &seed.required_on_create {
            if let Some(kind) = self.types.iter_mut().find(|t| t.name == *object) {
                kind.admin_required.clone_from(required);
            }
        }
        if self.quirks.email_definition_unique == EmailDefinition::Unique
            && let Some(email) = self.types.iter_mut().find_map(|t| t.definitions.get_mut("email"))
        {
            email.has_unique_value = true;
        }
        for kind in &self.types {
            for name in kind.admin_required.iter().chain(&kind.schema_required) {
                if kind.definition(name).is_none() {
                    problems
                        .push(format!("{}: required property {name} is not defined; add it to properties", kind.name));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(SimError::Invalid { what: "seed", problems }) }
    }

    /// Adds or replaces a definition. The error is a sentence.
    pub(crate) fn add_definition(&mut self, object: &str, property: &PropertySeed) -> Result<(), String> {
        let now_ms = self.now_ms();
        let mut definition = Definition::from_seed(property)?;
        definition.created_at_ms = now_ms;
        definition.updated_at_ms = now_ms;
        let kind = self.named_type_mut(object).ok_or_else(|| format!("there is no object {object}"))?;
        kind.definitions.insert(Arc::clone(&definition.name), definition);
        Ok(())
    }

    fn load(&mut self, seed: &Seed) -> Result<(), SimError> {
        let mut problems = Vec::new();
        for (object, records) in &seed.records {
            for (i, record) in records.iter().enumerate() {
                if let Err(problem) = self.seed_record(object, record) {
                    problems.push(format!("records.{object}[{i}]: {problem}"));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(SimError::Invalid { what: "seed", problems }) }
    }

    /// Creates a record as a seed or a test asks for it, under the same rules as a request.
    pub(crate) fn seed_record(
        &mut self,
        object: &str,
        properties: &std::collections::BTreeMap<String, String>,
    ) -> Result<u64, String> {
        let now_ms = self.now_ms();
        let judge = Judge { quirks: &self.quirks, owners: &self.owners, erased: &self.erased_emails };
        let kind =
            self.types.iter_mut().find(|t| t.name == object).ok_or_else(|| format!("there is no object {object}"))?;
        let planned = plan(kind, judge, Target::New, None, properties, &[])
            .map_err(|errors| errors.into_iter().map(|e| e.message).collect::<Vec<_>>().join("; "))?;
        if let Some(owner) = find_conflict(kind, &planned, &HashMap::new()) {
            return Err(format!("a unique value belongs to record {owner} already; change one of the two"));
        }
        Ok(commit(kind, &planned, now_ms, &self.quirks))
    }

    fn define_labels_and_lists(&mut self, seed: &Seed) -> Result<(), SimError> {
        let mut problems = Vec::new();
        let position =
            |portal: &Self, name: &str| portal.types.iter().position(|t| t.name == name || t.answers_to(name));
        for (i, label) in seed.association_labels.iter().enumerate() {
            let ends = position(self, &label.from).zip(position(self, &label.to));
            let added = match ends {
                Some((from, to)) => self
                    .associations
                    .add_label(from, to, &label.label, label.inverse_label.as_ref().unwrap_or(&label.label))
                    .map_err(|refused| refused.message()),
                None => Err("there is no such object; use a plural name".to_owned()),
            };
            problems.extend(added.err().map(|problem| format!("association_labels[{i}]: {problem}")));
        }
        let now_ms = self.now_ms();
        for (i, list) in seed.lists.iter().enumerate() {
            let Some(at) = position(self, &list.object) else {
                problems.push(format!("lists[{i}].object: there is no object {}; use a plural name", list.object));
                continue;
            };
            if self.lists.named(&list.name).is_some() {
                problems.push(format!("lists[{i}].name: {:?} is taken; use another name", list.name));
                continue;
            }
            let type_id = self.types[at].type_id.clone();
            self.lists.create(&list.name, &type_id, list.processing, None, now_ms);
        }
        if problems.is_empty() { Ok(()) } else { Err(SimError::Invalid { what: "seed", problems }) }
    }

    /// A number for the next custom object.
    pub(crate) fn next_type_number(&self) -> u32 {
        let numbers = self.types.iter().filter_map(|t| t.type_id.strip_prefix("2-")?.parse::<u32>().ok());
        numbers.max().unwrap_or(1_000_000).saturating_add(1)
    }

    /// A type by the name that seeds and the Rust API use: plural, or a custom object's bare name.
    pub(crate) fn named_type(&self, name: &str) -> Option<&ObjectType> {
        self.types.iter().find(|t| t.name == name || t.answers_to(name))
    }

    pub(crate) fn named_type_mut(&mut self, name: &str) -> Option<&mut ObjectType> {
        self.types.iter_mut().find(|t| t.name == name || t.answers_to(name))
    }

    /// Carries out a request: token, limits, lock, then the endpoint itself.
    pub(crate) fn dispatch(&mut self, surface: Surface, endpoint: Endpoint, call: &Call) -> Response<Body> {
        self.stats.count(surface);
        let correlation_id = self.rng.uuid();
        let admitted = self.admit(surface, call);
        let token_known = call.token.as_ref().is_some_and(|token| self.grants.contains_key(token));
        let answer = admitted.and_then(|()| endpoint(self, call));
        match &answer {
            Err(refusal) if refusal.status == 429 => self.stats.rate_limited_answers += 1,
            Err(refusal) if refusal.status == 401 => self.stats.unauthenticated_answers += 1,
            _ => {}
        }
        let shows_budget = token_known && !matches!(surface, Surface::Search | Surface::Tokens);
        let headers = if shows_budget { self.budget_headers(call) } else { Vec::new() };
        render(answer, &correlation_id, headers)
    }

    fn admit(&mut self, surface: Surface, call: &Call) -> Result<(), Refusal> {
        if surface == Surface::Tokens {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let token = call.token.as_deref().ok_or_else(|| Refusal::unauthenticated(false))?;
        let grant = self.grants.get(token).ok_or_else(|| Refusal::unauthenticated(false))?;
        if grant.expires_at_ms.is_some_and(|at| now_ms >= at) {
            return Err(Refusal::unauthenticated(true));
        }
        let app_id = grant.app_id;
        let taken = match surface {
            Surface::Search => self.limiter.search(now_ms),
            _ => self.limiter.request(token, now_ms),
        };
        if let Err(exceeded) = taken {
            let group = format!("publicapi:private_app-api-calls-ten-secondly:{}:{app_id}", self.id);
            return Err(Refusal::rate_limited(exceeded, &group, self.quirks.search_policy_name)
                .retry_after(self.quirks.retry_after_seconds));
        }
        if call.contended && self.quirks.concurrent_key_writes == ConcurrentWrites::Locked {
            return Err(locked());
        }
        Ok(())
    }

    fn budget_headers(&self, call: &Call) -> Vec<(&'static str, String)> {
        let budget = self.limiter.budget(call.token.as_deref().unwrap_or_default());
        let mut headers = Vec::new();
        if let Some((max, remaining)) = budget.burst {
            headers.push(("x-hubspot-ratelimit-max", max.to_string()));
            headers.push(("x-hubspot-ratelimit-remaining", remaining.to_string()));
            headers.push(("x-hubspot-ratelimit-interval-milliseconds", super::limits::BURST_WINDOW_MS.to_string()));
        }
        // Tokens that expire are OAuth's, and those answers carry no daily figures.
        let is_oauth =
            call.token.as_ref().and_then(|t| self.grants.get(t)).is_some_and(|grant| grant.expires_at_ms.is_some());
        if let Some((max, remaining)) = budget.daily.filter(|_| !is_oauth) {
            headers.push(("x-hubspot-ratelimit-daily", max.to_string()));
            headers.push(("x-hubspot-ratelimit-daily-remaining", remaining.to_string()));
        }
        headers
    }

    /// Position of the type that the path names, if the token may access it like this.
    pub(crate) fn accessed_type(&self, call: &Call, access: Access) -> Result<usize, Refusal> {
        self.accessed(call, call.part("object"), access)
    }

    /// Position of the type of this name, if the token may access it like this.
    pub(crate) fn accessed(&self, call: &Call, segment: &str, access: Access) -> Result<usize, Refusal> {
        let position = self
            .types
            .iter()
            .position(|t| t.answers_to(segment))
            .ok_or_else(|| Refusal::plain(400, format!("Unable to infer object type from: {segment}")))?;
        self.check_scopes(call, self.types[position].scopes(access))?;
        Ok(position)
    }

    /// Refuses a token that has none of these scopes.
    pub(crate) fn check_scopes(&self, call: &Call, wanted: Vec<String>) -> Result<(), Refusal> {
        let granted = call.token.as_ref().and_then(|token| self.grants.get(token));
        if granted.is_some_and(|grant| wanted.iter().any(|scope| grant.scopes.contains(scope))) {
            return Ok(());
        }
        Err(match self.quirks.missing_scopes_body {
            MissingScopesBody::TopLevelContext => Refusal::missing_scopes(wanted),
            MissingScopesBody::ErrorsContext => Refusal::missing_scopes_documented(wanted),
        })
    }

    /// Values of a record that a test may look at: what is stored, without derived properties.
    pub(crate) fn shown_values(values: &Values) -> std::collections::BTreeMap<String, String> {
        values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    pub(crate) fn set_limits(&mut self, limits: RateLimits) {
        self.limiter = Limiter::new(limits, self.time_zone);
    }

    /// Counts so far, with the per-record ones gathered from the records.
    pub(crate) fn stats(&self) -> HubSpotStats {
        let mut stats = self.stats.clone();
        for kind in &self.types {
            let writes: std::collections::BTreeMap<String, u64> =
                kind.records.all().filter(|r| r.writes > 0).map(|r| (r.id.to_string(), r.writes)).collect();
            if !writes.is_empty() {
                stats.writes_per_record.insert(kind.name.clone(), writes);
            }
        }
        stats
    }

    pub(crate) fn reset_stats(&mut self) {
        self.stats = HubSpotStats::default();
        for kind in &mut self.types {
            kind.records.reset_write_counts();
        }
    }
}
