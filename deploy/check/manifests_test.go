package check_test

import (
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Every kind that an installation needs is there, and all point at the same pods.
func TestObjectsBelongTogether(t *testing.T) {
	for _, m := range all(t) {
		_, selector, template := m.workers(t)
		pod := template.Labels
		selectors := map[string]*metav1.LabelSelector{
			"workers":             selector,
			"PodDisruptionBudget": m.objects["PodDisruptionBudget"].(*policyv1.PodDisruptionBudget).Spec.Selector,
			"Service":             {MatchLabels: m.objects["Service"].(*corev1.Service).Spec.Selector},
		}
		if policy, ok := m.objects["NetworkPolicy"].(*networkingv1.NetworkPolicy); ok {
			selectors["NetworkPolicy"] = &policy.Spec.PodSelector
			for _, peer := range policy.Spec.Ingress[0].From {
				if peer.PodSelector != nil && peer.PodSelector.MatchLabels["app.kubernetes.io/name"] != "" {
					t.Errorf("%s: only workers may read from workers", m.name)
				}
			}
			if !slices.Equal(policy.Spec.PolicyTypes, []networkingv1.PolicyType{"Ingress", "Egress"}) || *policy.Spec.Ingress[0].Ports[0].Port != intstr.FromString("http") {
				t.Errorf("%s: the network policy is %+v", m.name, policy.Spec)
			}
		} else if m.name != "helm changed" {
			t.Errorf("%s has no NetworkPolicy", m.name)
		}
		for what, s := range selectors {
			set, err := metav1.LabelSelectorAsSelector(s)
			if err != nil || set.Empty() || !set.Matches(labels.Set(pod)) {
				t.Errorf("%s: the selector of %s is %v (%v); pods have %v", m.name, what, s, err, pod)
			}
		}
		account := m.objects["ServiceAccount"].(*corev1.ServiceAccount)
		if account.Name != template.Spec.ServiceAccountName || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
			t.Errorf("%s: the service account is %+v", m.name, account)
		}
		if template.Spec.Volumes[0].ConfigMap.Name != m.objects["ConfigMap"].(*corev1.ConfigMap).Name {
			t.Errorf("%s: the pods' configuration is %v", m.name, template.Spec.Volumes[0].ConfigMap)
		}
		if set, ok := m.objects["StatefulSet"].(*appsv1.StatefulSet); ok {
			if set.Spec.ServiceName != m.objects["Service"].(*corev1.Service).Name || set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
				t.Errorf("%s: service %q, %s", m.name, set.Spec.ServiceName, set.Spec.PodManagementPolicy)
			}
		}
		t.Logf("%s: %d objects decoded strictly, %d selectors match the pods", m.name, len(m.objects), len(selectors))
	}
}

func TestPodsHaveNoPowers(t *testing.T) {
	for _, m := range all(t) {
		_, _, template := m.workers(t)
		spec := template.Spec
		yes, no, user := true, false, int64(65532) // the Dockerfile's user
		wantPod := &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
		wantContainer := &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
		if len(spec.Containers) != 1 || !reflect.DeepEqual(spec.SecurityContext, wantPod) || !reflect.DeepEqual(spec.Containers[0].SecurityContext, wantContainer) {
			t.Errorf("%s: pods may do more: %+v, %+v", m.name, spec.SecurityContext, spec.Containers[0].SecurityContext)
		}
		if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks || spec.HostNetwork || spec.HostPID {
			t.Errorf("%s: pods have a token or the host's names", m.name)
		}
		for _, mount := range spec.Containers[0].VolumeMounts {
			if !mount.ReadOnly {
				t.Errorf("%s: %s can be written", m.name, mount.MountPath)
			}
		}
		if memory := spec.Containers[0].Resources.Limits.Memory(); memory.IsZero() {
			t.Errorf("%s: the worker sets its garbage collector by the memory limit, and there is none", m.name)
		}
	}
}

// Probes, Service and policy name the port; the container, the worker's address and Prometheus' annotation have its number.
func TestPortsAgree(t *testing.T) {
	for _, m := range all(t) {
		_, _, template := m.workers(t)
		container := template.Spec.Containers[0]
		if len(container.Ports) != 1 || container.Ports[0].Name != "http" {
			t.Fatalf("%s: the container's ports are %v", m.name, container.Ports)
		}
		port := strconv.Itoa(int(container.Ports[0].ContainerPort))
		host, listens, err := net.SplitHostPort(environment(t, container, 0)["TAILFOLD_HTTP_LISTEN"])
		if err != nil || listens != port || host != "" && host != "0.0.0.0" {
			t.Errorf("%s: the worker listens on %q:%s (%v), the container's port is %s", m.name, host, listens, err, port)
		}
		for what, probe := range probes(container) {
			if probe.HTTPGet.Port != intstr.FromString("http") || probe.HTTPGet.Scheme != "" && probe.HTTPGet.Scheme != "HTTP" {
				t.Errorf("%s: the %s probe asks %+v", m.name, what, probe.HTTPGet)
			}
		}
		if s := m.objects["Service"].(*corev1.Service).Spec.Ports[0]; s.TargetPort != intstr.FromString("http") || strconv.Itoa(int(s.Port)) != port {
			t.Errorf("%s: the service has %+v", m.name, s)
		}
		if said, ok := template.Annotations["prometheus.io/port"]; ok && said != port {
			t.Errorf("%s: Prometheus is told port %s, not %s", m.name, said, port)
		}
	}
}

func probes(c corev1.Container) map[string]*corev1.Probe {
	return map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe}
}

// A chart and a kustomization that say different things would both have to be learnt.
func TestChartAndKustomizationRunTheSame(t *testing.T) {
	ways := map[string]manifests{}
	for _, m := range all(t) {
		ways[m.name] = m
	}
	for _, pair := range [][2]string{{"kustomize base", "helm leases"}, {"kustomize static", "helm static"}, {"kustomize keda", "helm keda"}} {
		var specs []corev1.PodSpec
		var counts []*int32
		for _, name := range pair {
			replicas, _, template := ways[name].workers(t)
			spec := template.Spec
			spec.Volumes[0].ConfigMap.Name = "same"
			spec.Containers[0].ImagePullPolicy = ""
			specs, counts = append(specs, spec), append(counts, replicas)
		}
		if !reflect.DeepEqual(specs[0], specs[1]) || !reflect.DeepEqual(counts[0], counts[1]) {
			t.Errorf("%s and %s differ:\n%+v\n%+v", pair[0], pair[1], specs[0], specs[1])
		}
		config := func(name string) string {
			text := ways[name].objects["ConfigMap"].(*corev1.ConfigMap).Data["tailfold.yaml"]
			return text[strings.Index(text, "nats:"):]
		}
		if config(pair[0]) != config(pair[1]) {
			t.Errorf("the configurations of %s and %s differ", pair[0], pair[1])
		}
	}
	scaled := func(name string) keda.ScaledObjectSpec {
		return ways[name].objects["ScaledObject"].(*keda.ScaledObject).Spec
	}
	if !reflect.DeepEqual(scaled("kustomize keda"), scaled("helm keda")) {
		t.Errorf("the ScaledObjects differ:\n%+v\n%+v", scaled("kustomize keda"), scaled("helm keda"))
	}
}

// More workers than partitions would stand idle, and who has a ScaledObject has no fixed number beside it.
func TestWorkersAreScaledByTheLagUpToThePartitions(t *testing.T) {
	for _, m := range []manifests{kustomize(t, "keda"), helm(t, "keda", map[string]any{"keda": map[string]any{"enabled": true}})} {
		spec := m.objects["ScaledObject"].(*keda.ScaledObject).Spec
		replicas, _, _ := m.workers(t)
		if spec.ScaleTargetRef.Name != m.objects["Deployment"].(*appsv1.Deployment).Name || replicas != nil {
			t.Errorf("%s: it scales %q, which has %v replicas of its own", m.name, spec.ScaleTargetRef.Name, replicas)
		}
		partitions := strings.Count(m.objects["ConfigMap"].(*corev1.ConfigMap).Data["tailfold.yaml"], "\n  partitions: 4\n") * 4
		if int(*spec.MaxReplicaCount) != partitions || *spec.MinReplicaCount < 1 {
			t.Errorf("%s: %d to %d workers for %d partitions", m.name, *spec.MinReplicaCount, *spec.MaxReplicaCount, partitions)
		}
		if err := keda.ValidateTriggers(spec.Triggers); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
