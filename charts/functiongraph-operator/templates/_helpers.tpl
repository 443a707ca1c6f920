{{/* Names, labels and decisions that more than one template needs. */}}

{{- define "functiongraph-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters, so that every suffix of this chart fits into 63. */}}
{{- define "functiongraph-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Where the operator is: the namespace of the release, unless the values name another. */}}
{{- define "functiongraph-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* Names of cluster-wide objects carry the namespace: releases of the same name in two namespaces must not meet. */}}
{{- define "functiongraph-operator.clusterName" -}}
{{- printf "%s-%s" (include "functiongraph-operator.namespace" .) (include "functiongraph-operator.fullname" .) }}
{{- end }}

{{- define "functiongraph-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "functiongraph-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "functiongraph-operator.labels" -}}
{{ include "functiongraph-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "functiongraph-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "functiongraph-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false: the operator has to be somebody." .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The image. `global.imageRegistry` replaces the registry in its name, or is put before a name without one. */}}
{{- define "functiongraph-operator.image" -}}
{{- $repository := .Values.image.repository }}
{{- if not $repository }}
{{- fail (printf "image.repository is empty, and no image of this operator is published yet. Build it from the checkout and push it to a registry that your cluster pulls from: IMAGE_NAME=registry.example.com/functiongraph-operator make image && docker push registry.example.com/functiongraph-operator:%s. Then add --set image.repository=registry.example.com/functiongraph-operator." .Chart.AppVersion) }}
{{- end }}
{{- if regexMatch "[:@][^/]*$" $repository }}
{{- fail (printf "image.repository %s has a tag or a digest in it. Set image.repository=%s, and image.tag or image.digest." $repository (regexReplaceAll "[:@][^/]*$" $repository "")) }}
{{- end }}
{{- with (.Values.global).imageRegistry }}
{{- $parts := splitList "/" $repository }}
{{- if and (rest $parts) (regexMatch "[.:]|^localhost$" (first $parts)) }}{{ $parts = rest $parts }}{{ end }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (join "/" $parts) }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Who the operator is, as subject of a binding. */}}
{{- define "functiongraph-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "functiongraph-operator.serviceAccountName" . }}
  namespace: {{ include "functiongraph-operator.namespace" . }}
{{- end }}

{{/* Non-empty if the default provider is to be made. */}}
{{- define "functiongraph-operator.hasProvider" -}}
{{- $provider := .Values.defaultProvider }}
{{- if kindIs "bool" $provider.enabled }}
{{- if $provider.enabled }}yes{{ end }}
{{- else if or $provider.secretName $provider.accessKey.accessKeyID $provider.accessKey.secretAccessKey }}yes
{{- end }}
{{- end }}

{{/* Where the provider and its Secret are: for a cluster provider the Secret alone. */}}
{{- define "functiongraph-operator.providerNamespace" -}}
{{- first (append (default list .Values.watchNamespaces) (include "functiongraph-operator.namespace" .)) }}
{{- end }}

{{- define "functiongraph-operator.providerKind" -}}
{{- ternary "ClusterFunctionGraphProvider" "FunctionGraphProvider" (not (empty .Values.defaultProvider.allowedNamespaces)) }}
{{- end }}
