//! The emulated APIs, and the API for a method and a path.

use std::fmt;

use http::Method;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::request::decode;

mod identity;
pub use identity::IdentityApi;
pub(crate) use identity::{Port, Source};

/// One API. Ledger, statistics and faults use its [`Api::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// `POST /v2/{project_id}/fgs/functions/{function_urn}/invocations-async`
    InvokeAsync,
    /// `POST /v2/{project_id}/fgs/functions/{function_urn}/invocations`
    Invoke,
    /// `POST /v2/{project_id}/fgs/functions/{function_urn}/reserved-invocations`
    InvokeReserved,
    /// `POST /v1.0/{project_id}/fss/functions/{function_urn}/invocations-async`
    InvokeAsyncV1,
    /// `POST /v1.0/{project_id}/fss/functions/{function_urn}/invocations`
    InvokeV1,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/async-invocations`
    ListAsync,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/active-async-invocations`
    ListActive,
    /// `POST /v2/{project_id}/fgs/functions/{function_urn}/cancel`
    Cancel,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/async-invoke-config`
    ShowAsyncConfig,
    /// `PUT /v2/{project_id}/fgs/functions/{function_urn}/async-invoke-config`
    SetAsyncConfig,
    /// `DELETE /v2/{project_id}/fgs/functions/{function_urn}/async-invoke-config`
    DeleteAsyncConfig,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/async-invoke-configs`
    ListAsyncConfigs,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/config`
    ShowFunction,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/versions`
    ListVersions,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/aliases`
    ListAliases,
    /// `GET /v2/{project_id}/fgs/functions/{function_urn}/aliases/{alias_name}`
    ShowAlias,
    /// `PUT /v2/{project_id}/fgs/functions/{function_urn}/reservedinstances`
    SetReserved,
    /// `GET /v2/{project_id}/fgs/functions/reservedinstances`
    ListReserved,
    /// `GET /v2/{project_id}/fgs/functions/reservedinstanceconfigs`
    ListReservedConfigs,
    /// `POST /v2/{project_id}/fgs/functions/enable-async-status-logs`
    EnableStatusLog,
    /// `GET /v2/{project_id}/fgs/functions/async-status-log-detail`
    ShowStatusLog,
    /// `GET /v2/{project_id}/fgs/quotas`
    ListQuotas,
    /// `GET /v2/{project_id}/fgs/functions`
    ListFunctions,
    /// `GET /v1.0/{project_id}/fss/functions`
    ListFunctionsV1,
    /// One of the identity services.
    Identity(IdentityApi),
}

impl Api {
    /// All APIs.
    pub const ALL: [Self; 32] = [
        Self::InvokeAsync,
        Self::Invoke,
        Self::InvokeReserved,
        Self::InvokeAsyncV1,
        Self::InvokeV1,
        Self::ListAsync,
        Self::ListActive,
        Self::Cancel,
        Self::ShowAsyncConfig,
        Self::SetAsyncConfig,
        Self::DeleteAsyncConfig,
        Self::ListAsyncConfigs,
        Self::ShowFunction,
        Self::ListVersions,
        Self::ListAliases,
        Self::ShowAlias,
        Self::SetReserved,
        Self::ListReserved,
        Self::ListReservedConfigs,
        Self::EnableStatusLog,
        Self::ShowStatusLog,
        Self::ListQuotas,
        Self::ListFunctions,
        Self::ListFunctionsV1,
        Self::Identity(IdentityApi::Password),
        Self::Identity(IdentityApi::IdToken),
        Self::Identity(IdentityApi::SecurityTokens),
        Self::Identity(IdentityApi::AssumeAgency),
        Self::Identity(IdentityApi::Projects),
        Self::Identity(IdentityApi::MetadataToken),
        Self::Identity(IdentityApi::MetadataKey),
        Self::Identity(IdentityApi::PodIdentity),
    ];

    /// The version and the last segment of the path, such as `v2/invocations-async`. If several APIs share these, the
    /// method comes first, such as `PUT v2/async-invoke-config`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvokeAsync => "v2/invocations-async",
            Self::Invoke => "v2/invocations",
            Self::InvokeReserved => "v2/reserved-invocations",
            Self::InvokeAsyncV1 => "v1.0/invocations-async",
            Self::InvokeV1 => "v1.0/invocations",
            Self::ListAsync => "v2/async-invocations",
            Self::ListActive => "v2/active-async-invocations",
            Self::Cancel => "v2/cancel",
            Self::ShowAsyncConfig => "GET v2/async-invoke-config",
            Self::SetAsyncConfig => "PUT v2/async-invoke-config",
            Self::DeleteAsyncConfig => "DELETE v2/async-invoke-config",
            Self::ListAsyncConfigs => "v2/async-invoke-configs",
            Self::ShowFunction => "v2/config",
            Self::ListVersions => "v2/versions",
            Self::ListAliases => "v2/aliases",
            Self::ShowAlias => "v2/aliases/{alias_name}",
            Self::SetReserved => "PUT v2/reservedinstances",
            Self::ListReserved => "GET v2/reservedinstances",
            Self::ListReservedConfigs => "v2/reservedinstanceconfigs",
            Self::EnableStatusLog => "v2/enable-async-status-logs",
            Self::ShowStatusLog => "v2/async-status-log-detail",
            Self::ListQuotas => "v2/quotas",
            Self::ListFunctions => "v2/functions",
            Self::ListFunctionsV1 => "v1.0/functions",
            Self::Identity(api) => api.name(),
        }
    }

    /// Whether a call submits an event.
    #[must_use]
    pub fn invokes(self) -> bool {
        match self {
            Self::InvokeAsync
            | Self::Invoke
            | Self::InvokeReserved
            | Self::InvokeAsyncV1
            | Self::InvokeV1 => true,
            Self::ListAsync
            | Self::ListActive
            | Self::Cancel
            | Self::ShowAsyncConfig
            | Self::SetAsyncConfig
            | Self::DeleteAsyncConfig
            | Self::ListAsyncConfigs
            | Self::ShowFunction
            | Self::ListVersions
            | Self::ListAliases
            | Self::ShowAlias
            | Self::SetReserved
            | Self::ListReserved
            | Self::ListReservedConfigs
            | Self::EnableStatusLog
            | Self::ShowStatusLog
            | Self::ListQuotas
            | Self::ListFunctions
            | Self::ListFunctionsV1
            | Self::Identity(_) => false,
        }
    }

    /// The service that the API belongs to.
    pub(crate) fn source(self) -> Source {
        if let Self::Identity(api) = self { api.source() } else { Source::FunctionGraph }
    }
}

impl From<IdentityApi> for Api {
    fn from(api: IdentityApi) -> Self {
        Self::Identity(api)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Api {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Api {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let known = || Self::ALL.map(Self::name).join(", ");
        let api = Self::ALL.into_iter().find(|api| api.name() == name);
        api.ok_or_else(|| D::Error::custom(format!("no API is called {name:?}; there are {}", known())))
    }
}

/// An API and the objects in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) api: Api,
    /// Empty for the identity services.
    pub(crate) project_id: String,
    /// The function as the path names it: a URN or one of its short forms, decoded. None for calls without a
    /// function.
    pub(crate) function: Option<String>,
    /// The alias in the path.
    pub(crate) alias: Option<String>,
}

impl Route {
    /// An API without a project or a function.
    fn identity(api: IdentityApi) -> Self {
        Self { api: api.into(), project_id: String::new(), function: None, alias: None }
    }

    /// The API for a method and a path on the port of virtual machines and pods. `pod` is the path of pod identity.
    pub(crate) fn local(method: &Method, path: &str, pod: Option<&str>) -> Option<Self> {
        IdentityApi::of_local(method, path, pod).map(Self::identity)
    }

    /// The API for a method and a path of a request. Each API has one line here and one in `service`.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        if let Some(api) = IdentityApi::of(method, path) {
            return Some(Self::identity(api));
        }
        let segments: Vec<String> = path.strip_prefix('/')?.split('/').map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let [version, project_id, service, ref rest @ ..] = *segments.as_slice() else { return None };
        let call = (method.as_str(), version, service);
        let (api, function, alias) = match *rest {
            ["functions", function, "aliases", alias] => (of_alias(call)?, Some(function), Some(alias)),
            ["functions", function, last] => (of_function(call, last)?, Some(function), None),
            _ => (of_project(call, rest)?, None, None),
        };
        let (function, alias) = (function.map(str::to_owned), alias.map(str::to_owned));
        Some(Self { api, project_id: project_id.to_owned(), function, alias })
    }
}

/// Method, version and service.
type Head<'a> = (&'a str, &'a str, &'a str);

fn of_function((method, version, service): Head<'_>, last: &str) -> Option<Api> {
    Some(match (method, version, service, last) {
        ("POST", "v2", "fgs", "invocations-async") => Api::InvokeAsync,
        ("POST", "v2", "fgs", "invocations") => Api::Invoke,
        ("POST", "v2", "fgs", "reserved-invocations") => Api::InvokeReserved,
        ("POST", "v1.0", "fss", "invocations-async") => Api::InvokeAsyncV1,
        ("POST", "v1.0", "fss", "invocations") => Api::InvokeV1,
        ("GET", "v2", "fgs", "async-invocations") => Api::ListAsync,
        ("GET", "v2", "fgs", "active-async-invocations") => Api::ListActive,
        ("POST", "v2", "fgs", "cancel") => Api::Cancel,
        ("GET", "v2", "fgs", "async-invoke-config") => Api::ShowAsyncConfig,
        ("PUT", "v2", "fgs", "async-invoke-config") => Api::SetAsyncConfig,
        ("DELETE", "v2", "fgs", "async-invoke-config") => Api::DeleteAsyncConfig,
        ("GET", "v2", "fgs", "async-invoke-configs") => Api::ListAsyncConfigs,
        ("GET", "v2", "fgs", "config") => Api::ShowFunction,
        ("GET", "v2", "fgs", "versions") => Api::ListVersions,
        ("GET", "v2", "fgs", "aliases") => Api::ListAliases,
        ("PUT", "v2", "fgs", "reservedinstances") => Api::SetReserved,
        _ => return None,
    })
}

fn of_alias(head: Head<'_>) -> Option<Api> {
    (head == ("GET", "v2", "fgs")).then_some(Api::ShowAlias)
}

fn of_project((method, version, service): Head<'_>, rest: &[&str]) -> Option<Api> {
    Some(match (method, version, service, rest) {
        ("GET", "v2", "fgs", ["functions", "reservedinstances"]) => Api::ListReserved,
        ("GET", "v2", "fgs", ["functions", "reservedinstanceconfigs"]) => Api::ListReservedConfigs,
        ("POST", "v2", "fgs", ["functions", "enable-async-status-logs"]) => Api::EnableStatusLog,
        ("GET", "v2", "fgs", ["functions", "async-status-log-detail"]) => Api::ShowStatusLog,
        ("GET", "v2", "fgs", ["quotas"]) => Api::ListQuotas,
        ("GET", "v2", "fgs", ["functions"]) => Api::ListFunctions,
        ("GET", "v1.0", "fss", ["functions"]) => Api::ListFunctionsV1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_and_an_encoded_urn_lead_to_the_same_function() {
        let raw =
            Route::of(&Method::POST, "/v2/p/fgs/functions/urn:fss:r:p:function:d:f:!a/invocations-async");
        let encoded = "/v2/p/fgs/functions/urn%3Afss%3Ar%3Ap%3Afunction%3Ad%3Af%3A%21a/invocations-async";
        assert_eq!(raw.as_ref().unwrap().function.as_deref(), Some("urn:fss:r:p:function:d:f:!a"));
        assert_eq!(raw, Route::of(&Method::POST, encoded));
    }

    #[test]
    fn a_version_has_its_own_service_and_its_own_apis() {
        let post = |path| Route::of(&Method::POST, path).map(|route| route.api);
        assert_eq!(post("/v1.0/p/fss/functions/f/invocations"), Some(Api::InvokeV1));
        assert_eq!(post("/v1.0/p/fgs/functions/f/invocations"), None);
        assert_eq!(post("/v2/p/fss/functions/f/invocations"), None);
        assert_eq!(post("/v1.0/p/fss/functions/f/reserved-invocations"), None);
    }

    #[test]
    fn another_path_or_method_leads_nowhere() {
        let post = |path| Route::of(&Method::POST, path);
        assert_eq!(post("/v2/p/fgs/functions/f/async-invocations"), None);
        assert_eq!(post("/v2/p/fgs/functions/f/invocations-async/"), None);
        assert_eq!(post("/v3/p/fgs/functions/f/invocations-async"), None);
        assert_eq!(post("/"), None);
        assert_eq!(Route::of(&Method::GET, "/v2/p/fgs/functions/f/invocations-async"), None);
    }

    #[test]
    fn the_identity_services_have_paths_without_a_project() {
        let route = Route::of(&Method::GET, "/v3/projects").unwrap();
        assert_eq!((route.api, route.function), (IdentityApi::Projects.into(), None));
        assert_eq!(Route::of(&Method::GET, "/v3/auth/tokens"), None);
        assert_eq!(Route::of(&Method::POST, "/v3/auth/tokens").unwrap().api.source(), Source::Keystone);
    }

    #[test]
    fn calls_of_the_whole_project_name_no_function() {
        let get = |path| Route::of(&Method::GET, path).map(|route| (route.api, route.function, route.alias));
        let f = || Some("f".to_owned());
        assert_eq!(get("/v2/p/fgs/quotas"), Some((Api::ListQuotas, None, None)));
        assert_eq!(get("/v2/p/fgs/functions"), Some((Api::ListFunctions, None, None)));
        assert_eq!(get("/v1.0/p/fss/functions"), Some((Api::ListFunctionsV1, None, None)));
        assert_eq!(get("/v2/p/fgs/functions/reservedinstances"), Some((Api::ListReserved, None, None)));
        assert_eq!(get("/v2/p/fgs/functions/f/aliases"), Some((Api::ListAliases, f(), None)));
        let prod = Some("prod".to_owned());
        assert_eq!(get("/v2/p/fgs/functions/f/aliases/prod"), Some((Api::ShowAlias, f(), prod)));
        for nowhere in
            ["/v2/p/fgs/functions/quotas", "/v2/p/fgs/functions/f", "/v2/p/fgs", "/v2/p/fss/quotas"]
        {
            assert_eq!(get(nowhere), None, "{nowhere}");
        }
        // If a path has two meanings, the method decides.
        assert_eq!(get("/v2/p/fgs/functions/f/reservedinstances"), None);
    }

    #[test]
    fn every_api_is_read_by_the_name_it_is_written_with() {
        for api in Api::ALL {
            let written = serde_json::to_string(&api).unwrap();
            assert_eq!(serde_json::from_str::<Api>(&written).unwrap(), api);
        }
        let error = serde_json::from_str::<Api>("\"v2/nope\"").unwrap_err().to_string();
        assert!(error.contains("v2/nope") && error.contains("v2/async-invocations"), "{error}");
    }
}
