{{- define "tailfold.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tailfold.selector" -}}
app.kubernetes.io/name: tailfold
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tailfold.labels" -}}
{{ include "tailfold.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
