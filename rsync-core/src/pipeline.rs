//! A sync, put together by the host.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::clock::{Clock, Randomness, SystemClock, SystemRandomness};
use crate::destination::{Destination, Target};
use crate::error::{Error, Kind, Problem, Result};
use crate::event::{Observer, Owner};
use crate::exit::Exits;
use crate::guard::{Guard, Preflight};
use crate::identity::HashKey;
use crate::ids::SyncId;
use crate::initial_load::InitialLoad;
use crate::limit::Limiter;
use crate::mapping::Mapping;
use crate::model::Model;
use crate::policy::{Rebound, Upsert, UpsertPolicy};
use crate::retry::RetryPolicy;
use crate::source::Source;
use crate::state::{StateMark, StateStore};
use crate::window::Window;

/// A sync: one model, one mapping, one object at one destination.
///
/// [`Pipeline::plan`] reads the model and says what would be done; [`Pipeline::apply`] does it. Nothing else
/// writes.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) sync: SyncId,
    pub(crate) owner: Owner,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) model: Model,
    pub(crate) mapping: Arc<dyn Mapping>,
    pub(crate) policy: Arc<dyn UpsertPolicy>,
    pub(crate) rebound: Rebound,
    pub(crate) preflight: Option<Preflight>,
    pub(crate) exits: Option<Exits>,
    pub(crate) initial: InitialLoad,
    pub(crate) guards: Vec<Arc<dyn Guard>>,
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) target: Target,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) hash_key: HashKey,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) retry: RetryPolicy,
    pub(crate) quota_reserve: f64,
    pub(crate) limiter: Limiter,
    pub(crate) window: Option<Arc<dyn Window>>,
    /// The state that must be there, and how far it must have come; kept up with the runs.
    pub(crate) expected: Mutex<Option<StateMark>>,
    pub(crate) cancel: Cancel,
    pub(crate) grace: Duration,
    pub(crate) deadline: Duration,
    pub(crate) job_deadline: Duration,
}

impl Pipeline {
    /// Begins a sync of that name. The name goes with the stored state, so keep it.
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder {
            name: name.into(),
            owner: None,
            source: None,
            model: None,
            mapping: None,
            policy: Arc::new(Upsert::new()),
            rebound: Rebound::default(),
            preflight: None,
            exits: None,
            initial: InitialLoad::Send,
            guards: Vec::new(),
            destination: None,
            target: None,
            state: None,
            observers: Vec::new(),
            clock: None,
            randomness: Arc::new(SystemRandomness),
            retry: RetryPolicy::default(),
            quota_reserve: 0.2,
            limiter: None,
            window: None,
            expected: None,
            cancel: Cancel::new(),
            grace: Duration::from_secs(25),
            deadline: Duration::from_secs(24 * 3600),
        }
    }

    /// Its name.
    pub fn sync(&self) -> &SyncId {
        &self.sync
    }

    /// Who answers for it.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }
}

/// Collects the parts of a [`Pipeline`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PipelineBuilder {
    name: String,
    owner: Option<Owner>,
    source: Option<Arc<dyn Source>>,
    model: Option<Model>,
    mapping: Option<Arc<dyn Mapping>>,
    policy: Arc<dyn UpsertPolicy>,
    rebound: Rebound,
    preflight: Option<Preflight>,
    exits: Option<Exits>,
    initial: InitialLoad,
    guards: Vec<Arc<dyn Guard>>,
    destination: Option<Arc<dyn Destination>>,
    target: Option<Target>,
    state: Option<(Arc<dyn StateStore>, HashKey)>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Option<Arc<dyn Clock>>,
    randomness: Arc<dyn Randomness>,
    retry: RetryPolicy,
    quota_reserve: f64,
    limiter: Option<Limiter>,
    window: Option<Arc<dyn Window>>,
    expected: Option<StateMark>,
    cancel: Cancel,
    grace: Duration,
    deadline: Duration,
}

impl PipelineBuilder {
    /// Who is told when the sync fails or is held. Required.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Where the model is read from. Required.
    pub fn source(mut self, source: impl Source) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The model and its key. Required.
    pub fn model(mut self, model: Model) -> Self {
        self.model = Some(model);
        self
    }

    /// Which columns become which fields. Required.
    pub fn mapping(mut self, mapping: impl Mapping) -> Self {
        self.mapping = Some(Arc::new(mapping));
        self
    }

    /// What is written. Default: [`Upsert`].
    pub fn policy(mut self, policy: impl UpsertPolicy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// What is done about a row whose key was bound to another record before. Default: [`Rebound::Hold`].
    pub fn rebound(mut self, rebound: Rebound) -> Self {
        self.rebound = rebound;
        self
    }

    /// Looks up the records of rows that are new before anything is written. Default: the destination finds them when
    /// it is written to.
    pub fn preflight(mut self, preflight: Preflight) -> Self {
        self.preflight = Some(preflight);
        self
    }

    /// What is done about records whose rows left the model. Default: nothing.
    pub fn exits(mut self, exits: Exits) -> Self {
        self.exits = Some(exits);
        self
    }

    /// What the first run does. Default: [`InitialLoad::Send`].
    pub fn initial_load(mut self, load: InitialLoad) -> Self {
        self.initial = load;
        self
    }

    /// Adds a check of every plan.
    pub fn guard(mut self, guard: impl Guard) -> Self {
        self.guards.push(Arc::new(guard));
        self
    }

    /// Where rows are written to. Required.
    pub fn destination(mut self, destination: impl Destination, target: Target) -> Self {
        self.destination = Some(Arc::new(destination));
        self.target = Some(target);
        self
    }

    /// As [`PipelineBuilder::destination`], for a destination that several pipelines share.
    pub fn shared_destination(mut self, destination: Arc<dyn Destination>, target: Target) -> Self {
        self.destination = Some(destination);
        self.target = Some(target);
        self
    }

    /// Where the state is kept, and the secret it is hashed with. Required.
    pub fn state(mut self, store: impl StateStore, key: HashKey) -> Self {
        self.state = Some((Arc::new(store), key));
        self
    }

    /// Adds a receiver of events.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Sets how often and how long failed calls are tried again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets the share of the account's [quota](crate::destination::Quota) that is left to others, from 0 to 1. A run
    /// stops when it comes to it, and the next run goes on. Default: 0.2.
    pub fn quota_reserve(mut self, share: f64) -> Self {
        self.quota_reserve = share;
        self
    }

    /// Keeps a rate together with other pipelines that use the same credentials. Default: the pipeline keeps the rate
    /// that the destination declares by itself, over all its runs.
    pub fn limiter(mut self, limiter: Limiter) -> Self {
        self.limiter = Some(limiter);
        self
    }

    /// Writes only while `window` is open. A run that it closes on is [`Stopped`](crate::RunStatus::Stopped), and the
    /// next one goes on. Default: at any time.
    pub fn window(mut self, window: impl Window) -> Self {
        self.window = Some(Arc::new(window));
        self
    }

    /// Refuses to plan with another state than the one of `mark`, which the host has kept from the last
    /// [report](crate::Report::state_mark): with none at all, one that was made anew, or an older copy. Leave it out for
    /// a sync that never ran. Default: a state that is missing is taken for that of a new sync.
    pub fn expect_state(mut self, mark: StateMark) -> Self {
        self.expected = Some(mark);
        self
    }

    /// Ends runs when `cancel` is called.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets how long a run that ends early waits for the calls in the air. What has not come back then is in doubt.
    /// Default: 25 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long planning and writing may take each. Default: a day.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the clock. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the source of jitter and run ids. Default: the system's.
    pub fn randomness(mut self, randomness: impl Randomness) -> Self {
        self.randomness = Arc::new(randomness);
        self
    }

    /// Checks that everything is there.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] with all problems at once.
    pub fn build(self) -> Result<Pipeline> {
        let mut problems = Vec::new();
        let mut missing = |at: &str, absent: bool, fix: &str| {
            if absent {
                problems.push(Problem::new(at, "it is not set", fix));
            }
        };
        missing(
            "owner",
            self.owner.is_none(),
            "say who is told when the sync fails: .owner(Owner::new(team, contact))",
        );
        missing("source", self.source.is_none(), "name the source: .source(...)");
        missing("model", self.model.is_none(), "name the model and its key: .model(Model::new(name).key([column]))");
        missing("mapping", self.mapping.is_none(), "map columns to fields: .mapping(FieldMap::new().field(...))");
        missing("destination", self.destination.is_none(), "name the destination: .destination(..., Target::new(...))");
        missing("state", self.state.is_none(), "say where the state is kept: .state(EmbeddedStore::new(folder)?, key)");
        if let Some(owner) = &self.owner
            && (owner.team.trim().is_empty() || owner.contact.trim().is_empty())
        {
            problems.push(Problem::new("owner", "team or contact is blank", "name a team and how to reach it"));
        }
        if let Some(target) = &self.target {
            if target.object.trim().is_empty() {
                problems.push(Problem::new("destination.object", "it is blank", "name the object to write to"));
            }
            if target.match_on.as_str().trim().is_empty() {
                problems.push(Problem::new(
                    "destination.match_on",
                    "it is blank",
                    "name the field that identifies a record",
                ));
            }
        }
        if self.exits.as_ref().is_some_and(|exits| !exits.limit.is_sound()) {
            problems.push(Problem::new("exits.at_most", "it is no share", "give a number from 0 to 1, such as 0.05"));
        }
        problems.extend(self.exits.as_ref().and_then(|exits| exits.problem_with(&*self.policy)));
        if !self.initial.is_sound() {
            let fix = "give a number above 0 and up to 1, such as 0.05";
            problems.push(Problem::new("initial_load", "the share of a canary is no share", fix));
        }
        if self.preflight.is_some_and(|preflight| !preflight.is_sound()) {
            problems.push(Problem::new(
                "preflight",
                "a threshold is no share",
                "give a number from 0 to 1, such as 0.05",
            ));
        }
        if !(0.0..=1.0).contains(&self.quota_reserve) {
            problems.push(Problem::new("quota_reserve", "it is no share", "give a number from 0 to 1, such as 0.2"));
        }
        if let Some(model) = &self.model {
            model.problems(&mut problems);
        }
        let sync = SyncId::new(&self.name);
        if let Err(e) = &sync {
            problems.push(Problem::new("name", "not a valid sync name", e.remedy().unwrap_or_default()));
        }
        Error::from_problems(Kind::InvalidConfig, "build the pipeline", problems)?;
        match (sync, self.owner, self.source, self.model, self.mapping, self.destination, self.target, self.state) {
            (
                Ok(sync),
                Some(owner),
                Some(source),
                Some(model),
                Some(mapping),
                Some(destination),
                Some(target),
                Some((store, hash_key)),
            ) => Ok(Pipeline {
                sync,
                owner,
                source,
                model,
                mapping,
                policy: self.policy,
                rebound: self.rebound,
                preflight: self.preflight,
                // The limit of exits comes first, so that a hold names it first.
                guards: self
                    .exits
                    .iter()
                    .map(|exits| Arc::new(exits.limit) as Arc<dyn Guard>)
                    .chain(self.preflight.map(|preflight| Arc::new(preflight) as Arc<dyn Guard>))
                    .chain(self.guards)
                    .collect(),
                exits: self.exits,
                limiter: self.limiter.unwrap_or_else(|| Limiter::new(destination.capability(&target).rate)),
                initial: self.initial,
                destination,
                target,
                store,
                hash_key,
                observers: self.observers,
                clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
                randomness: self.randomness,
                retry: self.retry,
                quota_reserve: self.quota_reserve,
                window: self.window,
                expected: Mutex::new(self.expected),
                cancel: self.cancel,
                grace: self.grace,
                deadline: self.deadline,
                job_deadline: Duration::from_secs(3600),
            }),
            _ => Err(Error::new(Kind::Internal, "build the pipeline", "a part is missing")),
        }
    }
}
