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

{{/* The namespaces the operator watches, separated by commas. Empty: all of them. */}}
{{- define "berth.watchNamespaces" -}}
{{- if eq .Values.scope "namespace" -}}
{{- default (list .Release.Namespace) .Values.namespaces | sortAlpha | join "," -}}
{{- end -}}
{{- end -}}

{{/* Every right the operator has, cluster-wide or in each of its namespaces, by scope. */}}
{{- define "berth.rules" -}}
# What users ask for. Users own Workspaces: the operator reads them and writes none.
- apiGroups: ["kaito.sh"]
  resources: ["workspaces"]
  verbs: ["get", "list", "watch"]
# Conditions, endpoint and worker nodes are reported in the status, a resource of its own.
- apiGroups: ["kaito.sh"]
  resources: ["workspaces/status"]
  verbs: ["patch"]
# Where the OwnerReferencesPermissionEnforcement admission plugin is on (OpenShift), an owner reference
# that blocks the owner's deletion may be set only by who may update the owner's finalizers.
- apiGroups: ["kaito.sh"]
  resources: ["workspaces/finalizers"]
  verbs: ["update"]
# The pods that serve a model. Server-side apply creates with "create" and "patch" together. There is
# no "delete": the owner reference lets the garbage collector do it.
- apiGroups: ["apps"]
  resources: ["deployments"]
  verbs: ["get", "list", "watch", "create", "patch"]
# The address of a model, likewise.
- apiGroups: [""]
  resources: ["services"]
  verbs: ["get", "list", "watch", "create", "patch"]
# Why a model does not serve yet is read from its pods: image, scheduling, exit codes, nodes.
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch"]
# One Event for each change of cause, in the Workspace's namespace.
- apiGroups: [""]
  resources: ["events"]
  verbs: ["create"]
{{- end -}}
