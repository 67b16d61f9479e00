//! Users, one-time codes and sessions. Each change gives the events that are published with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use lastseen_client::{Activity, Draft, Event, InvalidEvent, UtcInstant};
use serde::Serialize;
use uuid::Uuid;

/// The time for which the token before the current one may be repeated: an answer was lost, or two tabs refreshed at once.
pub(crate) const GRACE: Duration = Duration::from_secs(30);
const ACCESS_FOR: Duration = Duration::from_mins(5);
const REFRESH_FOR: Duration = Duration::from_hours(24 * 90);
const CODE_FOR: Duration = Duration::from_mins(5);
const CODE_TRIES: u8 = 3;

/// All that the service knows.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// By tenant and user.
    users: BTreeMap<(String, String), Member>,
    /// Tenant and user of each membership, by e-mail, in the order in which they came.
    memberships: HashMap<String, Vec<(String, String)>>,
    sessions: HashMap<String, Session>,
    /// Those who were purged. Whoever comes back is somebody else.
    purged: HashSet<(String, String)>,
    codes: HashMap<String, SentCode>,
}

/// A membership of a person in a tenant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Member {
    pub(crate) tenant_id: String,
    pub(crate) user_id: String,
    email: String,
    name: String,
    role: String,
    confirmed: bool,
    deleted: bool,
}

/// A session of a membership. A token has the session's name, its version and a secret.
#[derive(Debug)]
struct Session {
    user: (String, String),
    version: u64,
    /// The secrets of all versions follow from it.
    key: Uuid,
    /// When the version before was replaced.
    replaced: Option<UtcInstant>,
    access: Uuid,
    issued: UtcInstant,
    revoked: bool,
}

#[derive(Debug)]
struct SentCode {
    text: String,
    sent: UtcInstant,
    tries_left: u8,
}

/// The tokens of a session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tokens {
    access_token: String,
    refresh_token: String,
    tenant_id: String,
    user_id: String,
}

/// The person who is signed in.
#[derive(Debug, Serialize)]
pub(crate) struct Me {
    #[serde(flatten)]
    user: Member,
    /// The tenants that the same person can switch to.
    tenants: Vec<String>,
}

/// A change: its answer, and the events of it.
#[derive(Debug)]
pub(crate) struct Changed<T> {
    pub(crate) answer: T,
    pub(crate) events: Vec<Event>,
}

/// Nothing was changed, and nothing happened that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the code is wrong, used, or too old")]
    WrongCode,
    #[error("not signed in")]
    SignedOut,
    #[error("the token was used before: the session has ended")]
    Replayed,
    #[error("only owners may do that")]
    NotAllowed,
    #[error("no such user or tenant")]
    Unknown,
    #[error("it is so already, or names are not allowed")]
    AlreadySo,
    #[error("the service stops")]
    Stopping,
}

impl From<InvalidEvent> for Refusal {
    fn from(_: InvalidEvent) -> Self {
        Self::AlreadySo
    }
}

impl Accounts {
    /// A code that proves the e-mail; a real service mails it. A new one replaces the one before.
    pub(crate) fn send_code(&mut self, email: &str, now: UtcInstant) -> String {
        let code = format!("{:06}", Uuid::new_v4().as_u128() % 1_000_000);
        let sent = SentCode { text: code.clone(), sent: now, tries_left: CODE_TRIES };
        self.codes.insert(email.to_owned(), sent);
        code
    }

    fn prove(&mut self, (email, code): (&str, &str), now: UtcInstant) -> Result<(), Refusal> {
        let sent = self.codes.get_mut(email).ok_or(Refusal::WrongCode)?;
        if sent.text == code && sent.tries_left > 0 && now <= sent.sent.saturating_add(CODE_FOR) {
            self.codes.remove(email);
            return Ok(());
        }
        sent.tries_left = sent.tries_left.saturating_sub(1);
        Err(Refusal::WrongCode)
    }

    /// Completes a sign-up: a tenant of its own, whose owner the person is.
    pub(crate) fn sign_up(
        &mut self,
        proof: (&str, &str),
        now: UtcInstant,
    ) -> Result<Changed<Tokens>, Refusal> {
        self.prove(proof, now)?;
        let user = self.add(&name_of("ten"), proof.0, ("Owner", true))?;
        let created = Event::user_created(&user.0, &user.1, true).at(now).build()?;
        let seen = Event::signup_complete(&user.0, &user.1);
        self.open(user, vec![created], seen, now)
    }

    /// Signs in. Whoever was invited is confirmed by it.
    pub(crate) fn log_in(
        &mut self,
        proof: (&str, &str),
        tenant: Option<&str>,
        now: UtcInstant,
    ) -> Result<Changed<Tokens>, Refusal> {
        self.prove(proof, now)?;
        let is_asked = |user: &Member| !user.deleted && tenant.is_none_or(|tenant| user.tenant_id == tenant);
        let user =
            self.of_person(proof.0).find(|user| is_asked(user)).map(Member::key).ok_or(Refusal::Unknown)?;
        let events = self.confirm(&user, now)?;
        let seen = Event::login(&user.0, &user.1);
        self.open(user, events, seen, now)
    }

    /// Renews a session. Only the current token does, and only that is an event.
    pub(crate) fn refresh(&mut self, token: &str, now: UtcInstant) -> Result<Changed<Tokens>, Refusal> {
        let (name, version, secret) = parsed(token).ok_or(Refusal::SignedOut)?;
        let session =
            self.sessions.get_mut(name).filter(|session| !session.revoked).ok_or(Refusal::SignedOut)?;
        if now > session.issued.saturating_add(REFRESH_FOR) {
            return Err(Refusal::SignedOut);
        }
        // Whoever knows the name of a session alone cannot end it.
        if version > session.version || secret != session.secret(version) {
            return Err(Refusal::SignedOut);
        }
        if version == session.version {
            session.replaced = Some(now);
            session.version += 1;
            session.access = Uuid::new_v4();
            session.issued = now;
            let (tenant, user) = &session.user;
            // Two processes that share their sessions would publish the same event: one counts.
            let event = Event::token_refresh(tenant, user).of_token(name, session.version).at(now).build()?;
            return Ok(Changed { answer: session.tokens(name), events: vec![event] });
        }
        // A retry: it is given what the first one was given, and nobody was seen again.
        let is_retry = |replaced: UtcInstant| now <= replaced.saturating_add(GRACE);
        if version + 1 == session.version && session.replaced.is_some_and(is_retry) {
            return Ok(Changed { answer: session.tokens(name), events: vec![] });
        }
        // Somebody has a token that was used before: neither is to go on.
        session.revoked = true;
        Err(Refusal::Replayed)
    }

    /// Enters another tenant of the same person: the session there is a new one, and that of the source ends. Only the
    /// membership in the target is seen.
    pub(crate) fn switch(
        &mut self,
        access: &str,
        tenant: &str,
        now: UtcInstant,
    ) -> Result<Changed<Tokens>, Refusal> {
        let (name, from) = self.signed_in(access, now)?;
        if from.tenant_id == tenant {
            return Err(Refusal::AlreadySo);
        }
        let is_target = |user: &&Member| user.tenant_id == tenant && !user.deleted;
        let to = self.of_person(&from.email).find(is_target).map(Member::key).ok_or(Refusal::Unknown)?;
        let events = self.confirm(&to, now)?;
        self.sessions.entry(name).and_modify(|session| session.revoked = true);
        let seen = Event::tenant_switch(&from.tenant_id, &to.0, &to.1);
        self.open(to, events, seen, now)
    }

    /// Ends a session. Nobody is seen by leaving.
    pub(crate) fn log_out(&mut self, access: &str, now: UtcInstant) -> Result<Changed<()>, Refusal> {
        let (name, _) = self.signed_in(access, now)?;
        self.sessions.entry(name).and_modify(|session| session.revoked = true);
        Ok(Changed { answer: (), events: vec![] })
    }

    /// The user of a session, and the tenants of the same person.
    pub(crate) fn me(&self, access: &str, now: UtcInstant) -> Result<Me, Refusal> {
        let (_, user) = self.signed_in(access, now)?;
        let others = self.of_person(&user.email).filter(|other| !other.deleted);
        let tenants = others.map(|other| other.tenant_id.clone()).collect();
        Ok(Me { user, tenants })
    }

    /// The users of the tenant, deleted ones among them.
    pub(crate) fn users(&self, access: &str, now: UtcInstant) -> Result<Vec<Member>, Refusal> {
        let (_, me) = self.signed_in(access, now)?;
        let of_tenant = self.users.range((me.tenant_id.clone(), String::new())..);
        Ok(of_tenant
            .map(|(_, user)| user.clone())
            .take_while(|user| user.tenant_id == me.tenant_id)
            .collect())
    }

    /// Invites somebody: a user who is not confirmed, and was never seen.
    pub(crate) fn invite(
        &mut self,
        access: &str,
        email: &str,
        now: UtcInstant,
    ) -> Result<Changed<String>, Refusal> {
        let owner = self.owner(access, now)?;
        let (tenant, user) = self.add(&owner.tenant_id, email, ("Member", false))?;
        let event = Event::user_created(&tenant, &user, false).at(now).build()?;
        Ok(Changed { answer: user, events: vec![event] })
    }

    /// A change of somebody's role: no activity, of neither of the two.
    pub(crate) fn change_role(
        &mut self,
        access: &str,
        user: &str,
        role: String,
        now: UtcInstant,
    ) -> Result<Changed<()>, Refusal> {
        let owner = self.owner(access, now)?;
        self.user(&owner.tenant_id, user)?.role = role;
        let event = Event::user_changed(&owner.tenant_id, user).at(now).build()?;
        Ok(Changed { answer: (), events: vec![event] })
    }

    /// An edit of one's own profile. The last refresh says that the user is there, the edit does not.
    pub(crate) fn edit_profile(
        &mut self,
        access: &str,
        name: String,
        now: UtcInstant,
    ) -> Result<Changed<()>, Refusal> {
        let (_, me) = self.signed_in(access, now)?;
        self.user(&me.tenant_id, &me.user_id)?.name = name;
        let event = Event::user_changed(&me.tenant_id, &me.user_id).at(now).build()?;
        Ok(Changed { answer: (), events: vec![event] })
    }

    /// Deletes users softly, all or none. Their sessions end.
    pub(crate) fn delete(
        &mut self,
        access: &str,
        users: &[String],
        now: UtcInstant,
    ) -> Result<Changed<()>, Refusal> {
        let owner = self.owner(access, now)?;
        for user in users {
            let found = self.user(&owner.tenant_id, user)?;
            if found.deleted || *user == owner.user_id {
                return Err(Refusal::AlreadySo);
            }
        }
        let mut events = Vec::new();
        for user in users {
            let key = (owner.tenant_id.clone(), user.clone());
            self.user(&key.0, user)?.deleted = true;
            for session in self.sessions.values_mut().filter(|session| session.user == key) {
                session.revoked = true;
            }
            events.push(Event::user_deleted(&key.0, user).at(now).build()?);
        }
        Ok(Changed { answer: (), events })
    }

    /// Undoes a soft deletion. The user is as last seen as before.
    pub(crate) fn restore(
        &mut self,
        access: &str,
        user: &str,
        now: UtcInstant,
    ) -> Result<Changed<()>, Refusal> {
        let owner = self.owner(access, now)?;
        let found = self.user(&owner.tenant_id, user)?;
        if !std::mem::replace(&mut found.deleted, false) {
            return Err(Refusal::AlreadySo);
        }
        let event = Event::user_restored(&owner.tenant_id, user).at(now).build()?;
        Ok(Changed { answer: (), events: vec![event] })
    }

    /// Forgets a deleted user. For Lastseen it was deleted before: there is no further event.
    pub(crate) fn purge(
        &mut self,
        access: &str,
        user: &str,
        now: UtcInstant,
    ) -> Result<Changed<()>, Refusal> {
        let owner = self.owner(access, now)?;
        let found = self.user(&owner.tenant_id, user)?;
        if !found.deleted {
            return Err(Refusal::AlreadySo);
        }
        let (email, key) = (found.email.clone(), found.key());
        self.users.remove(&key);
        self.purged.insert(key.clone());
        self.memberships.entry(email).and_modify(|of_person| of_person.retain(|other| *other != key));
        self.sessions.retain(|_, session| session.user != key);
        Ok(Changed { answer: (), events: vec![] })
    }

    fn of_person(&self, email: &str) -> impl Iterator<Item = &Member> {
        let keys = self.memberships.get(email).into_iter().flatten();
        keys.filter_map(|key| self.users.get(key))
    }

    fn user(&mut self, tenant: &str, user: &str) -> Result<&mut Member, Refusal> {
        self.users.get_mut(&(tenant.to_owned(), user.to_owned())).ok_or(Refusal::Unknown)
    }

    /// Adds a membership, one of a person in a tenant.
    fn add(
        &mut self,
        tenant: &str,
        email: &str,
        (role, confirmed): (&str, bool),
    ) -> Result<(String, String), Refusal> {
        if !email.contains('@') || self.of_person(email).any(|user| user.tenant_id == tenant) {
            return Err(Refusal::AlreadySo);
        }
        // The same person has the same id in each tenant: then Lastseen counts persons as well.
        let is_free = |user: &&Member| !self.purged.contains(&(tenant.to_owned(), user.user_id.clone()));
        let known = self.of_person(email).find(is_free).map(|user| user.user_id.clone());
        let user = Member {
            tenant_id: tenant.to_owned(),
            user_id: known.unwrap_or_else(|| name_of("usr")),
            email: email.to_owned(),
            name: String::new(),
            role: role.to_owned(),
            confirmed,
            deleted: false,
        };
        let key = user.key();
        self.memberships.entry(email.to_owned()).or_default().push(key.clone());
        self.users.insert(key.clone(), user);
        Ok(key)
    }

    /// Confirms a user who was only invited.
    fn confirm(&mut self, user: &(String, String), now: UtcInstant) -> Result<Vec<Event>, Refusal> {
        let user = self.users.get_mut(user).ok_or(Refusal::Unknown)?;
        if std::mem::replace(&mut user.confirmed, true) {
            return Ok(vec![]);
        }
        Ok(vec![Event::user_confirmed(&user.tenant_id, &user.user_id).at(now).build()?])
    }

    /// Opens a session; `seen` is the event of it.
    fn open(
        &mut self,
        user: (String, String),
        mut events: Vec<Event>,
        seen: Draft<Activity>,
        now: UtcInstant,
    ) -> Result<Changed<Tokens>, Refusal> {
        let name = name_of("ses");
        events.push(seen.of_token(&name, 1).at(now).build()?);
        let session = Session {
            user,
            version: 1,
            key: Uuid::new_v4(),
            replaced: None,
            access: Uuid::new_v4(),
            issued: now,
            revoked: false,
        };
        let answer = session.tokens(&name);
        self.sessions.insert(name, session);
        Ok(Changed { answer, events })
    }

    /// The session and the user of an access token.
    fn signed_in(&self, access: &str, now: UtcInstant) -> Result<(String, Member), Refusal> {
        let (name, secret) = access.split_once('.').ok_or(Refusal::SignedOut)?;
        let session = self.sessions.get(name).filter(|session| !session.revoked).ok_or(Refusal::SignedOut)?;
        let is_current = session.access.to_string() == secret;
        if !is_current || now > session.issued.saturating_add(ACCESS_FOR) {
            return Err(Refusal::SignedOut);
        }
        let user = self.users.get(&session.user).ok_or(Refusal::SignedOut)?;
        Ok((name.to_owned(), user.clone()))
    }

    fn owner(&self, access: &str, now: UtcInstant) -> Result<Member, Refusal> {
        let (_, user) = self.signed_in(access, now)?;
        if user.role == "Owner" { Ok(user) } else { Err(Refusal::NotAllowed) }
    }
}

impl Member {
    fn key(&self) -> (String, String) {
        (self.tenant_id.clone(), self.user_id.clone())
    }
}

impl Session {
    /// The secret of a version: a name in the namespace of the key. A real service signs its tokens.
    fn secret(&self, version: u64) -> Uuid {
        Uuid::new_v5(&self.key, version.to_string().as_bytes())
    }

    fn tokens(&self, name: &str) -> Tokens {
        Tokens {
            access_token: format!("{name}.{}", self.access),
            refresh_token: format!("{name}.{}.{}", self.version, self.secret(self.version)),
            tenant_id: self.user.0.clone(),
            user_id: self.user.1.clone(),
        }
    }
}

fn name_of(kind: &str) -> String {
    format!("{kind}_{}", Uuid::new_v4().simple())
}

/// Session, version and secret of a refresh token.
fn parsed(token: &str) -> Option<(&str, u64, Uuid)> {
    let (name, rest) = token.split_once('.')?;
    let (version, secret) = rest.split_once('.')?;
    Some((name, version.parse().ok()?, secret.parse().ok()?))
}
