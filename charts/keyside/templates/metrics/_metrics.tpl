{{/*
"true" if an object of prometheus-operator is to be created. Takes a dict of `context`, `enabled`, and `kind` for the error.
*/}}
{{- define "keyside.metrics.renders" -}}
{{- if .enabled -}}
{{- $mode := .context.Values.metrics.renderMode -}}
{{- $defined := .context.Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if or $defined (eq $mode "alwaysRender") -}}
true
{{- else if eq $mode "failIfMissing" -}}
{{- fail (printf "the cluster has no monitoring.coreos.com/v1, which %s needs: install prometheus-operator, or set metrics.renderMode" .kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes a dict of `context`, `component` and `values` (with `namespace` and `labels`): the metadata but the name. */}}
{{- define "keyside.metrics.metadata" -}}
namespace: {{ default .context.Release.Namespace .values.namespace }}
labels:
  {{- include "keyside.labels" (dict "context" .context "component" .component "labels" .values.labels) | nindent 2 }}
{{- with include "keyside.annotations" (dict "context" .context "annotations" .values.annotations) }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Takes the values of a monitor: how it scrapes. */}}
{{- define "keyside.metrics.scrape" -}}
path: /metrics
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
