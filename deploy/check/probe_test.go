package check_test

import (
	"testing"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func TestX(t *testing.T) {
	_ = kedav1alpha1.ScaledObject{}
	_ = loader.Load
	_ = chartutil.Values{}
	_ = engine.Render
	_ = appsv1.Deployment{}
	_ = networkingv1.NetworkPolicy{}
	_ = policyv1.PodDisruptionBudget{}
	_ = krusty.MakeDefaultOptions
	_ = filesys.MakeFsOnDisk
	_ = yaml.UnmarshalStrict
}
