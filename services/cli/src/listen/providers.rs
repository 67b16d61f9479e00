//! The formats of providers: a delivery to its entries. Only a user's own successful act is activity.

use lastseen_client::EventType;
use serde_json::Value;

use super::entry::{Entry, Happened, Meaning, is_one_of, millis, objects, text};

/// A product whose deliveries are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Provider {
    Auth0,
    Clerk,
    Entra,
    Keycloak,
    Okta,
    Supabase,
}

impl Provider {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auth0 => "auth0",
            Self::Clerk => "clerk",
            Self::Entra => "entra",
            Self::Keycloak => "keycloak",
            Self::Okta => "okta",
            Self::Supabase => "supabase",
        }
    }

    /// True if it sends again and again what is not taken, for hours.
    pub(super) fn is_patient(self) -> bool {
        !matches!(self, Self::Okta | Self::Supabase)
    }

    /// True if each of its entries names a tenant.
    pub(super) fn names_tenants(self) -> bool {
        matches!(self, Self::Entra | Self::Keycloak)
    }

    /// True if some of its entries name an organisation.
    pub(super) fn names_organizations(self) -> bool {
        matches!(self, Self::Auth0 | Self::Clerk)
    }

    /// Reads a delivery. `delivery` is its id, where the provider gives it one in a header.
    ///
    /// # Errors
    /// The body is not as the provider writes it.
    pub(super) fn read(self, body: &[u8], delivery: Option<&str>) -> Result<Vec<Entry>, String> {
        Ok(match self {
            Self::Auth0 => objects(body, &["logs"])?.iter().map(auth0).collect(),
            Self::Clerk => objects(body, &[])?.iter().map(|event| clerk(event, delivery)).collect(),
            Self::Entra => objects(body, &["records", "value"])?.iter().map(entra).collect(),
            Self::Keycloak => objects(body, &[])?.iter().map(keycloak).collect(),
            Self::Okta => {
                let hooks = objects(body, &[])?;
                let events = |hook: &Value| hook.pointer("/data/events").and_then(Value::as_array).cloned();
                let events: Option<Vec<_>> = hooks.iter().map(events).collect();
                events
                    .ok_or("expected the events of a hook in data.events")?
                    .iter()
                    .flatten()
                    .map(okta)
                    .collect()
            }
            Self::Supabase => objects(body, &[])?.iter().map(supabase).collect(),
        })
    }
}

fn unless_unknown(kind: String, known: &[&str]) -> Entry {
    let meaning = if is_one_of(&kind, known) { Meaning::Nothing } else { Meaning::Unknown };
    Entry::new(kind, meaning)
}

/// A log of a stream: `{"log_id", "data": {...}}`, or the data alone.
fn auth0(log: &Value) -> Entry {
    /// Failures, warnings and limits; steps of a login that is logged by itself; machines; acts of administrators.
    const NOTHING: &[&str] = &[
        "f*",
        "w",
        "limit_*",
        "pwd_leak",
        "slo",
        "seccft",
        "sapi",
        "mgmt_api_read",
        "sdu",
        "seacft",
        "seotpft",
        "seoobft",
        "sercft",
        "gd_*",
        "mfar",
        "scp",
        "scpr",
        "sce",
        "scpn",
        "scu",
        "scv",
        "sui",
        "srrt",
        "sv_*",
        "cls",
        "cs",
        "depnote",
        "api_limit*",
        "admin_update_launch",
        "du",
        "pla",
        "sys_*",
        "ublkdu",
    ];
    let data = log.get("data").unwrap_or(log);
    let kind = text(data, "/type").unwrap_or_default();
    let event_type = match kind.as_str() {
        "s" | "scoa" | "sens" | "sepft" | "sede" => EventType::Login,
        "sertft" | "ssa" => EventType::TokenRefresh,
        "ss" => EventType::SignupComplete,
        "sv" => EventType::UserConfirmed,
        _ => return unless_unknown(kind, NOTHING),
    };
    let happened = Happened {
        id: text(data, "/log_id").or_else(|| text(log, "/log_id")),
        user: text(data, "/user_id"),
        organization: text(data, "/organization_id"),
        at: text(data, "/date"),
        session: text(data, "/session_id"),
        ..Happened::default()
    };
    Entry::happened(kind, event_type, happened)
}

/// A message: `{"type", "data": {...}, "timestamp"}`.
fn clerk(message: &Value, delivery: Option<&str>) -> Entry {
    const NOTHING: &[&str] = &[
        "session.*",
        "email.*",
        "sms.*",
        "organization*",
        "role.*",
        "permission.*",
        "invitation.*",
        "waitlistEntry.*",
        "subscription*",
        "paymentAttempt.*",
    ];
    let kind = text(message, "/type").unwrap_or_default();
    let at = |pointer: &str| millis(message, pointer).or_else(|| millis(message, "/timestamp"));
    let of_user = Happened {
        id: delivery.map(str::to_owned),
        user: text(message, "/data/id"),
        at: at("/timestamp"),
        ..Happened::default()
    };
    let is_verified =
        |email: &Value| email.pointer("/verification/status").is_some_and(|it| it == "verified");
    let of_membership = || Happened {
        user: text(message, "/data/public_user_data/user_id"),
        organization: text(message, "/data/organization/id"),
        is_of_organization: true,
        ..of_user.clone()
    };
    match kind.as_str() {
        // Somebody of the support acts as the user.
        "session.created" if message["data"]["actor"].is_object() => Entry::new(kind, Meaning::Nothing),
        "organizationMembership.created" => {
            let happened = Happened { confirmed: Some(true), ..of_membership() };
            Entry::happened(kind, EventType::UserCreated, happened)
        }
        "organizationMembership.deleted" => Entry::happened(kind, EventType::UserDeleted, of_membership()),
        "session.created" => {
            let happened = Happened {
                user: text(message, "/data/user_id"),
                organization: text(message, "/data/last_active_organization_id"),
                at: at("/data/created_at"),
                session: text(message, "/data/id"),
                ..of_user
            };
            Entry::happened(kind, EventType::Login, happened)
        }
        "user.created" => {
            let emails = message.pointer("/data/email_addresses").and_then(Value::as_array);
            let confirmed = emails.into_iter().flatten().any(is_verified);
            let happened = Happened { at: at("/data/created_at"), confirmed: Some(confirmed), ..of_user };
            Entry::happened(kind, EventType::UserCreated, happened)
        }
        "user.updated" => {
            let happened = Happened { at: at("/data/updated_at"), ..of_user };
            Entry::happened(kind, EventType::UserChanged, happened)
        }
        "user.deleted" => Entry::happened(kind, EventType::UserDeleted, of_user),
        _ => unless_unknown(kind, NOTHING),
    }
}

/// A record of the diagnostic settings, `{"category", "properties": {...}}`, or a sign-in of Graph.
fn entra(record: &Value) -> Entry {
    const NOTHING: &[&str] =
        &["ServicePrincipal*", "ManagedIdentity*", "AuditLogs", "Provisioning*", "ADFS*"];
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let sign_in = record.get("properties").unwrap_or(record);
    let category = text(record, "/category");
    let is_interactive = match category.as_deref() {
        Some("SignInLogs") => true,
        Some("NonInteractiveUserSignInLogs") => false,
        Some(_) => return unless_unknown(category.unwrap_or_default(), NOTHING),
        None => sign_in["isInteractive"] != false,
    };
    let kind = category.unwrap_or_else(|| "signIn".to_owned());
    let error = text(sign_in, "/status/errorCode").or_else(|| text(record, "/resultType"));
    let user = text(sign_in, "/userId").filter(|user| user != NOBODY);
    if error.as_deref() != Some("0") || user.is_none() {
        return Entry::new(kind, Meaning::Nothing);
    }
    let happened = Happened {
        id: text(sign_in, "/id"),
        user,
        tenant: text(record, "/tenantId").or_else(|| text(sign_in, "/resourceTenantId")),
        at: text(sign_in, "/createdDateTime").or_else(|| text(record, "/time")),
        session: text(sign_in, "/sessionId"),
        ..Happened::default()
    };
    let event_type = if is_interactive { EventType::Login } else { EventType::TokenRefresh };
    Entry::happened(kind, event_type, happened)
}

/// An event as Keycloak has it, or as its extensions for webhooks send it: `access.LOGIN`, `admin.USER-DELETE`.
fn keycloak(event: &Value) -> Entry {
    /// Failures, steps of a login, services, administrators.
    const NOTHING: &[&str] = &[
        "*_ERROR",
        "CODE_TO_TOKEN",
        "LOGOUT",
        "CLIENT_*",
        "IMPERSONATE",
        "INTROSPECT_TOKEN",
        "USER_INFO_REQUEST",
        "IDENTITY_PROVIDER_*",
        "VALIDATE_ACCESS_TOKEN",
        "SEND_*",
        "RESET_PASSWORD",
        "UPDATE_*",
        "REMOVE_*",
        "GRANT_CONSENT",
        "REVOKE_GRANT",
        "PERMISSION_TOKEN",
        "EXECUTE_*",
        "CUSTOM_REQUIRED_ACTION",
        "OAUTH2_*",
        "FEDERATED_*",
        "admin.*",
        "TOKEN_EXCHANGE",
        "AUTHREQID_TO_TOKEN",
        "PUSHED_AUTHORIZATION_REQUEST",
        "INVITE_ORG",
        "USER_DISABLED_BY_*",
    ];
    let kind = text(event, "/type").unwrap_or_default();
    let name = kind.strip_prefix("access.").unwrap_or(&kind).to_owned();
    let of_path =
        || text(event, "/resourcePath").and_then(|path| path.strip_prefix("users/").map(str::to_owned));
    let happened = Happened {
        id: text(event, "/uid").or_else(|| text(event, "/id")),
        user: text(event, "/userId").or_else(|| text(event, "/authDetails/userId")),
        tenant: text(event, "/realmId").or_else(|| text(event, "/authDetails/realmId")),
        at: millis(event, "/time"),
        session: text(event, "/sessionId").or_else(|| text(event, "/authDetails/sessionId")),
        ..Happened::default()
    };
    let event_type = match name.as_str() {
        // A failure that bears the name of the act has an error beside it.
        _ if text(event, "/error").is_some() => return Entry::new(name, Meaning::Nothing),
        "LOGIN" => EventType::Login,
        "REFRESH_TOKEN" => EventType::TokenRefresh,
        "REGISTER" => EventType::SignupComplete,
        "VERIFY_EMAIL" => EventType::UserConfirmed,
        "UPDATE_PROFILE" | "UPDATE_EMAIL" => EventType::UserChanged,
        "DELETE_ACCOUNT" => EventType::UserDeleted,
        "admin.USER-DELETE" => {
            let happened = Happened { user: of_path(), ..happened };
            return Entry::happened(name, EventType::UserDeleted, happened);
        }
        "admin.USER-CREATE" => {
            let user =
                text(event, "/representation").and_then(|text| serde_json::from_str::<Value>(&text).ok());
            let confirmed = Some(user.is_some_and(|user| user["emailVerified"] == true));
            let happened = Happened { user: of_path(), confirmed, ..happened };
            return Entry::happened(name, EventType::UserCreated, happened);
        }
        _ => return unless_unknown(name, NOTHING),
    };
    Entry::happened(name, event_type, happened)
}

/// An event of the system log, as a hook sends it.
fn okta(event: &Value) -> Entry {
    const NOTHING: &[&str] = &[
        "user.session.*",
        "user.authentication.*",
        "policy.*",
        "system.*",
        "user.lifecycle.*",
        "user.account.*",
        "user.mfa.*",
        "app.*",
        "application.*",
        "group.*",
        "security.*",
        "device.*",
        "zone.*",
        "event_hook.*",
    ];
    let kind = text(event, "/eventType").unwrap_or_default();
    let is_success = event.pointer("/outcome/result").is_some_and(|result| result == "SUCCESS");
    let targets = event.get("target").and_then(Value::as_array);
    let target = || targets.into_iter().flatten().find(|target| target["type"] == "User");
    let is_user = event.pointer("/actor/type").is_some_and(|kind| kind == "User");
    let by_user = text(event, "/actor/id").filter(|_| is_user);
    let of_user = target().and_then(|target| text(target, "/id"));
    let (event_type, user) = match kind.as_str() {
        "user.session.start" => (EventType::Login, by_user),
        // A session that is there is used for another application.
        "user.authentication.sso" => (EventType::TokenRefresh, by_user),
        "user.lifecycle.create" => (EventType::UserCreated, of_user),
        "user.lifecycle.activate" => (EventType::UserConfirmed, of_user),
        "user.lifecycle.deactivate" => (EventType::UserDeleted, of_user),
        _ => return unless_unknown(kind, NOTHING),
    };
    if !is_success || user.is_none() {
        return Entry::new(kind, Meaning::Nothing);
    }
    let happened = Happened {
        id: text(event, "/uuid"),
        user,
        at: text(event, "/published"),
        session: text(event, "/authenticationContext/externalSessionId"),
        confirmed: (event_type == EventType::UserCreated).then_some(false),
        event_type: Some(event_type),
        ..Happened::default()
    };
    // It is the way back of a user who was deactivated.
    let is_back = event_type == EventType::UserConfirmed;
    let back = is_back.then(|| Happened { event_type: Some(EventType::UserRestored), ..happened.clone() });
    Entry::new(kind, Meaning::Happened([Some(happened), back].into_iter().flatten().collect()))
}

/// A row of `auth.audit_log_entries`, as a webhook of the database sends it.
fn supabase(change: &Value) -> Entry {
    const NOTHING: &[&str] = &[
        "logout",
        "token_revoked",
        "user_recovery_requested",
        "user_confirmation_requested",
        "user_repeated_signup",
        "user_updated_password",
        "user_modified",
        "user_reauthenticate_requested",
        "factor_*",
        "challenge_*",
        "verification_attempted",
        "generate_recovery_codes",
        "recovery_codes_deleted",
        "identity_*",
        "mfa_*",
        "user_signedup",
        "invite_accepted",
    ];
    let record = &change["record"];
    let kind = text(record, "/payload/action").unwrap_or_default();
    let by_user = text(record, "/payload/actor_id");
    // Somebody else, of whom an administrator disposes.
    let of_user = text(record, "/payload/traits/user_id");
    let (event_type, user, confirmed) = match kind.as_str() {
        _ if change["type"] != "INSERT" || change["table"] != "audit_log_entries" => {
            return Entry::new("not an insert into audit_log_entries", Meaning::Unknown);
        }
        "login" => (EventType::Login, by_user, None),
        "token_refreshed" => (EventType::TokenRefresh, by_user, None),
        "user_signedup" if of_user.is_none() => (EventType::SignupComplete, by_user, None),
        "user_invited" => (EventType::UserCreated, of_user, Some(false)),
        "user_deleted" => (EventType::UserDeleted, of_user, None),
        _ => return unless_unknown(kind, NOTHING),
    };
    let happened = Happened {
        id: text(record, "/id"),
        user,
        at: text(record, "/created_at"),
        confirmed,
        ..Happened::default()
    };
    Entry::happened(kind, event_type, happened)
}
