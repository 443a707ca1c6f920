// Makes an OLM bundle from the rendered chart, and has the validators of the Operator Framework judge it.
//
//	helm template … | olm CHART_YAML ICON FOLDER
//
// OLM makes the ServiceAccount, the Deployment and the operator's rights from the ClusterServiceVersion. It takes no
// admission policies and makes the users' roles itself: docs/platforms.md says what that means.
package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/operator-framework/api/pkg/lib/version"
	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/operators/v1alpha1"
	"github.com/operator-framework/api/pkg/validation"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// What is read of Chart.yaml.
type chart struct {
	AppVersion  version.OperatorVersion `json:"appVersion"`
	Description string                  `json:"description"`
	KubeVersion string                  `json:"kubeVersion"`
	Keywords    []string                `json:"keywords"`
	Annotations map[string]string       `json:"annotations"`
}

// What is used of the rendered objects.
type rendered struct {
	deployment   *appsv1.Deployment
	clusterRules []rbacv1.PolicyRule
	rules        []rbacv1.PolicyRule
	service      *corev1.Service
	crds         []apiextensionsv1.CustomResourceDefinition
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 {
		return errors.New("usage: helm template … | olm CHART_YAML ICON FOLDER")
	}
	var about chart
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, &about); err != nil {
		return err
	}
	icon, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	objects, err := read(string(input))
	if err != nil {
		return err
	}
	csv, err := serviceVersion(about, icon, objects)
	if err != nil {
		return err
	}
	if err := write(arguments[2], csv, objects); err != nil {
		return err
	}
	return judge(arguments[2])
}

// The objects that OLM needs; it brings or refuses the others.
func read(input string) (rendered, error) {
	var found rendered
	for _, document := range strings.Split(input, "\n---\n") {
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return found, err
		}
		var err error
		switch object.Kind {
		case "Deployment":
			err = yaml.Unmarshal([]byte(document), &found.deployment)
		case "Service":
			err = yaml.Unmarshal([]byte(document), &found.service)
		case "ClusterRole":
			var role rbacv1.ClusterRole
			err = yaml.Unmarshal([]byte(document), &role)
			found.clusterRules = append(found.clusterRules, role.Rules...)
		case "Role":
			var role rbacv1.Role
			err = yaml.Unmarshal([]byte(document), &role)
			found.rules = append(found.rules, role.Rules...)
		case "CustomResourceDefinition":
			var crd apiextensionsv1.CustomResourceDefinition
			err = yaml.Unmarshal([]byte(document), &crd)
			crd.Annotations, crd.Labels = nil, nil
			found.crds = append(found.crds, crd)
		}
		if err != nil {
			return found, err
		}
	}
	if found.deployment == nil || found.service == nil || len(found.crds) == 0 {
		return found, errors.New("the rendered chart has no Deployment, no Service or no CRDs")
	}
	found.service.Namespace, found.service.Labels = "", nil
	return found, nil
}

func serviceVersion(about chart, icon []byte, objects rendered) (*v1alpha1.ClusterServiceVersion, error) {
	pod := &objects.deployment.Spec.Template.Spec
	var crds []v1alpha1.CRDDescription
	if err := yaml.Unmarshal([]byte(about.Annotations["artifacthub.io/crds"]), &crds); err != nil {
		return nil, err
	}
	examples, err := yaml.YAMLToJSON([]byte(about.Annotations["artifacthub.io/crdsExamples"]))
	if err != nil {
		return nil, err
	}
	modes := []v1alpha1.InstallMode{{Type: v1alpha1.InstallModeTypeAllNamespaces, Supported: true}}
	for _, mode := range []v1alpha1.InstallModeType{
		v1alpha1.InstallModeTypeOwnNamespace, v1alpha1.InstallModeTypeSingleNamespace, v1alpha1.InstallModeTypeMultiNamespace,
	} {
		modes = append(modes, v1alpha1.InstallMode{Type: mode})
	}
	csv := &v1alpha1.ClusterServiceVersion{
		TypeMeta: metav1.TypeMeta{
			APIVersion: v1alpha1.ClusterServiceVersionAPIVersion, Kind: v1alpha1.ClusterServiceVersionKind,
		},
		ObjectMeta: metav1.ObjectMeta{
			Name:      "functiongraph-operator.v" + about.AppVersion.String(),
			Namespace: "placeholder",
			Annotations: map[string]string{
				"alm-examples":   string(examples),
				"capabilities":   about.Annotations["artifacthub.io/operatorCapabilities"],
				"categories":     "Integration & Delivery",
				"containerImage": pod.Containers[0].Image,
				"description":    about.Description,
			},
		},
		Spec: v1alpha1.ClusterServiceVersionSpec{
			DisplayName:    "FunctionGraph Operator",
			Description:    about.Description + ".",
			Version:        about.AppVersion,
			MinKubeVersion: strings.TrimSuffix(strings.TrimPrefix(about.KubeVersion, ">="), "-0"),
			Maturity:       "alpha",
			Keywords:       about.Keywords,
			Provider:       v1alpha1.AppLink{Name: "The maintainers of functiongraph-operator"},
			Icon: []v1alpha1.Icon{{
				Data: base64.StdEncoding.EncodeToString(icon), MediaType: "image/svg+xml",
			}},
			InstallModes:              modes,
			RelatedImages:             []v1alpha1.RelatedImage{{Name: "operator", Image: pod.Containers[0].Image}},
			CustomResourceDefinitions: v1alpha1.CustomResourceDefinitions{Owned: crds},
			InstallStrategy: v1alpha1.NamedInstallStrategy{
				StrategyName: v1alpha1.InstallStrategyNameDeployment,
				StrategySpec: v1alpha1.StrategyDetailsDeployment{
					DeploymentSpecs: []v1alpha1.StrategyDeploymentSpec{{
						Name: objects.deployment.Name, Spec: objects.deployment.Spec,
					}},
					ClusterPermissions: []v1alpha1.StrategyDeploymentPermissions{{
						ServiceAccountName: pod.ServiceAccountName, Rules: objects.clusterRules,
					}},
					Permissions: []v1alpha1.StrategyDeploymentPermissions{{
						ServiceAccountName: pod.ServiceAccountName, Rules: objects.rules,
					}},
				},
			},
		},
	}
	return csv, nil
}

func write(folder string, csv *v1alpha1.ClusterServiceVersion, objects rendered) error {
	const metadata = `annotations:
  operators.operatorframework.io.bundle.mediatype.v1: registry+v1
  operators.operatorframework.io.bundle.manifests.v1: manifests/
  operators.operatorframework.io.bundle.metadata.v1: metadata/
  operators.operatorframework.io.bundle.package.v1: functiongraph-operator
  operators.operatorframework.io.bundle.channels.v1: alpha
  operators.operatorframework.io.bundle.channel.default.v1: alpha
`
	for _, name := range []string{"manifests", "metadata"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
	}
	files := map[string]any{
		"functiongraph-operator.clusterserviceversion.yaml": csv,
		"metrics.service.yaml":                              objects.service,
	}
	for _, crd := range objects.crds {
		files[crd.Name+".crd.yaml"] = crd
	}
	for name, object := range files {
		text, err := manifest(object)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "manifests", name), text, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "metadata", "annotations.yaml"), []byte(metadata), 0o644)
}

// An object without what Go's types add to it.
func manifest(object any) ([]byte, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	delete(fields, "status")
	return yaml.Marshal(fields)
}

func judge(folder string) error {
	bundle, err := manifests.GetBundleFromDir(folder)
	if err != nil {
		return err
	}
	failed := false
	validators := append(validation.DefaultBundleValidators, validation.ObjectValidator)
	for _, result := range validators.Validate(bundle.ObjectsToValidate()...) {
		for _, warning := range result.Warnings {
			fmt.Println("warning:", warning)
		}
		for _, wrong := range result.Errors {
			failed = true
			fmt.Fprintln(os.Stderr, "error:", wrong)
		}
	}
	if failed {
		return errors.New("the validators do not accept the bundle")
	}
	fmt.Println("the validators accept", folder)
	return nil
}
