//! What an accepted operation does to the workspace. Everything here happens after the client got its answer, so what
//! cannot be done shows in the activity log only.

use serde_json::{Map, Value, json};

use super::activity::{About, ActivityKind};
use super::attributes::{PREFERENCES, stored, with_preference};
use super::identifier::{Identifier, KeyKind, ObjectKey, PersonKey, identifier_text, is_email};
use super::lint::LintKind;
use super::objects::change;
use super::operation::{Creation, Identify, ObjectAction, ObjectLink, Operation, PersonAction, PersonLink};
use super::people::{Attribute, Event, Serial};
use super::queue::Accepted;
use super::quirks::{IdentifierConflict, KnownEmailNewId, UnknownPerson};
use super::workspace::Workspace;

const BELONGS_TO_ANOTHER: &str = "The identifier is already associated with a different profile.";
const NO_EMAIL: &str = "The value is not a valid email address.";
const ALREADY_SET: &str = "The identifier is already set and can be changed by cio_id only.";

/// When an update happened, and whether the client said so.
#[derive(Debug, Clone, Copy)]
struct Moment {
    secs: i64,
    stated: bool,
}

impl Workspace {
    /// Applies what is due.
    pub(crate) fn apply_due(&mut self) {
        self.apply_until(self.now_ms());
    }

    /// Applies everything that has been accepted, and says how many operations that were.
    pub(crate) fn drain(&mut self) -> usize {
        self.apply_until(i64::MAX)
    }

    fn apply_until(&mut self, due_ms: i64) -> usize {
        let mut applied = 0;
        while let Some(accepted) = self.queue.next_due(due_ms) {
            self.apply(accepted);
            applied += 1;
        }
        applied
    }

    pub(crate) fn apply(&mut self, Accepted { operation, accepted_at_ms, .. }: Accepted) {
        let now = Moment { secs: accepted_at_ms.div_euclid(1_000), stated: false };
        match operation {
            Operation::Person { who, action } => self.apply_person(&who, action, now),
            Operation::Merge { primary, secondary } => self.merge(&primary, &secondary),
            Operation::Object { key, action } => self.apply_object(&key, action, now),
            Operation::Segment { id, people, adds } => self.change_segment(id, &people, adds),
            Operation::AnonymousEvent => self.stats.events_recorded += 1,
            Operation::Delivery => {}
        }
    }

    fn apply_person(&mut self, who: &Identifier, action: PersonAction, now: Moment) {
        match action {
            PersonAction::Suppress => return self.suppress(who),
            PersonAction::Unsuppress => return self.unsuppress(&who.key()),
            _ if self.is_suppressed(&who.key()) => return self.skipped(who, "suppressed"),
            _ => {}
        }
        match action {
            PersonAction::Identify(identify) => self.identify(who, &identify, now),
            PersonAction::Delete => {
                if let Some(serial) = self.people.find(&who.key()) {
                    self.remove(serial);
                }
            }
            PersonAction::Event(event) => self.record(who, event, now),
            PersonAction::AddDevice(device) => {
                if let Some(person) = self.person_or_new(who, now).and_then(|serial| self.people.get_mut(serial)) {
                    person.devices.insert(device.token.clone(), device);
                }
            }
            PersonAction::DeleteDevice(token) => {
                if let Some(person) = self.people.find(&who.key()).and_then(|serial| self.people.get_mut(serial)) {
                    person.devices.remove(&token);
                }
            }
            PersonAction::AddRelationships(links) => {
                if let Some(serial) = self.person_or_new(who, now) {
                    self.relate(serial, &links);
                }
            }
            PersonAction::DeleteRelationships(links) => {
                if let Some(serial) = self.people.find(&who.key()) {
                    self.unrelate(serial, &links);
                }
            }
            PersonAction::Suppress | PersonAction::Unsuppress => {}
        }
    }

    fn identify(&mut self, who: &Identifier, identify: &Identify, now: Moment) {
        let moment = identify.timestamp.map_or(now, |secs| Moment { secs, stated: true });
        let named = self.named_in(&identify.attributes);
        if named.iter().any(|identifier| self.is_suppressed(&identifier.key())) {
            return self.skipped(who, "suppressed");
        }
        let Some(serial) = self.target(who, &named, identify.creation, moment) else { return };
        let blocked: Vec<(&Identifier, &str)> =
            named.iter().filter_map(|wanted| Some((wanted, self.blocked(serial, who, wanted)?))).collect();
        for (identifier, reason) in &blocked {
            self.failed_attribute(Some(serial), identifier.kind.name(), &json!(identifier.value), reason);
        }
        let nothing_applies =
            !blocked.is_empty() && self.quirks.identifier_conflict == IdentifierConflict::NothingApplies;
        if !nothing_applies {
            let blocked: Vec<KeyKind> = blocked.iter().map(|(identifier, _)| identifier.kind).collect();
            for (name, value) in &identify.attributes {
                match KeyKind::named(name) {
                    Some(KeyKind::CioId) => {}
                    Some(kind) if self.identities.identifies(kind) => {
                        if !blocked.contains(&kind) {
                            self.set_identifier(serial, who, kind, value, moment);
                        }
                    }
                    _ => self.set_attribute(serial, name, value, moment),
                }
            }
        }
        self.unrelate(serial, &identify.removed);
        self.relate(serial, &identify.added);
    }

    /// Identifiers among the attributes.
    pub(crate) fn named_in(&self, attributes: &Map<String, Value>) -> Vec<Identifier> {
        self.identities
            .settable()
            .filter_map(|kind| {
                let value = identifier_text(attributes.get(kind.name())?).filter(|text| !text.is_empty())?;
                Some(Identifier { kind, value })
            })
            // An address that is none identifies nobody.
            .filter(|identifier| identifier.kind != KeyKind::Email || is_email(&identifier.value))
            .collect()
    }

    /// Whom an identify call is about: the person addressed, else the owner of another identifier in the call, else a
    /// new one.
    fn target(&mut self, who: &Identifier, named: &[Identifier], creation: Creation, moment: Moment) -> Option<Serial> {
        if let Some(serial) = self.people.find(&who.key()) {
            self.stats.people_updated += 1;
            return Some(serial);
        }
        if who.kind == KeyKind::CioId {
            self.skipped(who, "unknown cio_id");
            return None;
        }
        let owner = named.iter().filter(|i| i.kind != who.kind).find_map(|i| self.people.find(&i.key()));
        if let Some(serial) = owner {
            let has_one = self.people.get(serial).is_some_and(|person| person.text(who.kind.name()).is_some());
            if !has_one || self.quirks.known_email_new_id == KnownEmailNewId::Renames {
                self.people.identify(serial, who.kind, Some(&who.value), moment.secs);
                self.stats.people_updated += 1;
                return Some(serial);
            }
        }
        match creation {
            Creation::Allowed => Some(self.create(who, moment)),
            Creation::Silent => {
                self.stats.silent_failures += 1;
                None
            }
            Creation::Logged => {
                self.failed_attribute(None, who.kind.name(), &json!(who.value), "The profile does not exist.");
                None
            }
        }
    }

    fn create(&mut self, who: &Identifier, moment: Moment) -> Serial {
        let serial = self.people.create(self.id_prefix, moment.secs);
        self.people.identify(serial, who.kind, Some(&who.value), moment.secs);
        self.stats.people_created += 1;
        let about = self.about(serial);
        self.log(ActivityKind::ProfileCreate, about, json!({}));
        serial
    }

    /// Why a person cannot get an identifier, if so.
    fn blocked(&self, serial: Serial, who: &Identifier, wanted: &Identifier) -> Option<&'static str> {
        if self.people.find(&wanted.key()).is_some_and(|owner| owner != serial) {
            return Some(BELONGS_TO_ANOTHER);
        }
        let current = self.people.get(serial)?.text(wanted.kind.name())?;
        let same = PersonKey::new(wanted.kind, &current) == wanted.key();
        (!same && !self.may_change(who, wanted.kind)).then_some(ALREADY_SET)
    }

    fn may_change(&self, who: &Identifier, kind: KeyKind) -> bool {
        who.kind == KeyKind::CioId
            || (who.kind == KeyKind::Id && kind == KeyKind::Email && self.identities.allow_email_update_by_id)
    }

    /// Gives or takes an identifier that is not blocked.
    fn set_identifier(&mut self, serial: Serial, who: &Identifier, kind: KeyKind, value: &Value, moment: Moment) {
        let Some(current) = self.people.get(serial).map(|person| person.text(kind.name())) else { return };
        let text = identifier_text(value).filter(|text| !text.is_empty());
        if kind == KeyKind::Email && text.as_ref().is_some_and(|text| !is_email(text)) {
            return self.failed_attribute(Some(serial), kind.name(), value, NO_EMAIL);
        }
        match (&current, &text) {
            (None, None) => {}
            (Some(_), None) if !self.may_change(who, kind) => {
                self.failed_attribute(Some(serial), kind.name(), value, ALREADY_SET);
            }
            _ if current == text => self.unchanged(kind.name()),
            _ => {
                self.people.identify(serial, kind, text.as_deref(), moment.secs);
                self.changed(serial, kind.name(), &json!(current), &json!(text));
            }
        }
    }

    fn set_attribute(&mut self, serial: Serial, name: &str, value: &Value, moment: Moment) {
        let leaf = name.strip_prefix(PREFERENCES).and_then(|rest| rest.strip_prefix('.'));
        let name = if leaf.is_some() { PREFERENCES } else { name };
        if matches!(name, "_created_in_customerio_at" | "_last_emailed") {
            return self.failed_attribute(Some(serial), name, value, "The attribute is read-only.");
        }
        if name == "anonymous_id" && self.has_other_anonymous_id(serial, value) {
            return self.failed_attribute(Some(serial), name, value, BELONGS_TO_ANOTHER);
        }
        let new = stored(value, &self.quirks);
        let Some(person) = self.people.get_mut(serial) else { return };
        let old = person.attributes.get(name);
        let new = match leaf {
            Some(leaf) => Some(with_preference(old.map(|attribute| &attribute.value), leaf, new)),
            None => new,
        };
        if old.map(|attribute| &attribute.value) == new.as_ref() {
            // Removing what is not there is how clients make sure of it.
            if new.is_some() {
                self.unchanged(name);
            }
            return;
        }
        if moment.stated && old.is_some_and(|attribute| attribute.changed_at > moment.secs) {
            self.stats.silent_failures += 1;
            let about = self.about(serial);
            return self.log(ActivityKind::SkippedUpdate, about, json!({ name: { "reason": "older than the value" } }));
        }
        let old = match new.clone() {
            Some(value) => person.attributes.insert(name.to_owned(), Attribute { value, changed_at: moment.secs }),
            None => person.attributes.remove(name),
        };
        self.changed(serial, name, &json!(old.map(|attribute| attribute.value)), &json!(new));
    }

    fn has_other_anonymous_id(&self, serial: Serial, value: &Value) -> bool {
        self.people.all().any(|(other, person)| {
            other != serial && person.attributes.get("anonymous_id").is_some_and(|owned| owned.value == *value)
        })
    }

    fn record(&mut self, who: &Identifier, event: Event, now: Moment) {
        if event.id.as_ref().is_some_and(|id| !self.event_ids.insert(id.clone())) {
            return self.skipped(who, "duplicate event id");
        }
        let Some(serial) = self.person_or_new(who, now) else {
            self.stats.silent_failures += 1;
            return self.log(ActivityKind::FailedEvent, About::default(), json!({ "reason": "unknown person" }));
        };
        self.stats.events_recorded += 1;
        let data = json!({ "name": event.name });
        if let Some(person) = self.people.get_mut(serial) {
            person.events.push(event);
        }
        let about = self.about(serial);
        self.log(ActivityKind::Event, about, data);
    }

    fn person_or_new(&mut self, who: &Identifier, now: Moment) -> Option<Serial> {
        let found = self.people.find(&who.key());
        let creates = who.kind != KeyKind::CioId && self.quirks.unknown_person == UnknownPerson::Created;
        match found {
            None if creates => Some(self.create(who, now)),
            found => found,
        }
    }

    /// Removes a person and all that belongs to them.
    fn remove(&mut self, serial: Serial) {
        let about = self.about(serial);
        if self.people.remove(serial).is_some() {
            self.objects.forget(serial);
            self.segments.forget(serial);
            self.stats.people_deleted += 1;
            self.log(ActivityKind::ProfileDelete, about, json!({}));
        }
    }

    /// Removes the person and blocks all their identifiers. The service's own id goes with the person.
    fn suppress(&mut self, who: &Identifier) {
        let mut blocked = vec![who.key()];
        if let Some(serial) = self.people.find(&who.key()) {
            blocked.extend(self.people.get(serial).map(|person| person.keys(self.identities)).unwrap_or_default());
            self.remove(serial);
        }
        let group = self.next_suppression;
        self.next_suppression += 1;
        let lasting = blocked.into_iter().filter(|key| key.kind != KeyKind::CioId);
        self.suppressed.extend(lasting.map(|key| (key, group)));
    }

    /// Frees an identifier, and with it those that were blocked together with it.
    fn unsuppress(&mut self, key: &PersonKey) {
        if let Some(freed) = self.suppressed.get(key).copied() {
            self.suppressed.retain(|_, group| *group != freed);
        }
    }

    fn is_suppressed(&self, key: &PersonKey) -> bool {
        self.suppressed.contains_key(key)
    }

    /// The secondary person fills what the primary one lacks, and goes.
    fn merge(&mut self, primary: &Identifier, secondary: &Identifier) {
        let (Some(kept), Some(gone)) = (self.people.find(&primary.key()), self.people.find(&secondary.key())) else {
            return self.skipped(primary, "merge of an unknown person");
        };
        if kept == gone {
            return;
        }
        let gone_about = self.about(gone);
        self.objects.move_person(gone, kept);
        self.segments.move_person(gone, kept);
        let Some(other) = self.people.remove(gone) else { return };
        for (name, attribute) in other.attributes {
            let lacks = self.people.get(kept).is_some_and(|person| !person.attributes.contains_key(&name));
            match KeyKind::named(&name).filter(|kind| self.identities.identifies(*kind)) {
                _ if !lacks => {}
                Some(kind) => {
                    let text = identifier_text(&attribute.value);
                    self.people.identify(kept, kind, text.as_deref(), attribute.changed_at);
                }
                None => {
                    if let Some(person) = self.people.get_mut(kept) {
                        person.attributes.insert(name, attribute);
                    }
                }
            }
        }
        if let Some(person) = self.people.get_mut(kept) {
            person.events.extend(other.events);
            for (token, device) in other.devices {
                person.devices.entry(token).or_insert(device);
            }
        }
        self.stats.people_deleted += 1;
        let about = self.about(kept);
        self.log(ActivityKind::ProfileMerge, about, json!({ "cio_id": gone_about.cio_id }));
    }

    /// Whom nothing names is passed over: nobody is told.
    fn change_segment(&mut self, id: u64, people: &[Identifier], adds: bool) {
        for who in people {
            match self.people.find(&who.key()) {
                None => self.stats.silent_failures += 1,
                Some(serial) if self.segments.change(id, serial, adds) => {
                    let counter = if adds { &mut self.stats.members_added } else { &mut self.stats.members_removed };
                    *counter += 1;
                }
                Some(_) => {}
            }
        }
    }

    fn relate(&mut self, person: Serial, links: &[ObjectLink]) {
        for link in links {
            let object = self.objects.find_or_create(&link.object, self.id_prefix);
            if let Some(object) = object.and_then(|id| self.objects.get_mut(&id)) {
                change(object.people.entry(person).or_default(), &link.attributes);
            } else {
                self.stats.silent_failures += 1;
            }
        }
    }

    fn unrelate(&mut self, person: Serial, links: &[ObjectLink]) {
        for link in links {
            if let Some(object) = self.objects.find(&link.object).and_then(|id| self.objects.get_mut(&id)) {
                object.people.remove(&person);
            }
        }
    }

    fn apply_object(&mut self, key: &ObjectKey, action: ObjectAction, now: Moment) {
        let id = match action {
            ObjectAction::Identify { .. } | ObjectAction::AddRelationships(_) => {
                self.objects.find_or_create(key, self.id_prefix)
            }
            ObjectAction::Delete | ObjectAction::DeleteRelationships(_) => self.objects.find(key),
        };
        let Some(id) = id else { return self.stats.silent_failures += 1 };
        match action {
            ObjectAction::Identify { attributes, people } => {
                if let Some(object) = self.objects.get_mut(&id) {
                    change(&mut object.attributes, &attributes);
                }
                self.relate_people(&ObjectKey::Id(id), people, now);
            }
            ObjectAction::AddRelationships(people) => self.relate_people(&ObjectKey::Id(id), people, now),
            ObjectAction::DeleteRelationships(people) => {
                for PersonLink { person, .. } in people {
                    if let Some(serial) = self.people.find(&person.key())
                        && let Some(object) = self.objects.get_mut(&id)
                    {
                        object.people.remove(&serial);
                    }
                }
            }
            ObjectAction::Delete => self.objects.remove(&id),
        }
    }

    fn relate_people(&mut self, object: &ObjectKey, people: Vec<PersonLink>, now: Moment) {
        for PersonLink { person, attributes } in people {
            if self.is_suppressed(&person.key()) {
                self.skipped(&person, "suppressed");
            } else if let Some(serial) = self.person_or_new(&person, now) {
                self.relate(serial, &[ObjectLink { object: object.clone(), attributes }]);
            }
        }
    }

    fn about(&self, serial: Serial) -> About {
        self.people.get(serial).map_or_else(About::default, |person| About {
            customer_id: person.text("id"),
            cio_id: person.text("cio_id"),
        })
    }

    fn changed(&mut self, serial: Serial, name: &str, from: &Value, to: &Value) {
        self.stats.attributes_changed += 1;
        let about = self.about(serial);
        self.log(ActivityKind::AttributeChange, about, json!({ name: { "from": from, "to": to } }));
    }

    fn unchanged(&mut self, name: &str) {
        self.stats.attributes_unchanged += 1;
        self.lints.push(LintKind::UnchangedValue, name);
    }

    fn failed_attribute(&mut self, serial: Option<Serial>, name: &str, value: &Value, reason: &str) {
        self.stats.silent_failures += 1;
        let about = serial.map(|serial| self.about(serial)).unwrap_or_default();
        let data = json!({ name: { "reason": reason, "value": value } });
        self.log(ActivityKind::FailedAttributeChange, about, data);
    }

    fn skipped(&mut self, who: &Identifier, reason: &str) {
        self.stats.silent_failures += 1;
        let customer_id = (who.kind == KeyKind::Id).then(|| who.value.clone());
        let about = About { customer_id, cio_id: None };
        self.log(ActivityKind::SkippedUpdate, about, json!({ "reason": reason }));
    }
}
