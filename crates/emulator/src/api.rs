//! The emulated APIs, and the API for a method and a path.

use std::collections::BTreeMap;
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
    /// Submits an event asynchronously.
    InvokeAsync,
    /// Submits an event and waits for its result.
    Invoke,
    /// Submits an event to an instance of its own.
    InvokeReserved,
    /// [`Api::InvokeAsync`] of version 1.0.
    InvokeAsyncV1,
    /// [`Api::Invoke`] of version 1.0.
    InvokeV1,
    /// Lists asynchronous invocations.
    ListAsync,
    /// Lists asynchronous invocations that have not ended.
    ListActive,
    /// Cancels an asynchronous invocation.
    Cancel,
    /// Shows the settings of asynchronous invocations.
    ShowAsyncConfig,
    /// Replaces the settings of asynchronous invocations.
    SetAsyncConfig,
    /// Removes the settings of asynchronous invocations.
    DeleteAsyncConfig,
    /// Lists the settings of asynchronous invocations of all versions.
    ListAsyncConfigs,
    /// Creates a function.
    CreateFunction,
    /// Shows the metadata of a function.
    ShowFunction,
    /// Changes the metadata of a function.
    UpdateFunction,
    /// Changes the maximum number of instances of a function.
    UpdateMaxInstances,
    /// Deletes a function or one of its versions.
    DeleteFunction,
    /// Shows where the code of a function is from.
    ShowCode,
    /// Replaces the code of a function.
    UpdateCode,
    /// Lists the versions of a function.
    ListVersions,
    /// Publishes a version of a function.
    CreateVersion,
    /// Lists the aliases of a function.
    ListAliases,
    /// Creates an alias.
    CreateAlias,
    /// Shows an alias.
    ShowAlias,
    /// Changes an alias.
    UpdateAlias,
    /// Deletes an alias.
    DeleteAlias,
    /// Lists the tags of a function.
    ListTags,
    /// Sets tags of a function.
    CreateTags,
    /// Removes tags of a function.
    DeleteTags,
    /// Replaces a reservation of instances.
    SetReserved,
    /// Lists the numbers of reserved instances.
    ListReserved,
    /// Lists the reservations of instances with their rules.
    ListReservedConfigs,
    /// Creates the log stream for invocation states.
    EnableStatusLog,
    /// Shows the log stream for invocation states.
    ShowStatusLog,
    /// Lists the quotas.
    ListQuotas,
    /// Lists the functions.
    ListFunctions,
    /// [`Api::ListFunctions`] of version 1.0.
    ListFunctionsV1,
    /// One of the identity services.
    Identity(IdentityApi),
}

/// A method, a path, and the name of the API there.
struct Line(Api, &'static str, &'static str, &'static str);

/// The path of an API of FunctionGraph.
macro_rules! v2 {
    ($rest:literal) => {
        concat!("/v2/{project_id}/fgs/", $rest)
    };
}

/// The path of an API of one function.
macro_rules! function {
    ($rest:literal) => {
        concat!("/v2/{project_id}/fgs/functions/{function_urn}/", $rest)
    };
}

/// Every API of FunctionGraph. A path without a parameter comes before one that has a parameter in its place.
const LINES: [Line; 37] = [
    Line(Api::InvokeAsync, "POST", function!("invocations-async"), "v2/invocations-async"),
    Line(Api::Invoke, "POST", function!("invocations"), "v2/invocations"),
    Line(Api::InvokeReserved, "POST", function!("reserved-invocations"), "v2/reserved-invocations"),
    Line(
        Api::InvokeAsyncV1,
        "POST",
        "/v1.0/{project_id}/fss/functions/{function_urn}/invocations-async",
        "v1.0/invocations-async",
    ),
    Line(
        Api::InvokeV1,
        "POST",
        "/v1.0/{project_id}/fss/functions/{function_urn}/invocations",
        "v1.0/invocations",
    ),
    Line(Api::ListAsync, "GET", function!("async-invocations"), "v2/async-invocations"),
    Line(Api::ListActive, "GET", function!("active-async-invocations"), "v2/active-async-invocations"),
    Line(Api::Cancel, "POST", function!("cancel"), "v2/cancel"),
    Line(Api::ShowAsyncConfig, "GET", function!("async-invoke-config"), "GET v2/async-invoke-config"),
    Line(Api::SetAsyncConfig, "PUT", function!("async-invoke-config"), "PUT v2/async-invoke-config"),
    Line(Api::DeleteAsyncConfig, "DELETE", function!("async-invoke-config"), "DELETE v2/async-invoke-config"),
    Line(Api::ListAsyncConfigs, "GET", function!("async-invoke-configs"), "v2/async-invoke-configs"),
    Line(Api::SetReserved, "PUT", function!("reservedinstances"), "PUT v2/reservedinstances"),
    Line(Api::ListReserved, "GET", v2!("functions/reservedinstances"), "GET v2/reservedinstances"),
    Line(
        Api::ListReservedConfigs,
        "GET",
        v2!("functions/reservedinstanceconfigs"),
        "v2/reservedinstanceconfigs",
    ),
    Line(
        Api::EnableStatusLog,
        "POST",
        v2!("functions/enable-async-status-logs"),
        "v2/enable-async-status-logs",
    ),
    Line(Api::ShowStatusLog, "GET", v2!("functions/async-status-log-detail"), "v2/async-status-log-detail"),
    Line(Api::ListQuotas, "GET", v2!("quotas"), "v2/quotas"),
    Line(Api::ListFunctions, "GET", v2!("functions"), "v2/functions"),
    Line(Api::ListFunctionsV1, "GET", "/v1.0/{project_id}/fss/functions", "v1.0/functions"),
    Line(Api::CreateFunction, "POST", v2!("functions"), "POST v2/functions"),
    Line(Api::DeleteFunction, "DELETE", v2!("functions/{function_urn}"), "DELETE v2/functions"),
    Line(Api::ShowFunction, "GET", function!("config"), "v2/config"),
    Line(Api::UpdateFunction, "PUT", function!("config"), "PUT v2/config"),
    Line(Api::UpdateMaxInstances, "PUT", function!("config-max-instance"), "v2/config-max-instance"),
    Line(Api::ShowCode, "GET", function!("code"), "v2/code"),
    Line(Api::UpdateCode, "PUT", function!("code"), "PUT v2/code"),
    Line(Api::ListVersions, "GET", function!("versions"), "v2/versions"),
    Line(Api::CreateVersion, "POST", function!("versions"), "POST v2/versions"),
    Line(Api::ListAliases, "GET", function!("aliases"), "v2/aliases"),
    Line(Api::CreateAlias, "POST", function!("aliases"), "POST v2/aliases"),
    Line(Api::ShowAlias, "GET", function!("aliases/{alias_name}"), "v2/aliases/{alias_name}"),
    Line(Api::UpdateAlias, "PUT", function!("aliases/{alias_name}"), "PUT v2/aliases/{alias_name}"),
    Line(Api::DeleteAlias, "DELETE", function!("aliases/{alias_name}"), "DELETE v2/aliases/{alias_name}"),
    Line(Api::ListTags, "GET", "/v2/{project_id}/functions/{function_urn}/tags", "v2/tags"),
    Line(Api::CreateTags, "POST", "/v2/{project_id}/functions/{function_urn}/tags/create", "v2/tags/create"),
    Line(
        Api::DeleteTags,
        "DELETE",
        "/v2/{project_id}/functions/{function_urn}/tags/delete",
        "v2/tags/delete",
    ),
];

impl Api {
    /// All APIs.
    pub fn all() -> impl Iterator<Item = Self> {
        let identity = IdentityApi::ALL.into_iter().map(Self::Identity);
        LINES.iter().map(|Line(api, ..)| *api).chain(identity)
    }

    /// The version and the last segment of the path, such as `v2/invocations-async`. If several APIs share these, the
    /// method may come first, such as `PUT v2/async-invoke-config`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity(api) => api.name(),
            own => LINES.iter().find(|Line(api, ..)| *api == own).map_or("", |Line(.., name)| name),
        }
    }

    /// Whether a call submits an event.
    #[must_use]
    pub fn invokes(self) -> bool {
        matches!(
            self,
            Self::InvokeAsync | Self::Invoke | Self::InvokeReserved | Self::InvokeAsyncV1 | Self::InvokeV1
        )
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
        let known = || Self::all().map(Self::name).collect::<Vec<_>>().join(", ");
        let api = Self::all().find(|api| api.name() == name);
        api.ok_or_else(|| D::Error::custom(format!("no API is called {name:?}; there are {}", known())))
    }
}

/// An API and the objects in its path, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) api: Api,
    parameters: BTreeMap<&'static str, String>,
}

impl Route {
    /// An API and the values of the parameters in its path.
    pub(crate) fn new(api: Api, parameters: &[(&'static str, &str)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { api, parameters }
    }

    /// The API for a method and a path on the port of virtual machines and pods. `pod` is the path of pod identity.
    pub(crate) fn local(method: &Method, path: &str, pod: Option<&str>) -> Option<Self> {
        IdentityApi::of_local(method, path, pod).map(|api| Self::new(api.into(), &[]))
    }

    /// The API for a method and a path of a request.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let identity =
            identity::LINES.iter().map(|(api, method, path)| (Api::Identity(*api), *method, *path));
        let own = LINES.iter().map(|Line(api, method, path, _)| (*api, *method, *path));
        own.chain(identity)
            .filter(|(_, of, _)| method.as_str() == *of)
            .find_map(|(api, _, template)| Some(Self { api, parameters: parameters(template, path)? }))
    }

    /// The project in the path; empty for the identity services.
    pub(crate) fn project_id(&self) -> &str {
        self.parameter("project_id").unwrap_or_default()
    }

    /// The function as the path names it: a URN or one of its short forms. None for calls without a function.
    pub(crate) fn function(&self) -> Option<&str> {
        self.parameter("function_urn")
    }

    /// Another parameter of the path.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// The values of the parameters of a path, if it fits the template.
fn parameters(template: &'static str, path: &str) -> Option<BTreeMap<&'static str, String>> {
    let (wanted, segments) = (template.split('/'), path.split('/'));
    if wanted.clone().count() != segments.clone().count() {
        return None;
    }
    let mut found = BTreeMap::new();
    for (wanted, segment) in wanted.zip(segments) {
        let segment = decode(segment);
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => {
                found.insert(name, segment);
            }
            None if wanted == segment => {}
            _ => return None,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_and_an_encoded_urn_lead_to_the_same_function() {
        let raw =
            Route::of(&Method::POST, "/v2/p/fgs/functions/urn:fss:r:p:function:d:f:!a/invocations-async");
        let encoded = "/v2/p/fgs/functions/urn%3Afss%3Ar%3Ap%3Afunction%3Ad%3Af%3A%21a/invocations-async";
        assert_eq!(raw.as_ref().unwrap().function(), Some("urn:fss:r:p:function:d:f:!a"));
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
        assert_eq!((route.api, route.function()), (IdentityApi::Projects.into(), None));
        let project = Route::of(&Method::GET, "/v3/projects/p").unwrap();
        assert_eq!((project.api, project.project_id()), (IdentityApi::ShowProject.into(), "p"));
        assert_eq!(Route::of(&Method::PUT, "/v3/auth/tokens"), None);
        assert_eq!(Route::of(&Method::POST, "/v3/auth/tokens").unwrap().api.source(), Source::Keystone);
    }

    #[test]
    fn calls_of_the_whole_project_name_no_function() {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let get = |path| {
            let route = Route::of(&Method::GET, path)?;
            Some((route.api, owned(route.function()), owned(route.parameter("alias_name"))))
        };
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
        for api in Api::all() {
            let written = serde_json::to_string(&api).unwrap();
            assert_eq!(serde_json::from_str::<Api>(&written).unwrap(), api);
        }
        let error = serde_json::from_str::<Api>("\"v2/nope\"").unwrap_err().to_string();
        assert!(error.contains("v2/nope") && error.contains("v2/async-invocations"), "{error}");
    }
}
