{{/* Names and labels. Each takes the chart's context. */}}

{{- define "keyside.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters, so that suffixes fit into the 63 of a DNS label. */}}
{{- define "keyside.fullname" -}}
{{- $name := include "keyside.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Takes a dict of `context` and `component`: the labels that never change, for selectors. */}}
{{- define "keyside.selector" -}}
app.kubernetes.io/name: {{ include "keyside.name" .context }}
app.kubernetes.io/instance: {{ .context.Release.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Takes a dict of `context` and `component`, and optionally `labels`: all labels of an object. Selector labels win. */}}
{{- define "keyside.labels" -}}
{{- $fixed := dict
  "helm.sh/chart" (printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (.context.Chart.AppVersion | toString | replace "+" "_" | trunc 63)
  "app.kubernetes.io/managed-by" .context.Release.Service
  "app.kubernetes.io/part-of" "keyside" -}}
{{- $fixed = merge (include "keyside.selector" . | fromYaml) $fixed -}}
{{- merge $fixed (default dict .labels) .context.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* Takes a dict of `context`, and optionally `annotations`: the line `annotations:` with its contents, or nothing. */}}
{{- define "keyside.annotations" -}}
{{- with merge (dict) (default dict .annotations) .context.Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "keyside.serve.serviceAccountName" -}}
{{- with .Values.serve.serviceAccount -}}
{{- default (ternary (include "keyside.fullname" $) "default" .create) .name -}}
{{- end -}}
{{- end -}}

{{- define "keyside.example.serviceAccountName" -}}
{{- with .Values.example.serviceAccount -}}
{{- default (ternary (printf "%s-example" (include "keyside.fullname" $)) "default" .create) .name -}}
{{- end -}}
{{- end -}}
