//! The workload: events and what people do in Pipedrive in between, the same for the same seed.
//!
//! - Of 100 events 50 are identify (one of eight that comes again says something new), 10 group, 12 deals (two of three about a deal that
//!   is there), 12 activities, 6 notes, 10 that no rule wants.
//! - Users come by Zipf's law, often several events of one user in a row. Who has no identify yet has no other event before it.
//! - The account is not empty: three of ten users are in it by their e-mail, a third of the groups by their name only.
//! - Between two parts people change names and plans, and add persons who later turn out to be users.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What a plan may be.
const PLANS: [&str; 3] = ["Free", "Pro", "Enterprise"];
/// What a tier may be.
const TIERS: [&str; 3] = ["Bronze", "Silver", "Gold"];

/// An event, as plain data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Identify { user: usize, name: String, plan: &'static str },
    Group { group: usize, name: String, tier: &'static str },
    Deal { user: usize, deal: usize, title: String, value: u64 },
    Activity { user: usize, subject: String },
    Note { user: usize, content: String },
    Unmatched { user: usize },
}

/// What a person does in Pipedrive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit {
    /// The plan of a user's person is set.
    Plan { user: usize, plan: &'static str },
    /// The name of a user's person is set.
    Name { user: usize, name: String },
    /// A person is entered, who will be this user.
    NewPerson { user: usize },
}

/// Events, then what people do after them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    pub(crate) events: Vec<Event>,
    pub(crate) edits: Vec<Edit>,
}

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Users who are persons from the start, known by their e-mail.
    pub(crate) persons: Vec<usize>,
    pub(crate) parts: Vec<Part>,
}

pub(crate) fn email(user: usize) -> String {
    format!("user{user}@example.com")
}

pub(crate) fn user_id(user: usize) -> String {
    format!("user-{user}")
}

pub(crate) fn group_id(group: usize) -> String {
    format!("group-{group}")
}

pub(crate) fn deal_id(deal: usize) -> String {
    format!("deal-{deal}")
}

/// The group that a user belongs to.
pub(crate) const fn group_of(user: usize, groups: usize) -> usize {
    user % groups
}

impl Workload {
    /// Groups of so many events in all.
    pub(crate) const fn groups(events: usize) -> usize {
        if events < 4_000 { 20 } else { events / 200 }
    }

    /// `events` events in `parts` parts.
    pub(crate) fn new(seed: u64, events: usize, parts: usize) -> Self {
        let mut maker = Maker::new(seed, events);
        let persons = (0..maker.users.len()).filter(|user| user % 10 < 3).collect();
        let per_part = events.div_ceil(parts);
        let parts = (0..parts).map(|_| maker.part(per_part)).collect();
        Self { persons, parts }
    }

    pub(crate) fn events(&self) -> usize {
        self.parts.iter().map(|part| part.events.len()).sum()
    }
}

/// What a user's source has last said.
#[derive(Debug, Clone, Default)]
struct User {
    said: Option<(String, &'static str)>,
    renames: usize,
    deals: Vec<usize>,
}

struct Maker {
    dice: Dice,
    users: Vec<User>,
    /// Sums of the users' weights.
    weights: Vec<f64>,
    groups: Vec<Option<(String, &'static str)>>,
    known: Vec<usize>,
    entered: BTreeSet<usize>,
    deals: usize,
    made: usize,
    /// The user of a burst, and how many of its events are left.
    burst: (usize, u64),
}

impl Maker {
    fn new(seed: u64, events: usize) -> Self {
        let users = (events / 5).max(50);
        let mut sum = 0.0;
        let weights = (1..=users)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        let groups = vec![None; Workload::groups(events)];
        let (known, entered) = (Vec::new(), BTreeSet::new());
        Self {
            dice: Dice::new(seed),
            users: vec![User::default(); users],
            weights,
            groups,
            known,
            entered,
            deals: 0,
            made: 0,
            burst: (0, 0),
        }
    }

    fn part(&mut self, events: usize) -> Part {
        let events = (0..events).map(|_| self.event()).collect();
        let edits = (0..self.known.len() / 20).filter_map(|_| self.edit()).collect();
        Part { events, edits }
    }

    fn event(&mut self) -> Event {
        self.made += 1;
        let user = self.user();
        let group = group_of(user, self.groups.len());
        // A user is identified, and its group told of, before anything else is said of it.
        if self.users[user].said.is_none() {
            return self.identify(user);
        }
        if self.groups[group].is_none() {
            return self.group(group);
        }
        match self.dice.below(100) {
            0..50 => self.identify(user),
            50..60 => self.group(group),
            60..72 => self.deal(user),
            72..84 => Event::Activity { user, subject: format!("Call {}", self.made) },
            84..90 => Event::Note { user, content: format!("Note {}", self.made) },
            _ => Event::Unmatched { user },
        }
    }

    /// By Zipf's law; a third of the events begin a burst.
    fn user(&mut self) -> usize {
        if self.burst.1 > 0 {
            self.burst.1 -= 1;
            return self.burst.0;
        }
        let all = self.weights[self.weights.len() - 1];
        let at = self.dice.below(1 << 32) as f64 / (1_u64 << 32) as f64 * all;
        let user = self.weights.partition_point(|sum| *sum < at).min(self.users.len() - 1);
        if self.dice.below(3) == 0 {
            self.burst = (user, 1 + self.dice.below(5));
        }
        user
    }

    fn identify(&mut self, user: usize) -> Event {
        let news = self.dice.below(100) < 12;
        let plan = PLANS[self.dice.below(3) as usize];
        let state = &mut self.users[user];
        let (name, plan) = match state.said.take() {
            None => {
                self.known.push(user);
                (format!("User {user}"), plan)
            }
            Some((_, before)) if news && plan != before => (name_of(user, state.renames), plan),
            Some((_, before)) if news => {
                state.renames += 1;
                (name_of(user, state.renames), before)
            }
            Some(said) => said,
        };
        state.said = Some((name.clone(), plan));
        Event::Identify { user, name, plan }
    }

    fn group(&mut self, group: usize) -> Event {
        let news = self.dice.below(100) < 12;
        let tier = TIERS[self.dice.below(3) as usize];
        let (name, tier) = match self.groups[group].take() {
            Some(said) if !news => said,
            Some((name, _)) => (name, tier),
            None => (format!("Group {group}"), tier),
        };
        self.groups[group] = Some((name.clone(), tier));
        Event::Group { group, name, tier }
    }

    fn deal(&mut self, user: usize) -> Event {
        let theirs = self.users[user].deals.len() as u64;
        let deal = if theirs == 0 || self.dice.below(3) == 0 {
            self.deals += 1;
            self.users[user].deals.push(self.deals);
            self.deals
        } else {
            self.users[user].deals[self.dice.below(theirs) as usize]
        };
        Event::Deal { user, deal, title: format!("Deal {deal}"), value: 100 * (1 + self.dice.below(20)) }
    }

    fn edit(&mut self) -> Option<Edit> {
        if self.dice.below(3) == 0 {
            let user = self.dice.below(self.users.len() as u64) as usize;
            let new = self.users[user].said.is_none() && user % 10 >= 3 && self.entered.insert(user);
            return new.then_some(Edit::NewPerson { user });
        }
        let user = self.known[self.dice.below(self.known.len() as u64) as usize];
        Some(if self.dice.below(2) == 0 {
            Edit::Plan { user, plan: PLANS[self.dice.below(3) as usize] }
        } else {
            Edit::Name { user, name: format!("User {user}, as sales knows them") }
        })
    }
}

fn name_of(user: usize, renames: usize) -> String {
    if renames == 0 { format!("User {user}") } else { format!("User {user} the {renames}.") }
}

/// The event as Segment's libraries send it.
pub(crate) fn json(event: &Event, number: usize, groups: usize) -> Value {
    let track = |user: usize, name: &str, properties: Value| {
        let context = json!({ "groupId": group_id(group_of(user, groups)) });
        json!({ "type": "track", "event": name, "userId": user_id(user), "context": context, "properties": properties })
    };
    let mut json = match event {
        Event::Identify { user, name, plan } => {
            json!({ "type": "identify", "userId": user_id(*user), "traits": { "name": name, "email": email(*user), "plan": plan } })
        }
        // The person who sent it plays no part: the lane of a group's events is the group.
        Event::Group { group, name, tier } => {
            let id = group_id(*group);
            json!({ "type": "group", "groupId": id, "anonymousId": id, "traits": { "name": name, "tier": tier } })
        }
        Event::Deal { user, deal, title, value } => {
            track(*user, "Deal Upserted", json!({ "deal_id": deal_id(*deal), "title": title, "value": value }))
        }
        Event::Activity { user, subject } => track(*user, "Activity Upserted", json!({ "subject": subject })),
        Event::Note { user, content } => track(*user, "Note Upserted", json!({ "content": content })),
        Event::Unmatched { user } => json!({ "type": "page", "userId": user_id(*user), "name": "Pricing" }),
    };
    json["messageId"] = format!("economy-{number}").into();
    json
}

/// Numbers by chance (SplitMix64), the same for the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
