//! The function of an invocation: by URN or by name.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A function name. The schema allows longer texts, so that a URN in this field gets a message that helps.
const NAME: &str =
    "self.contains(':') || (size(self) <= 60 && self.matches('^[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?$'))";

/// The message for any other name without a colon.
const NO_NAME: &str = "a function name has at most 60 letters, digits, '-' and '_', begins with a letter, and ends with a letter or a digit";

/// The rule against `package:name` and `name:version`. A URN has a message of its own.
const NO_PARTS: &str = "self.startsWith('urn:') || !self.contains(':')";

/// A URN of a function.
const URN: &str = "!self.startsWith('urn:') || self.matches('^urn:fss:[a-z0-9-]+:[A-Za-z0-9_-]+:function:[A-Za-z0-9_.-]+:[A-Za-z][A-Za-z0-9_-]*(:(![A-Za-z][A-Za-z0-9_-]*|[A-Za-z0-9][A-Za-z0-9_.-]*))?$')";

/// The message for any other URN.
const NO_URN: &str = "expected urn:fss:REGION:PROJECT-ID:function:PACKAGE:NAME, with :VERSION or :!ALIAS at its end if you want one";

/// A version or an alias.
const QUALIFIER: &str = "self.matches('^(![A-Za-z][A-Za-z0-9_-]*|[A-Za-z0-9][A-Za-z0-9_.-]*)$')";

/// The message for anything else.
const NO_QUALIFIER: &str = "expected a version such as v1, or an alias with a leading '!' such as !prod";

/// A function, by URN or by name.
#[derive(KubeSchema, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.urn) != has(self.name)").message("set exactly one of function.urn and function.name"))]
#[x_kube(validation = Rule::new("!has(self.urn) || (!has(self.package) && !has(self.qualifier))").message("package and qualifier are part of the URN: set them only with function.name"))]
#[x_kube(validation = Rule::new("has(self.urn) == has(oldSelf.urn) && has(self.package) == has(oldSelf.package) && has(self.qualifier) == has(oldSelf.qualifier)").message("function is immutable: create a new FunctionInvocation"))]
pub struct FunctionRef {
    /// The full URN, `urn:fss:<region>:<project id>:function:<package>:<name>[:<version or !alias>]`. Its region and
    /// project must be those of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 269))]
    #[x_kube(validation = Rule::new("self.startsWith('urn:')").message("this is not a URN: use function.name"))]
    #[x_kube(validation = Rule::new(URN).message(NO_URN))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("function is immutable: create a new FunctionInvocation"))]
    pub urn: Option<String>,

    /// The function's name, for example `resize`, with at most 60 characters. Region and project come from the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 320))]
    #[x_kube(validation = Rule::new("!self.startsWith('urn:')").message("this is a URN: use function.urn"))]
    #[x_kube(validation = Rule::new(NO_PARTS).message("package and qualifier have fields of their own: use function.package and function.qualifier"))]
    #[x_kube(validation = Rule::new(NAME).message(NO_NAME))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("function is immutable: create a new FunctionInvocation"))]
    pub name: Option<String>,

    /// The function's package; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_.-]+$')").message("a package has letters, digits, '_', '.' and '-'"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("function is immutable: create a new FunctionInvocation"))]
    pub package: Option<String>,

    /// A version, for example `v1`, or an alias with a leading `!`, for example `!prod`; `latest` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65))]
    #[x_kube(validation = Rule::new(QUALIFIER).message(NO_QUALIFIER))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("function is immutable: create a new FunctionInvocation"))]
    pub qualifier: Option<String>,
}
