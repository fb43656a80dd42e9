// Package check_test renders the manifests and the chart of ../ as Kubernetes would be given them, and holds them against
// Kubernetes' own types and against the program. It is a module of its own: users of Tailfold need none of these tools.
package check_test

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const root = "../.." // of the repository

// manifests are the objects of one way to install, by kind.
type manifests struct {
	name    string
	objects map[string]any
}

// workers are what runs: the Deployment's or the StatefulSet's.
func (m manifests) workers(t *testing.T) (replicas *int32, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) {
	t.Helper()
	if d, ok := m.objects["Deployment"].(*appsv1.Deployment); ok {
		return d.Spec.Replicas, d.Spec.Selector, d.Spec.Template
	}
	s, ok := m.objects["StatefulSet"].(*appsv1.StatefulSet)
	if !ok {
		t.Fatalf("%s: there is neither a Deployment nor a StatefulSet", m.name)
	}
	return s.Spec.Replicas, s.Spec.Selector, s.Spec.Template
}

func (m manifests) static() bool { return m.objects["StatefulSet"] != nil }

// all are all ways to install.
func all(t *testing.T) []manifests {
	t.Helper()
	return []manifests{
		kustomize(t, "base"), kustomize(t, "static"), kustomize(t, "keda"),
		helm(t, "leases", nil),
		helm(t, "static", map[string]any{"assign": "static", "replicas": 3}),
		helm(t, "keda", map[string]any{"keda": map[string]any{"enabled": true}}),
		helm(t, "changed", map[string]any{"port": 9000, "secret": "other", "imagePullSecrets": []any{map[string]any{"name": "pull"}},
			"image":        map[string]any{"repository": "registry/tailfold", "tag": "v1"},
			"nodeSelector": map[string]any{"kubernetes.io/os": "linux"}, "networkPolicy": map[string]any{"enabled": false},
			"tolerations": []any{map[string]any{"key": "a", "operator": "Exists"}}, "podAnnotations": map[string]any{}}),
	}
}

func kustomize(t *testing.T, dir string) manifests {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("../kustomize", dir))
	if err != nil {
		t.Fatalf("kustomize %s: %v", dir, err)
	}
	text, err := rendered.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, "kustomize "+dir, string(text))
}

func helm(t *testing.T, name string, values map[string]any) manifests {
	t.Helper()
	text, err := renderChart(values)
	if err != nil {
		t.Fatalf("helm %s: %v", name, err)
	}
	return decode(t, "helm "+name, text)
}

func renderChart(values map[string]any) (string, error) {
	chart, err := loader.Load("../helm/tailfold")
	if err != nil {
		return "", err
	}
	if err := chart.Validate(); err != nil {
		return "", err
	}
	for name := range values { // a value that the chart does not have would change nothing
		if _, known := chart.Values[name]; !known {
			return "", fmt.Errorf("values.yaml has no %s", name)
		}
	}
	release := chartutil.ReleaseOptions{Name: "tailfold", Namespace: "default", IsInstall: true}
	with, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, with)
	if err != nil {
		return "", err
	}
	var names []string
	for name := range files {
		if path.Ext(name) == ".yaml" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, "---\n%s\n", files[name])
	}
	return text.String(), nil
}

// decode reads objects into the types of Kubernetes and KEDA: a field that these don't have is an error.
func decode(t *testing.T, name, text string) manifests {
	t.Helper()
	m := manifests{name, map[string]any{}}
	for _, document := range strings.Split("\n"+text, "\n---\n") {
		if strings.TrimSpace(document) == "" {
			continue
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, document)
		}
		into := map[string]any{
			"v1 ConfigMap": &corev1.ConfigMap{}, "v1 Service": &corev1.Service{}, "v1 ServiceAccount": &corev1.ServiceAccount{},
			"apps/v1 Deployment": &appsv1.Deployment{}, "apps/v1 StatefulSet": &appsv1.StatefulSet{},
			"policy/v1 PodDisruptionBudget": &policyv1.PodDisruptionBudget{}, "networking.k8s.io/v1 NetworkPolicy": &networkingv1.NetworkPolicy{},
			"keda.sh/v1alpha1 ScaledObject": &keda.ScaledObject{},
		}[kind.APIVersion+" "+kind.Kind]
		if into == nil {
			t.Fatalf("%s: %s %s is not expected:\n%s", name, kind.APIVersion, kind.Kind, document)
		}
		if err := strict(document, into); err != nil {
			t.Fatalf("%s: %s: %v\n%s", name, kind.Kind, err, document)
		}
		if m.objects[kind.Kind] != nil {
			t.Fatalf("%s has two objects of the kind %s", name, kind.Kind)
		}
		m.objects[kind.Kind] = into
	}
	return m
}

// strict decodes as the API server does: unlike Go's own decoder it takes no name in another case.
func strict(document string, into any) error {
	text, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(text, into)
	return errors.Join(append(unknown, err)...)
}

// A field that Kubernetes does not know must fail: else decode checks nothing.
func TestDecodingIsStrict(t *testing.T) {
	text, err := os.ReadFile("../kustomize/base/poddisruptionbudget.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, misspelt := range []string{"maxUnavailabel", "maxunavailable"} {
		if err := strict(strings.Replace(string(text), "maxUnavailable", misspelt, 1), &policyv1.PodDisruptionBudget{}); err == nil {
			t.Errorf("the field %s is accepted", misspelt)
		}
	}
	if err := strict(string(text), &policyv1.PodDisruptionBudget{}); err != nil {
		t.Error(err)
	}
}

// What makes no sense is refused by the chart, with the reason.
func TestTheChartRefusesWhatMakesNoSense(t *testing.T) {
	for says, values := range map[string]map[string]any{
		"assign is leases or static": {"assign": "both"},
		"needs assign: leases":       {"assign": "static", "keda": map[string]any{"enabled": true}},
	} {
		if _, err := renderChart(values); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", values, err)
		}
	}
}

// The overlay that docs/kubernetes.md shows works on each of the bases, with the reader's own configuration and image.
func TestTheOverlayOfThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```text\napiVersion: kustomize")
	overlay, _, ok := strings.Cut("apiVersion: kustomize"+rest, "```")
	const remote = "github.com/tailfold/tailfold/deploy/kustomize/base?ref=main"
	if !ok || !strings.Contains(overlay, remote) {
		t.Fatalf("the page has no overlay on %s", remote)
	}
	for _, base := range []string{"base", "static", "keda"} {
		disk, dir := filesys.MakeFsOnDisk(), t.TempDir()
		absolute, err := filepath.Abs(filepath.Join("../kustomize", base))
		if err != nil {
			t.Fatal(err)
		}
		local, err := filepath.Rel(dir, absolute) // kustomize takes no absolute path
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"kustomization.yaml": strings.Replace(overlay, remote, local, 1), "tailfold.yaml": "nats: {}\n"} {
			if err := disk.WriteFile(filepath.Join(dir, name), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, dir)
		if err != nil {
			t.Fatalf("on %s: %v", base, err)
		}
		text, err := rendered.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		m := decode(t, "the overlay on "+base, string(text))
		config := m.objects["ConfigMap"].(*corev1.ConfigMap)
		_, _, template := m.workers(t)
		if config.Data["tailfold.yaml"] != "nats: {}\n" || template.Spec.Volumes[0].ConfigMap.Name != config.Name ||
			template.Spec.Containers[0].Image != "registry.example/tailfold:v1" {
			t.Errorf("on %s: %v, %v, %s", base, config.Data, template.Spec.Volumes[0].ConfigMap, template.Spec.Containers[0].Image)
		}
	}
}
