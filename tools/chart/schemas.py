"""The schemas that kubeconform holds the rendered chart to, for every Kubernetes that is supported.

    schemas.py fetch         write schemas/ anew, from the OpenAPI documents in the Go modules of Kubernetes and the
                             definitions of the Prometheus Operator; needs Go
    schemas.py expand DIR    write for each version of Kubernetes a folder as kubeconform reads it

schemas/ holds what the chart uses, without descriptions: one file for each version, one for the Prometheus Operator. It is
in the repository because kubeconform has no schemas of its own: it would download them in every run, from the current state of
another repository, and the Go modules that they come from are 20 MB for each version.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).parent
SCHEMAS = HERE / "schemas"
CRDS = HERE / "../../crds"

# The latest of each minor version that the module proxy had when schemas/ was written.
KUBERNETES = ["v1.33.13", "v1.34.4", "v1.35.4", "v1.36.3", "v1.37.1"]
PROMETHEUS_OPERATOR = "v0.85.0"

# What the chart makes: names of definitions in the OpenAPI document.
KINDS = [
    "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.rbac.v1.ClusterRole",
    "io.k8s.api.rbac.v1.ClusterRoleBinding",
    "io.k8s.api.rbac.v1.Role",
    "io.k8s.api.rbac.v1.RoleBinding",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
]
REFERENCE = "#/definitions/"

# The groups that are called otherwise in the OpenAPI document.
GROUPS = {
    "core": "",
    "admissionregistration": "admissionregistration.k8s.io",
    "apiextensions": "apiextensions.k8s.io",
    "networking": "networking.k8s.io",
    "rbac": "rbac.authorization.k8s.io",
}


def module(name, version, folder):
    """The folder with the source of a Go module."""
    # Not among the user's own modules, and so that it can be removed.
    places = {**os.environ, "GOMODCACHE": str(folder), "GOFLAGS": "-modcacherw"}
    download = ["go", "mod", "download", "-json", f"{name}@{version}"]
    said = subprocess.run(download, check=True, capture_output=True, env=places)
    return pathlib.Path(json.loads(said.stdout)["Dir"])


def strict(schema, properties=False):
    """A schema without descriptions that takes no unknown field. `properties`: it is a map from names to schemas."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if properties:
        return {name: strict(one) for name, one in schema.items()}
    kept = {
        key: strict(value, key in ("properties", "definitions", "patternProperties"))
        for key, value in schema.items()
        if key not in ("description", "default", "example", "format") and not key.startswith("x-kubernetes-")
    }
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in kept
    if "properties" in kept and not open_ended:
        kept["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
        kept["type"] = ["integer", "string"]
    if schema.get("format") == "int-or-string":
        kept["type"] = ["integer", "string"]
    return kept


def needed(definitions, names):
    """The definitions of these names and all that they refer to."""
    found, open_names = {}, list(names)
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        found[name] = strict(definitions[name])
        text = json.dumps(definitions[name])
        open_names += [part.split('"')[0] for part in text.split(f'"{REFERENCE}')[1:]]
    return dict(sorted(found.items()))


def write(path, what):
    path.write_text(json.dumps(what, separators=(",", ":"), sort_keys=True).replace('"io.k8s', '\n"io.k8s') + "\n")


def fetch():
    SCHEMAS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for version in KUBERNETES:
            document = module("k8s.io/kubernetes", version, folder) / "api/openapi-spec/swagger.json"
            definitions = json.loads(document.read_text())["definitions"]
            minor = ".".join(version.split(".")[:2])
            write(SCHEMAS / f"{minor}.json", needed(definitions, KINDS))
        source = module("github.com/prometheus-operator/prometheus-operator", PROMETHEUS_OPERATOR, folder)
        files = source / "example/prometheus-operator-crd"
        kinds = [files / f"monitoring.coreos.com_{kind}.yaml" for kind in ("prometheusrules", "servicemonitors")]
        write(SCHEMAS / "prometheus-operator.json", [schema for file in kinds for schema in of_definition(file)])


def of_definition(file):
    """Group, version, kind and schema of what a custom resource definition defines; nothing for another object."""
    definition = yaml.safe_load(file.read_text())
    if definition["kind"] != "CustomResourceDefinition":
        return
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
        yield {"group": spec["group"], "version": version["name"], "kind": spec["names"]["kind"], "schema": schema}


def expand(target):
    custom = json.loads((SCHEMAS / "prometheus-operator.json").read_text())
    custom += [one for file in sorted(CRDS.glob("*.yaml")) for one in of_definition(file)]
    for file in sorted(SCHEMAS.glob("v*.json")):
        definitions = json.loads(file.read_text())
        folder = target / file.stem
        folder.mkdir(parents=True)
        for name in KINDS:
            *path, version, kind = name.split(".")
            group = GROUPS.get(path[-1], path[-1])
            schema = {"$ref": REFERENCE + name, "definitions": definitions}
            save(folder, group, version, kind, schema)
        for one in custom:
            save(folder, one["group"], one["version"], one["kind"], one["schema"])


def save(folder, group, version, kind, schema):
    # kubeconform says the version where there is no group.
    name = f"{kind.lower()}-{group or version}-{version}.json"
    (folder / name).write_text(json.dumps(schema))


match sys.argv[1:]:
    case ["fetch"]:
        fetch()
    case ["expand", target]:
        expand(pathlib.Path(target))
    case _:
        sys.exit(__doc__)
