{{- define "berth.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 53 characters, so that the longest suffix the templates add still makes a label value of 63. */}}
{{- define "berth.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "berth.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What a selector may depend on: it never changes between versions. */}}
{{- define "berth.selectorLabels" -}}
app.kubernetes.io/name: {{ include "berth.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "berth.labels" -}}
{{ include "berth.selectorLabels" . }}
{{ include "berth.releaseLabels" . }}
{{- end -}}

{{/* Of what is not the operator: its selectors must not find it. */}}
{{- define "berth.smokeLabels" -}}
app.kubernetes.io/name: {{ include "berth.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: smoke-test
{{ include "berth.releaseLabels" . }}
{{- end -}}

{{- define "berth.releaseLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: berth
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "berth.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "berth.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "berth.operatorImage" -}}
{{- $path := printf "%s/%s" .Values.imageRegistry .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $path .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* vLLM's own image: the one that Berth does not bring. A registry that holds Berth's in the place of its own, as an
air-gapped cluster's does, holds vLLM's too. */}}
{{- define "berth.vllmImage" -}}
{{- $registry := eq .Values.imageRegistry "ghcr.io/berth-dev" | ternary "docker.io" .Values.imageRegistry -}}
{{- with .Values.vllm.image -}}
{{- printf "%s/%s" (default $registry .registry) .repository -}}{{- if .digest -}}@{{ .digest }}{{- else -}}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The namespaces the operator watches, separated by commas. Empty: all of them. */}}
{{- define "berth.watchNamespaces" -}}
{{- if eq .Values.scope "namespace" -}}
{{- default (list .Release.Namespace) .Values.namespaces | sortAlpha | join "," -}}
{{- end -}}
{{- end -}}

{{/* The first namespace that the operator serves: where a Workspace can be tried out. */}}
{{- define "berth.tryNamespace" -}}
{{- first (splitList "," (include "berth.watchNamespaces" .)) | default .Release.Namespace -}}
{{- end -}}

{{/* The namespaces that inference.networkPolicy is laid over, separated by commas. */}}
{{- define "berth.inferenceNamespaces" -}}
{{- default (splitList "," (include "berth.watchNamespaces" .) | compact | default (list .Release.Namespace)) .Values.networkPolicy.inference.namespaces | sortAlpha | join "," -}}
{{- end -}}

{{- define "berth.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "berth.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end -}}

{{/* Where the chart's pods may run. */}}
{{- define "berth.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The rules of one role of rights.yaml, each below its reason. Takes a dict: root, role, name (for `named`). */}}
{{- define "berth.rules" -}}
{{- $role := .role -}}
{{- $name := .name -}}
{{- $rights := .root.Files.Get "rights.yaml" | fromYaml -}}
{{- range (get $rights $role).rules }}
{{- if not (and .clusterOnly (eq $.root.Values.scope "namespace")) }}
{{ .reason | wrap 105 | splitList "\n" | join "\n# " | printf "# %s" }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  {{- if .named }}
  resourceNames: {{ list $name | toJson }}
  {{- end }}
  verbs: {{ toJson .verbs }}
{{- end }}
{{- end }}
{{- end -}}
